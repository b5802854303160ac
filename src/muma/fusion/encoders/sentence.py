"""Texts through a pretrained sentence encoder, which stays frozen; a linear map learns on top.

    z = A SBERT(text) + b

Needs `pip install "muma[sentences]"`, and the model named in the config. Only `fit` and `update` run
it; a loaded encoder needs neither.

Shape: R entities with text, K width of the pretrained vectors, D width.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field
from torch import Tensor

from muma.errors import DataError
from muma.events.event import EventLog
from muma.fusion.encoder import Encoder, EncoderConfig
from muma.fusion.layers import generator, linear
from muma.fusion.rows import Rows
from muma.fusion.tables import KEYS, table_of
from muma.optional import require


class SentenceConfig(EncoderConfig):
    """Parameters of `SentenceEncoder`.

    Attributes:
        model: name or folder of a sentence-transformers model.
        inputs: K, width of its vectors.
        columns: columns of the items (or users), joined by ". " in this order.
        batch: texts encoded at once.
    """

    name: str = "sentence"
    model: str = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
    inputs: int = Field(default=384, ge=1)
    columns: tuple[str, ...] = ("title", "text", "tags")
    batch: int = Field(default=64, ge=1)


class SentenceEncoder(Encoder):
    """Sentence vectors of a library, mapped into the shared space."""

    def __init__(self, config: SentenceConfig) -> None:
        super().__init__(config)
        self.sentence = config
        self._declare(dense=("sentence_RK",))
        self.out = linear(config.inputs, config.width, generator(config.seed, config.name))

    def _read(self, log: EventLog) -> Rows:
        config = self.sentence
        found = table_of(log, self.entity, config.columns)
        parts = [
            found[name].list.join(", ") if found[name].dtype == pl.List else found[name]
            for name in config.columns
            if name in found.columns
        ]
        if not parts:
            raise DataError(
                f"source {self.name!r}: the log's {self.entity}s have none of the columns "
                f"{', '.join(config.columns)}"
            )
        joined = pl.DataFrame([part.cast(pl.String).alias(part.name) for part in parts])
        texts = joined.select(pl.concat_str(pl.all(), separator=". ", ignore_nulls=True))
        told = found.select(KEYS[self.entity]).with_columns(text=texts.to_series()).filter(
            pl.col("text").str.len_bytes() > 0
        )  # fmt: skip
        library = require("sentence_transformers", extra="sentences")
        encoded = library.SentenceTransformer(config.model).encode(
            told["text"].to_list(), batch_size=config.batch, show_progress_bar=False
        )
        sentence_RK = np.asarray(encoded, dtype=np.float32).reshape(told.height, -1)
        if told.height and sentence_RK.shape[1] != config.inputs:
            raise DataError(
                f"source {self.name!r}: {config.model} gives vectors of {sentence_RK.shape[1]}, "
                f"the config says inputs = {config.inputs}"
            )
        rows = sentence_RK.reshape(told.height, config.inputs)
        return Rows(told[KEYS[self.entity]].to_numpy(), {"sentence_RK": rows})

    def _encode(self, slot_n: Tensor) -> Tensor:
        return self.out(self.get_buffer("sentence_RK")[slot_n])
