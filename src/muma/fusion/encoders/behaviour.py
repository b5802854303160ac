"""What an item or user is filed under: category, author, its own id; embeddings and an MLP.

    z = MLP([e(x_1); ...; e(x_F)]),   e(x) = T[h_1(x)] + T[h_2(x)]

Values are hashed by two functions into one table (Svenstrup et al., "Hash embeddings", NeurIPS 2017),
so that a new author or id has a vector at once and no table ever grows. A field without a value has
a learned vector of its own.

Shape: R entities with data, F fields, d width of a field, D width.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from muma.events.event import EventLog
from muma.fusion.encoder import Encoder, EncoderConfig
from muma.fusion.hashing import buckets_of
from muma.fusion.layers import generator, mlp, table
from muma.fusion.rows import Rows
from muma.fusion.tables import KEYS, table_of

ID = "id"
HASHES = 2


class BehaviourConfig(EncoderConfig):
    """Parameters of `BehaviourEncoder`.

    Attributes:
        fields: columns of the items (or users); `"id"` is the entity itself, which makes the source
            present for each one in the table.
        buckets: rows of the hashed table.
        field_width: d.
        hidden: hidden width of the MLP.
    """

    name: str = "behaviour"
    fields: tuple[str, ...] = Field(default=("category", "author"), min_length=1)
    buckets: int = Field(default=1 << 14, ge=1)
    field_width: int = Field(default=16, ge=1)
    hidden: int = Field(default=64, ge=1)


class BehaviourEncoder(Encoder):
    """Categorical fields of an entity.

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> encoder = BehaviourEncoder(BehaviourConfig(width=4)).fit(media_log())
        >>> encoder(torch.tensor([0, -1])).shape
        torch.Size([2, 4])
    """

    def __init__(self, config: BehaviourConfig) -> None:
        super().__init__(config)
        self.fields, self.buckets = config.fields, config.buckets
        rng = generator(config.seed, config.name)
        self._declare(dense=("bucket_RFH",))
        self.value_HD = table(config.buckets, config.field_width, rng)
        self.missing_FD = table(len(config.fields), config.field_width, rng)
        widths = [len(config.fields) * config.field_width, config.hidden, config.width]
        self.join = mlp(widths, rng)

    def _read(self, log: EventLog) -> Rows:
        found = table_of(log, self.entity, [name for name in self.fields if name != ID])
        key = KEYS[self.entity]
        bucket_RFH = np.full((found.height, len(self.fields), HASHES), -1, dtype=np.int64)
        for place, name in enumerate(self.fields):
            column = key if name == ID else name
            if column in found.columns:
                bucket_RFH[:, place] = self._hashed(name, found[column])
        some_R = np.any(bucket_RFH >= 0, axis=(1, 2))
        return Rows(found[key].to_numpy(), {"bucket_RFH": bucket_RFH}).take(some_R)

    def _hashed(self, name: str, values: pl.Series) -> np.ndarray:
        """Two buckets a value, -1 for null: int64 [R, 2]."""
        texts = values.cast(pl.String).to_list()
        distinct = [text for text in dict.fromkeys(texts) if text is not None]
        row_of = {text: at for at, text in enumerate(distinct)}
        told = [f"{name}\x1f{text}" for text in distinct]
        ways = [buckets_of(told, self.buckets, salt=str(way)) for way in range(HASHES)]
        bucket_VH = np.vstack([np.column_stack(ways), np.full((1, HASHES), -1)])
        return bucket_VH[[row_of.get(text, -1) for text in texts]]

    def _encode(self, slot_n: Tensor) -> Tensor:
        bucket_nFH = self.get_buffer("bucket_RFH")[slot_n]
        known_nF = bucket_nFH[..., 0] >= 0
        field_nFD = self.value_HD[bucket_nFH.clamp(min=0)].sum(dim=2)
        field_nFD = torch.where(known_nF[..., None], field_nFD, self.missing_FD)
        return self.join(field_nFD.flatten(1))
