"""The interest model: histories in, user vectors and an item table out; it grows with the log.

    fit(log)              learn everything from a log
    fit_more(log_since)   go on with later events: new items and users enter, the optimiser's state
                          is kept, the known histories are context
    users(sequences)      what users want, as arrays
    items()               the item table, as arrays

Shape: B users, L events, D width, K interests, I items, S rows of the table.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from muma.artifact import Artifact, Writer
from muma.config import Config, Spec, build, parse
from muma.errors import ConfigError, DataError, NotFittedError
from muma.events.event import EventLog
from muma.events.interactions import Signal
from muma.features.feature import Sequences
from muma.fusion.fusion import Fusion, FusionConfig
from muma.interest.batch import FIRST_ROW, UNKNOWN_ROW, Events, events_of
from muma.interest.batching import Batches, BatchingConfig
from muma.interest.growth import first_vectors
from muma.interest.histories import Histories, histories
from muma.interest.interest import Interests
from muma.interest.network import InterestNetwork, NetworkConfig
from muma.interest.seeding import seed_torch
from muma.interest.table import ItemTable
from muma.interest.task import TrainingTask, with_sources
from muma.interest.trainer import Trained, TrainingConfig, train
from muma.interest.validation import ndcg, validation_events

FULL = Spec(use="muma.interest.objectives.full_softmax.FullSoftmax")
BLOCK = 256  # users encoded at once
WEIGHTS, MOMENTS, ROWS = "weights.npz", "moments.npz", "rows.npz"
LENGTH_STEP = 8  # lengths are rounded up, so that a user's neighbours do not decide its roundings


class InterestConfig(Config):
    """Parameters of `InterestModel`.

    Attributes:
        signal: which events make a history.
        network: the network.
        training: how to train it.
        objective: what to minimise.
        fusion: sources that are fused into each event (`network.source_width` follows); None reads
            ids, kinds and dwell only.
        validation_users: users whose newest event is kept from training, to measure NDCG@10 after
            each epoch (and to stop early, if the training says so); 0 trains on everything.
        more_passes: epochs over the new events in `fit_more`.
        more_rate: peak learning rate of `fit_more`.
        keep_moments: save the optimiser's state, which `fit_more` goes on with, beside the weights.
        seed: everything random derives from it, the network's first weights included.
    """

    signal: Signal = Signal()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    objective: Spec = FULL
    fusion: FusionConfig | None = None
    validation_users: int = Field(default=0, ge=0)
    more_passes: int = Field(default=2, ge=1)
    more_rate: float = Field(default=1e-3, gt=0)
    keep_moments: bool = True
    seed: int = Field(default=1, ge=0)


@dataclass(frozen=True)
class Items:
    """The item table as arrays.

    Shape:
        item_N: int64 dense items; vector_ND: float32.
    """

    item_N: np.ndarray
    vector_ND: np.ndarray


class InterestModel:
    """The network, its training, and its growth."""

    def __init__(self, config: InterestConfig = InterestConfig()) -> None:
        self.config = config
        self.curve: list[dict[str, Any]] = []
        self._task: TrainingTask | None = None
        self._moments: Mapping[str, Tensor] = {}
        self._histories: Histories | None = None

    def fit(self, log: EventLog, *, folder: Path | None = None) -> Self:
        """Learn from `log` and return self; fitting again starts anew.

        Args:
            log: the training log.
            folder: run folder: learning curve and checkpoints; a killed run goes on from there.

        Raises:
            DataError: the log holds no positive interaction.
            TrainingError: the training diverges.
        """
        events = histories(log, self.config.signal)
        if not len(events):
            raise DataError(
                "the log holds no positive interaction to learn from; positive kinds are "
                f"{', '.join(self.config.signal.kinds)}"
            )
        order_I = np.argsort(-events.counts, kind="stable")
        item_F = order_I[: np.count_nonzero(events.counts)]
        table = ItemTable(self.config.network.width, items=len(item_F), seed=self.config.seed)
        row_I = np.full(events.n_items, UNKNOWN_ROW, dtype=np.int64)
        row_I[item_F] = FIRST_ROW + np.arange(len(item_F))
        self._task = self._assemble(table, row_I, events)
        if self._task.fusion is not None:
            self._task.fusion.fit(log)
        self._histories = events
        held_V = validation_events(events, self.config.validation_users, self.config.seed)
        target_E = np.ones(len(events), dtype=bool)
        target_E[held_V] = False
        batches = Batches(self._batching(), events, seed=self.config.seed, target_E=target_E)
        self._keep(
            train(
                self._task,
                batches,
                self.config.training,
                seed=self.config.seed,
                folder=folder,
                validate=(lambda: ndcg(self, events, held_V)) if len(held_V) else None,
            )
        )
        return self

    def fit_more(self, log_since: EventLog, *, folder: Path | None = None) -> Self:
        """Go on with the events that came after those of `fit`, and return self.

        The new events are the targets, `more_passes` times each; what is known of their users is
        context. Items without a row get one, from their content where there are sources. Without a
        new event nothing changes.

        Args:
            log_since: later events only; its vocabularies extend the ones of the fit log.
            folder: run folder of this training.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: the vocabularies are smaller than the known ones.
        """
        task, known = self._fitted(), self._known()
        later = histories(log_since, self.config.signal)
        if later.n_items < len(task.row_I) or later.n_users < known.n_users:
            raise DataError(
                f"the log has {later.n_users} users and {later.n_items} items, fewer than the "
                f"{known.n_users} and {len(task.row_I)} known ones; its vocabularies must extend theirs"
            )
        if not len(later):
            return self
        events, new_E = known.joined(later)
        if task.fusion is not None:
            task.fusion.update(log_since)
        self._enter(np.unique(later.item_E), later.n_items)
        task.count_S = torch.from_numpy(_row_counts(events, task.row_I, task.network.table.size))
        self._histories = events
        config = self.config.training
        batching = self._batching().model_copy(update={"windows": "all"})
        changes = {"epochs": self.config.more_passes, "learning_rate": self.config.more_rate}
        changes |= {"batching": batching, "patience": 0}
        self._keep(
            train(
                task,
                Batches(batching, events, seed=self.config.seed, target_E=new_E),
                config.model_copy(update=changes),
                seed=self.config.seed,
                folder=folder,
                moments=self._moments,
            )
        )
        return self

    def evict(self, item_N: np.ndarray) -> None:
        """Let items go: their rows are freed, they are unknown from now on and never proposed.

        Raises:
            DataError: an item has no row.
        """
        task = self._fitted()
        row_N = task.row_I[item_N]
        if (row_N <= UNKNOWN_ROW).any():
            raise DataError(f"item {item_N[row_N <= UNKNOWN_ROW][0]} has no row to let go")
        task.network.table.evict(row_N)
        task.row_I[item_N] = UNKNOWN_ROW
        for name, value in self._moments.items():
            if name.startswith("network.table.weight/") and value.dim():
                value[torch.from_numpy(row_N)] = 0.0

    def users(
        self,
        sequences: Sequences,
        *,
        user_B: np.ndarray | None = None,
        at_B: np.ndarray | None = None,
    ) -> Interests:
        """What users want after their sequences.

        Args:
            sequences: histories; only the newest `network.max_length` events are read.
            user_B: dense users, for sources that know them; -1, or None, for unknown ones.
            at_B: int64 microseconds, the moment of the request; the newest event's if None.

        Raises:
            NotFittedError: `fit` was not called.
        """
        task = self._fitted()
        task.eval()
        newest_B = sequences.time_BL[:, -1]
        at_B = newest_B if at_B is None else at_B
        user_B = np.full(len(at_B), -1) if user_B is None else user_B
        parts, weights = [], []
        with torch.no_grad():
            for start in range(0, max(1, len(at_B)), BLOCK):
                rows = slice(start, start + BLOCK)
                vector, weight = _encode(task, _rows(sequences, rows), user_B[rows], at_B[rows])
                parts.append(vector.numpy())
                weights.append(weight)
        as_of_B = np.where(sequences.mask_BL[:, -1], newest_B, -1)
        names = [] if task.fusion is None else list(task.fusion.names)
        share_BS = np.concatenate(weights) if names else np.empty((len(at_B), 0))
        shares = {name: share_BS[:, at] for at, name in enumerate(names)}
        return Interests(np.concatenate(parts), as_of_B, shares)

    def without(self, *sources: str) -> Self:
        """The same model, sharing all weights, to which these sources are missing.

        Raises:
            ConfigError: it has no such source.
            NotFittedError: `fit` was not called.
        """
        task = self._fitted()
        if task.fusion is None:
            raise ConfigError(f"the model fuses no sources, so that {sources} cannot be removed")
        view = copy.copy(self)
        view._task = TrainingTask(  # noqa: SLF001 - of our own class
            task.network,
            task.objective,
            task.fusion.without(*sources),
            row_I=task.row_I,
            count_S=task.count_S.numpy(),
        )
        return view

    def items(self) -> Items:
        """The items that have a row, in the order of their index."""
        task = self._fitted()
        item_N = np.flatnonzero(task.row_I > UNKNOWN_ROW)
        vector_SD = task.network.table.live().detach().numpy()
        return Items(item_N, vector_SD[task.row_I[item_N]])

    @property
    def network(self) -> InterestNetwork:
        """The trained network."""
        return self._fitted().network

    @property
    def histories(self) -> Histories:
        """All the histories that the model has seen.

        Raises:
            NotFittedError: it was loaded without a log.
        """
        return self._known()

    @property
    def row_I(self) -> np.ndarray:
        """Row of each item, int64 [I]; `UNKNOWN_ROW` for one without."""
        return self._fitted().row_I

    def save(self, writer: Writer) -> None:
        """Write weights, rows and (if the config says so) the optimiser's state; no histories."""
        task = self._fitted()
        state = {name: value.numpy() for name, value in task.state_dict().items()}
        writer.arrays(WEIGHTS, state)
        if self.config.keep_moments:
            writer.arrays(MOMENTS, {n: value.numpy() for n, value in self._moments.items()})
        writer.arrays(ROWS, {"row_I": task.row_I, "count_S": task.count_S.numpy()})
        writer.path("interest.json").write_text(self.config.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, artifact: Artifact, log: EventLog | None = None) -> Self:
        """Read what `save` wrote.

        Args:
            artifact: the saved model.
            log: where the histories come from that `fit_more` needs as context; None knows none.
        """
        text = artifact.path("interest.json").read_text(encoding="utf-8")
        config = parse(InterestConfig, json.loads(text), where="interest.json")
        model, rows = cls(config), artifact.arrays(ROWS)
        table = ItemTable(config.network.width, seed=config.seed)
        task = model._assemble(table, rows["row_I"], None)
        stored = artifact.arrays(WEIGHTS)
        state = {name: torch.from_numpy(value) for name, value in stored.items()}
        task.network.load_state_dict(_below("network", state))
        task.objective.load_state_dict(_below("objective", state))
        if task.fusion is not None:
            task.fusion.restore(_below("fusion", state))
        task.count_S = torch.from_numpy(rows["count_S"])
        task.eval()
        model._task = task
        if MOMENTS in artifact.files:
            found = artifact.arrays(MOMENTS)
            model._moments = {n: torch.from_numpy(v) for n, v in found.items()}
        if log is not None:
            model._histories = histories(log, config.signal)
        return model

    def _assemble(
        self, table: ItemTable, row_I: np.ndarray, events: Histories | None
    ) -> TrainingTask:
        config = self.config
        network = config.network.model_copy(update={"seed": config.seed})
        count_S = (
            np.zeros(table.size, dtype=np.float32)
            if events is None
            else _row_counts(events, row_I, table.size)
        )
        with torch.random.fork_rng():
            seed_torch(config.seed, "first weights")
            fusion = None if config.fusion is None else Fusion(config.fusion)
            if fusion is not None:
                network = network.model_copy(update={"source_width": fusion.config.width})
            return TrainingTask(
                InterestNetwork(network, table),
                build(config.objective, where="objective"),
                fusion,
                row_I=row_I,
                count_S=count_S,
            )

    def _batching(self) -> BatchingConfig:
        """The training's batches; no window is longer than what the network reads."""
        batching = self.config.training.batching
        length = min(batching.length, self.config.network.max_length)
        return batching.model_copy(update={"length": length})

    def _enter(self, item_N: np.ndarray, n_items: int) -> None:
        """Give rows to the items of `item_N` that have none."""
        task = self._fitted()
        row_I = np.full(n_items, UNKNOWN_ROW, dtype=np.int64)
        row_I[: len(task.row_I)] = task.row_I
        new_N = item_N[row_I[item_N] == UNKNOWN_ROW]
        if len(new_N):
            known = self.items()
            init_ND = first_vectors(
                known.vector_ND,
                len(new_N),
                seed=self.config.seed,
                source_FC=_item_sources(task, known.item_N),
                source_NC=_item_sources(task, new_N),
            )
            row_I[new_N] = task.network.table.grow(len(new_N), init_ND)
        task.row_I = row_I

    def _keep(self, trained: Trained) -> None:
        self.curve = trained.curve
        self._moments = trained.moments
        self._fitted().eval()

    def _fitted(self) -> TrainingTask:
        if self._task is None:
            raise NotFittedError("the interest model is not fitted; call fit(log) first")
        return self._task

    def _known(self) -> Histories:
        if self._histories is None:
            raise NotFittedError(
                "the interest model was loaded without a log, so that it knows no histories to go "
                "on from; load it with the log it was fitted on"
            )
        return self._histories


