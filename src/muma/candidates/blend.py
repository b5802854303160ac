"""A weighted sum of members' scores, each standardised within the user.

    score_ui = sum_m w_m (s_mui - mean_i s_mui) / std_i s_mui

Mean and deviation run over the items that member m can propose. A member that has nothing to say
(the same score everywhere, or -inf for this item) adds 0. For a user without history every personal
member is silent, so that a member such as `Popularity` decides, however small its weight; without
one the rule of ties gives the most popular items.

Shape: B users, I items of the vocabulary, S members.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import model_validator
from scipy.sparse import csr_array

from muma.artifact import Artifact, Writer
from muma.candidates.candidate import CandidateModel, Candidates
from muma.candidates.listing import CELLS, by_popularity, lists
from muma.candidates.storage import artifact_within, load_config, save_config, writer_within
from muma.config import Config, Spec, build, locate
from muma.errors import ConfigError, DataError, NotFittedError
from muma.events.event import EventLog
from muma.events.interactions import Signal, interactions, known_users
from muma.progress import track

WEIGHTS = {"markov": 0.5, "ease": 0.5, "popularity": 0.01}
MEMBERS = {
    "markov": Spec.model_validate({"use": "muma.candidates.markov.Markov"}),
    "ease": Spec.model_validate({"use": "muma.candidates.ease.EASE", "history_half_life": 10.0}),
    "popularity": Spec.model_validate({"use": "muma.candidates.popularity.Popularity"}),
}


class BlendConfig(Config):
    """Parameters of `Blend`.

    Attributes:
        name: key of the blended score in `Candidates.scores`.
        members: each member by its own name: `use` and the keys of its config.
        weights: each member's weight; one that is not named has 1; all of them may not be 0.
        signal: which events make the popularity that breaks ties.
    """

    name: str = "blend"
    members: dict[str, Spec] = MEMBERS
    weights: dict[str, float] = WEIGHTS
    signal: Signal = Signal()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_weights(self.members, self.weights)
        if odd := [name for name in self.members if not re.fullmatch(r"[\w-]+", name)]:
            raise ValueError(f"member name {odd[0]!r} may hold only letters, digits, - and _")
        if self.name in self.members:
            raise ValueError(f"the blend and a member are both called {self.name!r}")
        return self


def check_weights(members: Mapping[str, object], weights: Mapping[str, float]) -> None:
    """Refuse weights of unknown members and weights that are all zero.

    Raises:
        ValueError: with a message for the user.
    """
    if not members:
        raise ValueError("a blend needs at least one member")
    if unknown := sorted(set(weights) - set(members)):
        raise ValueError(f"weights name {unknown}, which are not members: {', '.join(members)}")
    if all(weights.get(name, 1.0) == 0 for name in members):
        raise ValueError("every weight is 0; give at least one member another weight")


class Blend:
    """Several candidate models as one; `Candidates.scores` also keeps each member's own score.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> log = tiny_log({0: [0, 1, 2], 1: [1, 2], 2: [1]})
        >>> candidates = Blend().fit(log).propose(np.array([2]), 1)
        >>> candidates.item_BN.tolist(), list(candidates.scores)
        ([[2]], ['blend', 'markov', 'ease', 'popularity'])
    """

    cells: int = CELLS
    """Scores held at once while proposing; any value gives the same lists."""

    def __init__(self, config: BlendConfig | None = None) -> None:
        self.config = config or BlendConfig()
        self.name = self.config.name
        self.members: dict[str, CandidateModel] = {
            name: build(spec, where=f"{self.name}.members.{name}", name=name)
            for name, spec in self.config.members.items()
        }
        self._item_I: np.ndarray | None = None
        self._n_users = 0
        self._memory: _Memory | None = None

    def fit(self, log: EventLog) -> Self:
        """Fit every member to `log`."""
        for member in track(self.members.values(), label=f"fitting {self.name}"):
            member.fit(log)
        return self._install(log)

    def with_weights(self, weights: Mapping[str, float]) -> Self:
        """The same blend, members shared and not fitted again, with other weights.

        Raises:
            ConfigError: a weight names no member, or all are 0.
        """
        try:
            check_weights(self.members, weights)
        except ValueError as error:
            raise ConfigError(f"{self.name}: {error}") from None
        return self._with(config=self.config.model_copy(update={"weights": dict(weights)}))

    def adopt(self, members: Mapping[str, CandidateModel], log: EventLog) -> Self:
        """Take members that are fitted on `log` already, instead of fitting them again.

        Raises:
            ConfigError: the names are not the ones of the blend's members.
        """
        if set(members) != set(self.members):
            raise ConfigError(
                f"{self.name}: members are {sorted(self.members)}, got {sorted(members)}"
            )
        self.members = {name: members[name] for name in self.members}
        return self._install(log)

    def remember(self, user_B: np.ndarray, *, max_cells: int = 1 << 27) -> Self:
        """The same blend with its members' scores of some users kept, for trying many weights.

        It answers for these users only, exactly as the blend itself does, and faster.

        Args:
            user_B: dense user indices, ascending.
            max_cells: scores to keep at most, 12 bytes each; above it nothing is kept.
        """
        if len(user_B) * len(self._fitted()) * len(self.members) > max_cells:
            return self
        return self._with(memory=_Memory(user_B, self._parts(known_users(user_B, self._n_users))))

    def score(self, user_B: np.ndarray) -> np.ndarray:
        """Score the whole catalogue; see `CandidateModel.score`."""
        self._fitted()
        return self._sources(known_users(user_B, self._n_users))[self.name]

    def propose(
        self, user_B: np.ndarray, k: int, *, exclude: csr_array | None = None
    ) -> Candidates:
        """Best `k` items per user; see `CandidateModel.propose`."""
        item_I = self._fitted()

        def columns(block_B: np.ndarray) -> dict[str, np.ndarray]:
            return {name: score[:, item_I] for name, score in self._sources(block_B).items()}

        user_B = known_users(user_B, self._n_users)
        cells = self.cells // (len(self.members) + 1)
        return lists(columns, item_I, user_B, k, n_items=len(item_I), exclude=exclude, cells=cells)

    def save(self, writer: Writer) -> None:
        """Write the config, and each member in a folder of its own."""
        self._fitted()
        save_config(writer, self.config)
        for name, member in self.members.items():
            member.save(writer_within(writer, name))

    @classmethod
    def load(cls, artifact: Artifact, log: EventLog) -> Self:
        """Read what `save` wrote."""
        blend = cls(load_config(artifact, BlendConfig))
        for name, spec in blend.config.members.items():
            blend.members[name] = locate(spec.use).load(artifact_within(artifact, name), log)
        return blend._install(log)

    def _with(self, *, config: BlendConfig | None = None, memory: _Memory | None = None) -> Self:
        other = copy.copy(self)
        other.config, other._memory = config or self.config, memory or self._memory  # noqa: SLF001
        return other

    def _parts(self, user_B: np.ndarray) -> dict[str, _Part]:
        """Each member's scores, float32 [B, I], and their z-scores, float64 [B, I]."""
        if self._memory is not None:
            return self._memory.rows(user_B)
        scores = {name: member.score(user_B) for name, member in self.members.items()}
        return {name: (score_BI, standardise(score_BI)) for name, score_BI in scores.items()}

    def _sources(self, user_B: np.ndarray) -> dict[str, np.ndarray]:
        parts = self._parts(user_B)
        weights = self.config.weights
        total_BI = sum(weights.get(name, 1.0) * z_BI for name, (_, z_BI) in parts.items())
        scores = {name: score_BI for name, (score_BI, _) in parts.items()}
        nobody_BI = np.logical_and.reduce([np.isneginf(score) for score in scores.values()])
        return {self.name: np.where(nobody_BI, -np.inf, total_BI).astype(np.float32), **scores}

    def _install(self, log: EventLog) -> Self:
        self._item_I = by_popularity(interactions(log, self.config.signal).counts)
        self._n_users = log.n_users
        return self

    def _fitted(self) -> np.ndarray:
        if self._item_I is None:
            raise NotFittedError(f"{self.name} is not fitted; call fit(log) first")
        return self._item_I


