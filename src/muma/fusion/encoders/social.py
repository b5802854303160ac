"""Whom a user follows: vectors propagated over the social graph.

    z_u = A mean_{l=1..L} (S^l e)_u + b,      S = D^-1/2 A D^-1/2

as LightGCN (He et al., SIGIR 2020, eq. 3-8), without transformation between the layers. e is a
learned hashed row for each user, or with `base` another user encoder's vector: what friends played,
say. `norm = "mean"` with one layer is the plain mean of the friends, the baseline. With `own` the sum
begins at l = 0 and paths back to the user count; without, a user's own data never enters.

Shape: R users with friends, U users, E non-zero cells of the operator, D width.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field
from scipy.sparse import csr_array, diags_array, eye_array
from torch import Tensor

from muma.config import Spec, build
from muma.events.event import EventLog
from muma.fusion.encoder import Encoder, EncoderConfig, Entity
from muma.fusion.hashing import buckets_of
from muma.fusion.layers import generator, linear, table, weighted_rows
from muma.fusion.rows import Rows, listed


class SocialConfig(EncoderConfig):
    """Parameters of `SocialEncoder`.

    Attributes:
        layers: L, steps along edges.
        norm: `"lightgcn"` (symmetric) or `"mean"` (each step is a mean over neighbours).
        own: also keep the user's own vector and paths that lead back.
        directed: follow edges from source to target only; otherwise both ways.
        relations: names of the relations that count; empty takes all.
        base: a user encoder whose vectors are propagated; None learns a table.
        most: strongest neighbours kept a user after all steps, which bounds memory.
        buckets: rows of the learned table.
    """

    name: str = "social"
    entity: Entity = "user"
    layers: int = Field(default=2, ge=1, le=4)
    norm: Literal["lightgcn", "mean"] = "lightgcn"
    own: bool = False
    directed: bool = False
    relations: tuple[str, ...] = ()
    base: Spec | None = None
    most: int = Field(default=512, ge=1)
    buckets: int = Field(default=1 << 14, ge=1)


class SocialEncoder(Encoder):
    """Neighbourhood propagation; the operator is made once, each batch is one sparse product.

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> SocialEncoder(SocialConfig(width=4)).fit(media_log())(torch.tensor([0])).shape
        torch.Size([1, 4])
    """

    def __init__(self, config: SocialConfig) -> None:
        super().__init__(config)
        self.graph = config
        self._declare(ragged=("user_E", "weight_E"))
        rng = generator(config.seed, config.name)
        self.out = linear(config.width, config.width, rng)
        self.base: Encoder | None = None
        if config.base is None:
            self.user_UD = table(config.buckets, config.width, rng)
        else:
            shared: dict[str, Any] = {
                "width": config.width,
                "name": f"{config.name}.base",
                "seed": config.seed,
            }
            self.base = build(config.base, where=f"{config.name}.base", **shared)

    def fit(self, log: EventLog) -> SocialEncoder:
        """Fit the base, then read the graph."""
        if self.base is not None:
            self.base.fit(log)
        return super().fit(log)

    def update(self, log: EventLog, *, keep: bool = True) -> None:
        """Read the base's rows and the graph of `log`."""
        if self.base is not None:
            self.base.update(log, keep=keep)
        super().update(log, keep=keep)

    def _read(self, log: EventLog) -> Rows:
        edges = log.social
        if self.graph.relations:
            edges = edges.filter(pl.col("relation").is_in(list(self.graph.relations)))
        found = edges.select(pl.col("src", "dst").cast(pl.Int64)).collect()
        ends = (found["src"].to_numpy(), found["dst"].to_numpy())
        step = adjacency(*ends, log.n_users, directed=self.graph.directed)
        if self.base is not None:
            # friends without data cannot speak, and must not thin out those who can
            user_U = torch.arange(log.n_users, device=self.slot_I.device)
            heard_U = self.base.present(user_U).cpu().numpy()
            operator = propagation(step, self.graph, heard_U=heard_U)
        else:
            operator = propagation(step, self.graph)
        cells = operator.tocoo()
        user_E, column_E, weight_E = strongest(
            cells.row, cells.col, cells.data, most=self.graph.most
        )
        bucket_E = column_E
        if self.base is None:
            bucket_U = buckets_of(map(str, range(log.n_users)), self.graph.buckets)
            bucket_E = bucket_U[column_E]
        return listed(user_E, user_E=bucket_E.astype(np.int64), weight_E=weight_E)

    def _encode(self, slot_n: Tensor) -> Tensor:
        length_n, place_E = self._entries(slot_n)
        user_E = self.get_buffer("user_E")[place_E]
        distinct_C, column_E = torch.unique(user_E, return_inverse=True)
        vector_CD = self.user_UD[distinct_C] if self.base is None else self.base(distinct_C)
        weight_E = self.get_buffer("weight_E")[place_E]
        return self.out(weighted_rows(length_n, column_E, weight_E, vector_CD))