def _encode(
    task: TrainingTask, sequences: Sequences, user_B: np.ndarray, at_B: np.ndarray
) -> tuple[Tensor, np.ndarray]:
    """User vectors [B, ...] and source weights of the newest event [B, S]."""
    events: Events = events_of(sequences, task.row_I, at_B=at_B)
    item_BL, user = torch.from_numpy(sequences.item_BL), torch.from_numpy(user_B)
    if task.fusion is None:
        return task.network.user(events), np.empty((len(user_B), 0))
    events = with_sources(events, task.fusion, item_BL, user)
    vector = task.network.user(events)
    fused = task.fusion(item_BL[:, -1], user)
    seen_BS = fused.present_NS & events.mask_BL[:, -1:]
    return vector, torch.where(seen_BS, fused.weight_NS, torch.nan).numpy()


def _item_sources(task: TrainingTask, item_N: np.ndarray) -> np.ndarray | None:
    """Source vectors of items for a user about whom nothing is known; None without sources."""
    if task.fusion is None:
        return None
    item = torch.from_numpy(item_N)
    with torch.no_grad():
        return task.fusion(item).vector_ND.numpy()


def _below(part: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a state dict that belongs to a submodule."""
    start = f"{part}."
    return {n.removeprefix(start): v for n, v in state.items() if n.startswith(start)}


def _rows(sequences: Sequences, rows: slice) -> Sequences:
    """Some rows, cut on the left to the longest of them."""
    mask_BL = sequences.mask_BL[rows]
    longest = int(mask_BL.sum(1).max(initial=1))
    keep = min(mask_BL.shape[1], -(-longest // LENGTH_STEP) * LENGTH_STEP)
    names = ("item_BL", "time_BL", "kind_BL", "domain_BL", "dwell_BL", "mask_BL")
    return Sequences(*(getattr(sequences, name)[rows, -keep:] for name in names))


def _row_counts(events: Histories, row_I: np.ndarray, size: int) -> np.ndarray:
    """Events of each row, float32 [S]."""
    row_E = row_I[events.item_E]
    return np.bincount(row_E[row_E > UNKNOWN_ROW], minlength=size).astype(np.float32)
