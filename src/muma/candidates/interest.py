"""The interest network as a candidate source: a user's vector against the item table.

    score_ui = h_u . e_i            (the greatest of K interests, if the network has several)

A network that was trained with cross-entropy gives log p(i | h) under the shares that items had in its
training. Where items die within hours those shares are history, and Bayes' rule moves the score to
today's (logit adjustment; Saerens et al., Neural Computation 2002; Menon et al., ICLR 2021):

    score_ui = h_u . e_i + log(q_i / p_i),
    p_i = n_i / n,  q_i = (r_i + p_i) / (r + 1),  r_i = sum over events e of i: 2^(-(t_last - t_e) / half_life)

n_i counts the events of i, r_i the faded ones; one event's worth of the old shares keeps q above zero.
A user without history has no h: all scores are alike and ties go to the more popular item.

h_u is read from the user's history in the log given, so that a model that was loaded with a later log
scores what users want by then. Items that the model has no row for are never proposed.

Shape: B users, U users of the vocabulary, I items of the vocabulary, F items with a row, D width.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from pydantic import Field

from muma.artifact import Artifact, Writer
from muma.candidates.base import ListingModel, ModelConfig
from muma.candidates.listing import by_popularity
from muma.candidates.live import History
from muma.candidates.storage import artifact_within, load_config, save_config, writer_within
from muma.config import Spec, parse
from muma.errors import DataError
from muma.events.event import EventLog
from muma.interest.histories import Histories, histories
from muma.interest.loading import neural

if TYPE_CHECKING:
    from muma.interest.model import InterestModel

FOLDER, ORDER = "network", "order.npz"
DAY = 86_400_000_000  # microseconds
BLOCK = 256  # users encoded together: fixed blocks, so that who else is asked for changes nothing


class InterestSourceConfig(ModelConfig):
    """Parameters of `InterestSource`; needs the extra `neural`.

    Attributes:
        network: keys of `muma.interest.network.NetworkConfig`.
        training: keys of `muma.interest.trainer.TrainingConfig`.
        objective: what to minimise; None is cross-entropy over all items.
        fusion: keys of `muma.fusion.fusion.FusionConfig`, sources that are fused into each event;
            None reads ids, kinds and dwell only.
        prior_half_life_days: half-life of today's shares of the items, in days; 0 leaves the shares of
            the training. Changing it needs no training.
        validation_users: users whose newest event decides when training stops; 0 keeps none.
        width: instead of `network.width`, so that a recipe can tune it.
        dropout: instead of `network.dropout`.
        epochs: instead of `training.epochs`.
        learning_rate: instead of `training.learning_rate`.
        seed: everything random derives from it.
    """

    name: str = "interest"
    network: dict[str, Any] = {}
    training: dict[str, Any] = {}
    objective: Spec | None = None
    fusion: dict[str, Any] | None = None
    prior_half_life_days: float = Field(default=0.0, ge=0)
    validation_users: int = Field(default=0, ge=0)
    width: int | None = None
    dropout: float | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    seed: int = Field(default=1, ge=0)

    def for_network(self) -> dict[str, Any]:
        """The keys of `muma.interest.model.InterestConfig`."""
        network = {"width": self.width, "dropout": self.dropout}
        training = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        chosen: dict[str, Any] = {
            "signal": self.signal,
            "network": {**self.network, **_given(network)},
            "training": {**self.training, **_given(training)},
            "fusion": self.fusion,
            "validation_users": self.validation_users,
            "seed": self.seed,
        }
        return chosen if self.objective is None else {**chosen, "objective": self.objective}


class InterestSource(ListingModel):
    """The dynamic interest network as a `CandidateModel`.

    Raises:
        MissingExtraError: torch is not installed; said when the source is built.
        ConfigError: a key of `network` or `training` is wrong.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> log = tiny_log({0: [0, 1, 2], 1: [1, 2], 2: [1]})
        >>> source = InterestSource(InterestSourceConfig(width=8, epochs=1)).fit(log)
        >>> source.propose(np.array([2]), 2).item_BN.shape
        (1, 2)
    """

    def __init__(self, config: InterestSourceConfig | None = None) -> None:
        self.config = config or InterestSourceConfig()
        super().__init__(self.config.name)
        room = neural()
        settings = parse(room.InterestConfig, self.config.for_network(), where=self.name)
        self._model = room.InterestModel(settings)
        self._work: Path | None = None

    def work_in(self, folder: Path) -> None:
        """Keep checkpoints and learning curves; see `Resumable`."""
        self._work = folder

    def fit(self, log: EventLog) -> Self:
        """Train the network on `log` and return self; fitting again starts anew.

        Raises:
            DataError: the log holds no positive interaction.
            TrainingError: the training diverges.
        """
        self._model.fit(log, folder=None if self._work is None else self._work / self._run(log))
        return self._install(self._model.histories)

    def fit_more(self, log_since: EventLog) -> Self:
        """Go on with later events, without a retrain; see `InterestModel.fit_more`.

        Args:
            log_since: the events that came after those of the fit log; its vocabularies extend it.
        """
        self._fitted()
        self._model.fit_more(log_since)
        return self._install(self._model.histories)

    def adopt(self, model: InterestModel, log: EventLog) -> Self:
        """Take a network that was trained on `log` elsewhere, with checkpoints say, and return self."""
        self._model = model
        return self._install(histories(log, self.config.signal))

    def without(self, *sources: str) -> Self:
        """The same model, sharing all weights, to which these fused sources are missing.

        Raises:
            ConfigError: it has no such source.
        """
        self._fitted()
        view = copy.copy(self)
        view._model = self._model.without(*sources)  # noqa: SLF001 - of our own class
        view._known = {}  # noqa: SLF001 - likewise
        return view

    def save(self, writer: Writer) -> None:
        """Write the config, the order of ties and the network."""
        item_F = self._fitted()
        save_config(writer, self.config)
        writer.arrays(ORDER, {"item_F": item_F})
        self._model.save(writer_within(writer, FOLDER))

    @classmethod
    def load(cls, artifact: Artifact, log: EventLog) -> Self:
        """Read what `save` wrote; histories are the ones of `log`, which may have grown.

        Raises:
            DataError: `log` knows fewer items than the fit log.
        """
        source = cls(load_config(artifact, InterestSourceConfig))
        item_F = artifact.arrays(ORDER)["item_F"]
        if log.n_items <= item_F.max():
            raise DataError(
                f"{source.name} was fitted with at least {item_F.max() + 1} items, the log has "
                f"{log.n_items}; load it with the log it was fitted on or a later one"
            )
        source._model = type(source._model).load(artifact_within(artifact, FOLDER), log)
        return source._install(histories(log, source.config.signal), item_F)

    def score_history(self, history: History) -> np.ndarray:
        """Score the whole catalogue for the events in `history.sequence`; see `Live`.

        Raises:
            DataError: the history holds no sequence.
        """
        item_F = self._fitted()
        score_I = np.full(self._n_items, -np.inf, dtype=np.float32)
        if history.sequence is None:
            raise DataError(f"{self.name} reads events, not items alone; give History.sequence")
        if not history.sequence.mask_BL.any():
            score_I[item_F] = 0.0
            return score_I
        found = self._model.users(history.sequence, at_B=np.array([history.at])).user_BD
        score = found.astype(np.float64) @ self._item_FD.T
        score_F = score[0] if score.ndim == 2 else score[0].max(axis=0)
        score_I[item_F] = (score_F + self._prior_F).astype(np.float32)
        return score_I

    def _run(self, log: EventLog) -> str:
        """Names a training: the model, its parameters and what it is fitted on."""
        column = pl.col("timestamp")
        about = log.events.select(pl.len(), column.min().alias("a"), column.max().alias("b"))
        config = self.config.model_dump_json(exclude={"name", "prior_half_life_days"})
        text = f"{config} {log.fingerprint} {about.collect().row(0)}"
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def _install(self, events: Histories, item_F: np.ndarray | None = None) -> Self:
        items = self._model.items()
        if item_F is None:
            order_I = by_popularity(events.counts)
            item_F = order_I[np.isin(order_I, items.item_N)]
        place_I = np.zeros(events.n_items, dtype=np.int64)
        place_I[items.item_N] = np.arange(len(items.item_N))
        self._item_FD = items.vector_ND[place_I[item_F]].astype(np.float64)
        self._prior_F = shift_of_shares(events, self.config.prior_half_life_days)[item_F]
        self._events = events
        self._known: dict[int, np.ndarray] = {}
        self._item_F = item_F
        self._n_users, self._n_items = events.n_users, events.n_items
        return self

    def _score(self, user_B: np.ndarray) -> np.ndarray:
        """Float32 [B, F], summed in float64 so that the size of the block leaves no trace."""
        vector = self._vectors(user_B).astype(np.float64)
        score = vector @ self._item_FD.T
        score = score if score.ndim == 2 else score.max(axis=1)
        read_B = self._events.indptr[user_B + 1] > self._events.indptr[user_B]
        return (score + read_B[:, None] * self._prior_F).astype(np.float32)

    def _vectors(self, user_B: np.ndarray) -> np.ndarray:
        """User vectors, [B, D] or [B, K, D]; encoded once a block of users, when first asked."""
        for block in np.unique(user_B // BLOCK).tolist():
            if block not in self._known:
                user_b = np.arange(block * BLOCK, min((block + 1) * BLOCK, self._n_users))
                length = self._model.config.network.max_length
                sequences = self._events.sequences(user_b, length)
                at_b = np.full(
                    len(user_b), self._events.time_E.max()
                )  # waits end where the log does
                found = self._model.users(sequences, user_B=user_b, at_B=at_b)
                self._known[block] = found.user_BD
        if not len(user_B):
            return np.zeros((0, self._item_FD.shape[1]))
        return np.stack([self._known[user // BLOCK][user % BLOCK] for user in user_B.tolist()])


def shift_of_shares(events: Histories, half_life_days: float) -> np.ndarray:
    """log(q_i / p_i), see the module's equation; float64 [I], 0 for items without events.

    Args:
        events: all events, the fit's and later ones.
        half_life_days: of q; 0 gives zeros.

    Example:
        >>> from muma.interest.histories import histories
        >>> from muma.testing.logs import tiny_log
        >>> shift_of_shares(histories(tiny_log({0: [0, 1, 1]})), 0.0).tolist()
        [0.0, 0.0]
    """
    shift_I = np.zeros(events.n_items)
    if not half_life_days or not len(events):
        return shift_I
    age_E = (events.time_E.max() - events.time_E) / DAY
    faded_I = np.bincount(events.item_E, 0.5 ** (age_E / half_life_days), events.n_items)
    seen_I = events.counts > 0
    old_I = events.counts[seen_I] / len(events)
    new_I = (faded_I[seen_I] + old_I) / (faded_I.sum() + 1)
    shift_I[seen_I] = np.log(new_I / old_I)
    return shift_I


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