_Part = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Memory:
    """Members' scores of some users, rows in the order of `user_B` (ascending)."""

    user_B: np.ndarray
    parts: Mapping[str, _Part]

    def rows(self, user_B: np.ndarray) -> dict[str, _Part]:
        at = np.searchsorted(self.user_B, user_B)
        inside = at < len(self.user_B)
        if not inside.all() or (self.user_B[at] != user_B).any():
            raise DataError("this blend remembers the scores of other users; use the original")
        return {name: (score[at], z[at]) for name, (score, z) in self.parts.items()}


def standardise(score_BI: np.ndarray) -> np.ndarray:
    """Each row's z-scores over its finite cells, float64; 0 where not finite or all are equal.

    Example:
        >>> standardise(np.array([[1.0, 3.0, -np.inf], [2.0, 2.0, 2.0]])).tolist()
        [[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    finite_BI = np.isfinite(score_BI)
    n_B = np.maximum(finite_BI.sum(axis=1, keepdims=True), 1)
    value_BI = np.where(finite_BI, score_BI, 0.0).astype(np.float64)
    mean_B = value_BI.sum(axis=1, keepdims=True) / n_B
    apart_BI = np.where(finite_BI, value_BI - mean_B, 0.0)
    deviation_B = np.sqrt(np.square(apart_BI).sum(axis=1, keepdims=True) / n_B)
    return apart_BI / np.where(deviation_B > 1e-9 * np.abs(mean_B), deviation_B, np.inf)