def adjacency(
    src_E: np.ndarray, dst_E: np.ndarray, n_users: int, *, directed: bool = False
) -> csr_array:
    """0/1 matrix [U, U] of the graph without loops; repeated edges count once.

    Example:
        >>> adjacency(np.array([0, 0]), np.array([1, 1]), 2).toarray().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    apart_E = src_E != dst_E
    ends = (src_E[apart_E], dst_E[apart_E])
    step = csr_array((np.ones(len(ends[0])), ends), shape=(n_users, n_users))
    step = step if directed else step + step.T
    step.sum_duplicates()
    step.data[:] = 1.0
    return csr_array(step)


def propagation(
    step: csr_array, config: SocialConfig, *, heard_U: np.ndarray | None = None
) -> csr_array:
    """The operator [U, U] of all layers: mean over l of S^l.

    Args:
        step: 0/1 adjacency.
        config: layers, norm and own.
        heard_U: users whose vector exists; columns of the others are taken out of the last step,
            and with `norm = "mean"` the rest is scaled up to a mean again.
    """
    degree_U = np.maximum(step.sum(axis=1), 1.0)
    if config.norm == "lightgcn":
        into_U = np.maximum(step.sum(axis=0), 1.0)
        step = diags_array(degree_U**-0.5) @ step @ diags_array(into_U**-0.5)
    else:
        step = diags_array(1.0 / degree_U) @ step
    power, total = step, step.copy()
    for _ in range(config.layers - 1):
        power = power @ step
        total = total + power
    if config.own:
        total = (total + eye_array(len(degree_U))) / (config.layers + 1)
    else:
        total = (total - diags_array(total.diagonal())) / config.layers
    if heard_U is not None:
        total = total @ diags_array(heard_U.astype(float))
    total = csr_array(total)
    total.eliminate_zeros()
    if config.norm == "mean":
        mass_U = total.sum(axis=1)
        total = csr_array(diags_array(1.0 / np.where(mass_U > 0, mass_U, 1.0)) @ total)
    return total


def strongest(
    row_E: np.ndarray, column_E: np.ndarray, weight_E: np.ndarray, *, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `most` greatest cells of each row, ordered by row and column; ties to the lower column.

    Example:
        >>> cells = (np.array([0, 0, 1]), np.array([5, 6, 5]), np.array([0.1, 0.9, 0.3]))
        >>> [array.tolist() for array in strongest(*cells, most=1)]
        [[0, 1], [6, 5], [0.9, 0.3]]
    """
    order = np.lexsort((column_E, -weight_E, row_E))
    row_E, column_E, weight_E = row_E[order], column_E[order], weight_E[order]
    first = np.searchsorted(row_E, row_E, side="left")
    keep = np.flatnonzero(np.arange(len(row_E)) - first < most)
    keep = keep[np.lexsort((column_E[keep], row_E[keep]))]
    return row_E[keep], column_E[keep], weight_E[keep]
