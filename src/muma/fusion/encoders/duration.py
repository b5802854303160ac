"""How long an item is watched, among items of its own length.

A short video is finished by almost everybody, so completion favours it. Each play is ranked among the
plays of videos of like duration instead (D2Q: Zhan et al., "Deconfounding duration bias in watch-time
prediction", KDD 2022):

    q = F_g(dwell),  g = the duration's group,      w = log1p(F^-1(q)) in log seconds

w is the dwell that the same eagerness would give over all videos together. An item is its shrunk
mean q and w, the shares of its plays in each quarter of q, and how many plays that rests on: two
videos with equal ranks within their groups are equal, however long they are.

Shape: G groups, K knots of a distribution, R items with plays, P plays.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from muma.errors import DataError
from muma.events.event import EventLog
from muma.fusion.encoder import Encoder, EncoderConfig
from muma.fusion.layers import generator, mlp
from muma.fusion.rows import Rows
from muma.fusion.tables import KEYS, table_of

QUARTERS = 4


class DurationConfig(EncoderConfig):
    """Parameters of `DurationEncoder`.

    Attributes:
        groups: G, groups of like duration with equally many plays.
        knots: K, quantiles kept of each group's dwell.
        prior: plays of average eagerness that every item is given on top of its own.
        hidden: hidden width of the MLP.
    """

    name: str = "duration"
    groups: int = Field(default=30, ge=1)
    knots: int = Field(default=101, ge=2)
    prior: float = Field(default=5.0, ge=0)
    hidden: int = Field(default=32, ge=1)


class DurationEncoder(Encoder):
    """Duration-conditional watching of an item (or by a user).

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> encoder = DurationEncoder(DurationConfig(width=4, groups=2)).fit(media_log())
        >>> encoder(torch.tensor([0])).shape
        torch.Size([1, 4])
    """

    edge_G: Tensor
    knot_GK: Tensor
    pooled_K: Tensor

    def __init__(self, config: DurationConfig) -> None:
        super().__init__(config)
        self.groups, self.knots, self.prior = config.groups, config.knots, config.prior
        self._declare(dense=("watched_RC",))
        self.register_buffer("edge_G", torch.zeros(config.groups - 1))
        self.register_buffer("knot_GK", torch.zeros(config.groups, config.knots))
        self.register_buffer("pooled_K", torch.zeros(config.knots))
        widths = [QUARTERS + 3, config.hidden, config.width]
        self.join = mlp(widths, generator(config.seed, config.name))

    def quantiles(self, dwell_P: np.ndarray, duration_P: np.ndarray) -> np.ndarray:
        """Rank of each play within its duration group, in [0, 1]; equal dwells share a rank.

        Args:
            dwell_P: seconds.
            duration_P: seconds.
        """
        group_P = np.searchsorted(self.edge_G.cpu().numpy(), duration_P, side="right")
        q_P = np.empty(len(dwell_P))
        for group, knot_K in enumerate(self.knot_GK.cpu().numpy()):
            mine = group_P == group
            sides = [np.searchsorted(knot_K, dwell_P[mine], side) for side in ("left", "right")]
            q_P[mine] = (sides[0] + sides[1]) / (2 * self.knots)
        return q_P

    def _learn(self, log: EventLog) -> None:
        plays = _plays(log)
        if not plays.height:
            raise DataError(
                f"source {self.name!r}: no event has both dwell_ms and a duration; leave it out"
            )
        # as float32, which is what the buffers hold: an edge must compare equal to its own plays
        dwell_P = plays["dwell"].to_numpy().astype(np.float32)
        duration_P = plays["duration"].to_numpy().astype(np.float32)
        share_K = np.linspace(0, 1, self.knots)
        edge_G = np.quantile(duration_P, np.linspace(0, 1, self.groups + 1)[1:-1])
        group_P = np.searchsorted(edge_G, duration_P, side="right")
        pooled_K = np.quantile(dwell_P, share_K)
        knot_GK = [
            np.quantile(dwell_P[group_P == g], share_K) if (group_P == g).any() else pooled_K
            for g in range(self.groups)
        ]
        self._put("edge_G", edge_G)
        self._put("knot_GK", np.array(knot_GK))
        self._put("pooled_K", pooled_K)

    def _read(self, log: EventLog) -> Rows:
        plays = _plays(log)
        q_P = self.quantiles(
            plays["dwell"].to_numpy().astype(np.float32),
            plays["duration"].to_numpy().astype(np.float32),
        )
        pooled_K = self.pooled_K.cpu().numpy()
        log_s_P = np.log1p(np.interp(q_P, np.linspace(0, 1, self.knots), pooled_K))
        quarter_PQ = np.eye(QUARTERS)[np.minimum((q_P * QUARTERS).astype(int), QUARTERS - 1)]
        index_R, row_P = np.unique(plays[KEYS[self.entity]].to_numpy(), return_inverse=True)
        count_R = np.bincount(row_P, minlength=len(index_R))
        average = np.log1p(pooled_K).mean()
        value_PC = np.column_stack([q_P - 0.5, log_s_P - average, quarter_PQ - 1 / QUARTERS])
        sum_RC = np.stack(
            [np.bincount(row_P, column, minlength=len(index_R)) for column in value_PC.T], axis=1
        )
        mean_RC = sum_RC / (count_R + self.prior)[:, None]
        watched_RC = np.column_stack([mean_RC, np.log1p(count_R) / 10])
        return Rows(index_R.astype(np.int64), {"watched_RC": watched_RC})

    def _encode(self, slot_n: Tensor) -> Tensor:
        return self.join(self.get_buffer("watched_RC")[slot_n])


def _plays(log: EventLog) -> pl.DataFrame:
    """Events with a dwell and a duration above zero; both in seconds."""
    events = log.events.filter(pl.col("dwell_ms").is_not_null()).select(
        pl.col("user_id", "item_id").cast(pl.Int64), "dwell_ms", "item_duration_ms"
    )
    lengths = table_of(log, "item", ["duration_ms"])
    found = events.collect().join(lengths, on="item_id", how="left", maintain_order="left")
    if "duration_ms" not in found.columns:
        found = found.with_columns(pl.lit(None, pl.Int32).alias("duration_ms"))
    return found.select(
        "user_id",
        "item_id",
        dwell=pl.col("dwell_ms") / 1000,
        duration=pl.coalesce("item_duration_ms", "duration_ms") / 1000,
    ).filter(pl.col("duration") > 0)
