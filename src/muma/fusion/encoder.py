"""The contract of this room: an encoder turns what one source knows of an entity into a vector.

    z = f_i(x),   f_i : R^{n_i} -> R^d                                            (2)

An encoder holds the raw rows of its source by dense index. What it needs to know of the data as a
whole (means, bins, word vectors) is learned by `fit` from the training log and then frozen; `update`
reads rows for new items or users with it, so that they enter without a retrain.

Shape: N asked entities, D width, I entities of the vocabulary, R entities with data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from muma.config import Config
from muma.errors import NotFittedError
from muma.events.event import EventLog
from muma.fusion.rows import Rows, merged

Entity = Literal["item", "user"]


class EncoderConfig(Config):
    """What every encoder's config holds.

    Attributes:
        name: name of the source, as weights report it.
        entity: whose index `forward` takes.
        width: D, the width of the shared space.
        seed: seed of the first parameters and of any pretraining.
    """

    name: str
    entity: Entity = "item"
    width: int = Field(default=32, ge=1)
    seed: int = 0


class Encoder(nn.Module, ABC):
    """Equation (2) for one source; a subclass gives `_read` and `_encode`, and maybe `_learn`.

    Attributes:
        name: name of the source.
        entity: `"item"` or `"user"`.
        width: D.
    """

    slot_I: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.name, self.width = config.name, config.width
        self.entity: Entity = config.entity
        self._dense: tuple[str, ...] = ()
        self._ragged: tuple[str, ...] = ()
        self.register_buffer("slot_I", torch.empty(0, dtype=torch.int64))

    def fit(self, log: EventLog) -> Self:
        """Learn the statistics from the training log, read its rows, and return self.

        Raises:
            DataError: the log lacks what the source needs.
        """
        self._learn(log)
        self.update(log, keep=False)
        return self

    def update(self, log: EventLog, *, keep: bool = True) -> None:
        """Read the rows of `log`, whose vocabularies may have grown; statistics stay.

        Args:
            log: what is known; entities that it has data about are read anew.
            keep: the others keep the rows they had; if false they have none.
        """
        known = self._known() if keep and len(self.slot_I) else None
        rows = self._read(log)
        rows = rows if known is None else merged(known, rows)
        size = log.n_items if self.entity == "item" else log.n_users
        slot_I = np.full(max(size, len(self.slot_I) if keep else 0), -1, dtype=np.int64)
        slot_I[rows.index_R] = np.arange(len(rows.index_R))
        self._long("slot_I", slot_I)
        for name in self._dense:
            self._put(name, rows.dense[name])
        if rows.length_R is not None:
            self._long("length_R", rows.length_R)
            self._long("start_R", np.cumsum(rows.length_R) - rows.length_R)
            for name in self._ragged:
                self._put(name, rows.ragged[name])

    def present(self, index_N: Tensor) -> Tensor:
        """Whether the source has data, bool [N]; false for -1 and for every unknown index."""
        return self._slots(index_N) >= 0

    def forward(self, index_N: Tensor) -> Tensor:
        """Vectors [N, D]; zeros where `present` is false.

        Raises:
            NotFittedError: neither `fit` nor a load came before.
        """
        slot_N = self._slots(index_N)
        place_n = torch.nonzero(slot_N >= 0)[:, 0]
        z_nD = self._encode(slot_N[place_n])
        return z_nD.new_zeros(len(index_N), self.width).index_put((place_n,), z_nD)

    def _slots(self, index_N: Tensor) -> Tensor:
        if not len(self.slot_I):
            raise NotFittedError(f"source {self.name!r} is not fitted; call fit(log) or load it")
        inside_N = (index_N >= 0) & (index_N < len(self.slot_I))
        return torch.where(inside_N, self.slot_I[torch.where(inside_N, index_N, 0)], -1)

    def _long(self, name: str, array: np.ndarray) -> None:
        self._put(name, array.astype(np.int64))

    def _put(self, name: str, array: np.ndarray) -> None:
        """Set a buffer, float32 unless it holds integers."""
        dtype = np.float32 if array.dtype.kind == "f" else array.dtype
        values = torch.from_numpy(np.array(array, dtype=dtype))
        self.register_buffer(name, values.to(self.slot_I.device))

    def _declare(self, *, dense: tuple[str, ...] = (), ragged: tuple[str, ...] = ()) -> None:
        """Name the arrays that `_read` gives, so that a load finds their buffers."""
        self._dense, self._ragged = dense, ragged
        for name in (*dense, *ragged, *(("length_R", "start_R") if ragged else ())):
            self.register_buffer(name, torch.empty(0))

    def _known(self) -> Rows:
        """The rows held now."""

        def array(name: str) -> np.ndarray:
            return self.get_buffer(name).cpu().numpy()

        slot_I = array("slot_I")
        return Rows(
            np.flatnonzero(slot_I >= 0),
            {name: array(name) for name in self._dense},
            array("length_R") if self._ragged else None,
            {name: array(name) for name in self._ragged},
        )

    def _entries(self, slot_n: Tensor) -> tuple[Tensor, Tensor]:
        """Lengths [n] of the asked lists, and the places [E] of their entries."""
        length_n = self.get_buffer("length_R")[slot_n]
        start_n = self.get_buffer("start_R")[slot_n]
        shift_n = start_n - (torch.cumsum(length_n, 0) - length_n)
        total = int(length_n.sum())
        place_E = torch.arange(total, device=slot_n.device)
        return length_n, place_E + torch.repeat_interleave(shift_n, length_n)

    def _learn(self, log: EventLog) -> None:
        """Fit the statistics that `update` never touches."""

    @abstractmethod
    def _read(self, log: EventLog) -> Rows:
        """The rows of `log`, made with the frozen statistics."""

    @abstractmethod
    def _encode(self, slot_n: Tensor) -> Tensor:
        """Vectors [n, D] of entities that have data, by their place among them."""
