"""What a user took: the weighted mean of item vectors.

    z_u = A sum_i w_ui v_i / sum_i w_ui + b,     w_ui = log1p(value) (1 without a value)

v_i is a learned row for each item, or with `items` another encoder's vector of it: the mean of the
texts of what a user played, say. A new item takes one of the reserved rows; when these are full, new
items share them by their index.

A history holds all that its log holds. A network trained to foretell an event must not read it here:
`update` it with what came before, and let a part of that be the target.

Shape: R users with events, E (user, item) pairs, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from muma.config import Spec, build
from muma.events.event import KINDS, EventLog
from muma.events.interactions import POSITIVE
from muma.fusion.encoder import Encoder, EncoderConfig, Entity
from muma.fusion.layers import generator, linear, table, weighted_rows
from muma.fusion.rows import Rows, listed


class HistoryConfig(EncoderConfig):
    """Parameters of `HistoryEncoder`.

    Attributes:
        kinds: events that count.
        items: an item encoder (`use` and its config) that gives the vectors; None learns a table.
        reserve: rows for items to come, as a share of the fitted ones.
        pull: mean (1) or sum (0) of the vectors, or between: the divisor is (sum w)^pull.
    """

    name: str = "history"
    entity: Entity = "user"
    kinds: tuple[str, ...] = POSITIVE
    items: Spec | None = None
    reserve: float = Field(default=0.25, gt=0)
    pull: float = Field(default=1.0, ge=0, le=1)

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"unknown kinds {sorted(unknown)}; allowed: {', '.join(KINDS)}")
        return kinds


class HistoryEncoder(Encoder):
    """Mean of what was taken.

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> HistoryEncoder(HistoryConfig(width=4)).fit(media_log())(torch.tensor([0])).shape
        torch.Size([1, 4])
    """

    def __init__(self, config: HistoryConfig) -> None:
        super().__init__(config)
        self.kinds, self.reserve, self.pull = config.kinds, config.reserve, config.pull
        self._declare(ragged=("item_E", "weight_E"))
        self._rng = generator(config.seed, config.name)
        self.register_buffer("fitted_items", torch.zeros(1, dtype=torch.int64))
        self.out = linear(config.width, config.width, self._rng)
        self.items: Encoder | None = None
        self.item_ID = nn.Parameter(torch.empty(0, config.width))
        if config.items is not None:
            shared: dict[str, Any] = {
                "width": config.width,
                "name": f"{config.name}.items",
                "seed": config.seed,
            }
            self.items = build(config.items, where=f"{config.name}.items", **shared)

    def fit(self, log: EventLog) -> HistoryEncoder:
        """Fit the items' encoder, or make the table, then read the histories."""
        if self.items is not None:
            self.items.fit(log)
        else:
            rows = log.n_items + max(1, int(np.ceil(self.reserve * log.n_items)))
            self.item_ID = nn.Parameter(table(rows, self.width, self._rng).detach())
            self._put("fitted_items", np.array([log.n_items]))
        return super().fit(log)

    def update(self, log: EventLog, *, keep: bool = True) -> None:
        """Read histories, and the items' rows."""
        if self.items is not None:
            self.items.update(log, keep=keep)
        super().update(log, keep=keep)

    def _read(self, log: EventLog) -> Rows:
        taken = (
            log.events.filter(pl.col("kind").is_in(list(self.kinds)))
            .group_by("user_id", "item_id")
            .agg(pl.col("value").max())
            .select(
                pl.col("user_id", "item_id").cast(pl.Int64),
                weight=pl.col("value").fill_null(np.e - 1).clip(lower_bound=0).log1p(),
            )
            .filter(pl.col("weight") > 0)
            .sort("user_id", "item_id")
            .collect()
        )
        return listed(
            taken["user_id"].to_numpy(),
            item_E=taken["item_id"].to_numpy(),
            weight_E=taken["weight"].to_numpy(),
        )

    def _encode(self, slot_n: Tensor) -> Tensor:
        length_n, place_E = self._entries(slot_n)
        item_E = self.get_buffer("item_E")[place_E]
        weight_E = self.get_buffer("weight_E")[place_E]
        if self.items is not None:
            weight_E = weight_E * self.items.present(item_E)
        row_E = torch.repeat_interleave(torch.arange(len(length_n)), length_n)
        total_n = weight_E.new_zeros(len(length_n)).index_add(0, row_E, weight_E)
        weight_E = weight_E / total_n.clamp(min=1e-6).pow(self.pull)[row_E]
        distinct_C, column_E = torch.unique(item_E, return_inverse=True)
        vector_CD = self._vectors(distinct_C)
        return self.out(weighted_rows(length_n, column_E, weight_E, vector_CD))

    def _vectors(self, item_C: Tensor) -> Tensor:
        if self.items is not None:
            return self.items(item_C)
        known = int(self.get_buffer("fitted_items"))
        spare = max(1, len(self.item_ID) - known)
        row_C = torch.where(item_C < known, item_C, known + (item_C - known) % spare)
        return self.item_ID[row_C]
