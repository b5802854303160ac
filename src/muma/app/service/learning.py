"""A policy that learns while it serves: events of the stream become feedback, each slot counted once.

    stream -> events that name a request -> its decision in the evidence -> slots that are decided
      -> statistics by item in RUN/policy

In one commit: the statistics, the answers that are still waited for, and how far the stream was read. A kill
at any moment repeats nothing and leaves nothing out; events that come twice, late or out of order are
counted by the one rule of `RewardConfig`.

    table arm             item -> sums of its rewards
    table request         number of a request -> the answer that is waited for
    blob  reward          the rule that slots were counted by, JSON: another rule is refused
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import polars as pl

from muma.app.service.shown import first_since
from muma.errors import ConfigError, MumaError, StoreError
from muma.events.stream import EventStream, StreamBatch
from muma.features.store import Changes, Records, Snapshot, StateStore, TableChange
from muma.policy.arms import ArmPolicy
from muma.policy.bounded import Bounded
from muma.policy.forgetting import Forgetting, Moments
from muma.policy.linear_policy import LinearPolicy
from muma.policy.neural_linear import NeuralLinear
from muma.policy.policy import Feedback, Policy
from muma.policy.shared_statistics import SharedStatistics
from muma.serving.erasure.erasable import Residue, Subject
from muma.serving.evidence.frames import request_hash
from muma.serving.evidence.rewards import RewardConfig
from muma.serving.evidence.waiting import Came, Decided, Waiting, WaitingRoom, encoded
from muma.serving.recommending import Evidence

LOG = logging.getLogger(__name__)
REQUESTS, RULE = "request", "reward"
PIECE, IDLE_S, SLACK_US, MOST_STRANGERS = 5_000, 0.1, 2_000_000, 10_000

Find = Callable[[str], Evidence | None]


class Learner:
    """Teaches a policy of arms; `start` gives it a thread.

    Args:
        policy: its statistics are kept in the store from now on.
        store: of its own; nobody else writes it.
        stream: the events now; None while they are closed.
        find: the decision of a request.
        since: time of the first decision there is, microseconds: nothing before it is looked at.
        item_of: raw id -> dense item, -1 for none.
        rule: what a slot earned.
        clock: UTC microseconds.

    Raises:
        StoreError: the store was filled by another rule.
    """

    def __init__(
        self,
        policy: ArmPolicy,
        store: StateStore,
        *,
        stream: Callable[[], EventStream | None],
        find: Find,
        since: int,
        item_of: Callable[[str], int],
        rule: RewardConfig,
        clock: Callable[[], int],
    ) -> None:
        self._store, self._stream, self._find = store, stream, find
        self._since, self._item_of = since, item_of
        self._rule, self._clock = rule, clock
        self.statistics = SharedStatistics(store=store, forgetting=policy.statistics.forgetting)
        policy.statistics = self.statistics
        self._captured = _Captured(self.statistics.forgetting)
        self._teacher = copy(policy)
        self._teacher.statistics = self._captured
        self._strangers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failing: str | None = None
        self._closed = 0
        self._load()

    def start(self) -> None:
        """Go on in a thread until `close`."""
        self._thread = threading.Thread(target=self._follow, name="muma-learner", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not counted yet is counted after the next start. Safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._store.close()

    def trouble(self) -> str | None:
        """Why nothing is learned; None when all is well."""
        return self.failing

    def step(self) -> int:
        """Read what has come, count what is decided, commit; returns how many events were read.

        Raises:
            StreamError, StoreError: nothing was counted; asking again does it.
        """
        with self._lock:
            stream = self._stream()
            if stream is None:
                return 0
            try:
                return self._step(stream)
            except BaseException:
                self._load()
                raise

    def forget(self, user: int) -> int:
        """Let go of the answers of a user that are waited for; returns how many."""
        with self._lock:
            count = self._room.forget(user)
            self._commit([], {})
            return count

    def _step(self, stream: EventStream) -> int:
        clock = self._clock() - SLACK_US  # before the ends: what is appended later arrived later
        ends = stream.ends()
        decided: list[Decided] = []
        offsets, read = {}, 0
        for partition, end in ends.items():
            offset = self._begin(stream, partition)
            batch = stream.read(partition, offset, limit=PIECE) if offset < end else None
            offsets[partition] = offset
            if batch is None:
                continue
            offsets[partition] = batch.next_offset
            read += batch.frame.height
            if batch.next_offset < end:  # more waits: time stands where we are
                clock = min(clock, int(batch.frame.item(-1, "received_at")) - 1)
            decided += self._taken(batch)
        decided += self._room.close(clock)
        self._closed = max(self._closed, clock)
        if offsets != self._offsets or decided or self._room.changed or self._room.gone:
            self._commit(decided, offsets)
        return read

    def _begin(self, stream: EventStream, partition: int) -> int:
        start = stream.starts().get(partition, 0)
        if partition in self._offsets:
            return max(self._offsets[partition], start)
        return first_since(stream, partition, self._since)

    def _taken(self, batch: StreamBatch) -> Iterable[Decided]:
        kinds = [*self._rule.kinds, *([self._rule.shown_by] if self._rule.shown_by else [])]
        wanted = (
            pl.col("request_id").is_not_null()
            & pl.col("item_id").is_not_null()
            & pl.col("kind").cast(pl.String).is_in(kinds)
        )
        columns = ("request_id", "user_id", "item_id", "kind", "timestamp", "received_at")
        for request, user, item, kind, at, arrived in (
            batch.frame.filter(wanted).select(columns).rows()
        ):
            number = self._known(request, user, arrived)
            weight = self._rule.weight(kind)
            if number is not None and weight is not None:
                yield from self._room.take(number, Came(item, weight, at, arrived))

    def _known(self, request: str, user: int, arrived: int) -> int | None:
        """The number of a request that is waited for; looks its decision up if need be."""
        number = request_hash(request)
        if number in self._room.held:
            return number
        if self._strangers.get(request, -1) >= arrived:
            return None
        looked = self._clock()
        evidence = self._find(request)
        if evidence is None:
            if len(self._strangers) >= MOST_STRANGERS:
                del self._strangers[next(iter(self._strangers))]
            self._strangers[request] = looked  # an answer that is given later has a right to events
            return None
        if evidence.ask.time + self._rule.closing_us < max(arrived, self._closed):
            return None  # too late, but one of another partition may still be in time
        items = [self._item_of(one.item) for one in evidence.answer.items]
        n = len(items)
        self._room.admit(
            number,
            Waiting(
                evidence.ask.time, user, items, evidence.propensity_K.tolist(),
                [one.explored for one in evidence.answer.items], [None] * n, [False] * n,
            ),
        )  # fmt: skip
        return number

    def _commit(self, decided: Sequence[Decided], offsets: Mapping[int, int]) -> None:
        self._store.update(lambda view: self._changes(view, decided, offsets))
        self._room.settled()
        self._offsets = {**self._offsets, **offsets}

    def _changes(
        self, view: Snapshot, decided: Sequence[Decided], offsets: Mapping[int, int]
    ) -> Changes:
        found = Changes()
        if decided:
            self._teacher.learn(_feedback(decided))
            feedback, value_E = self._captured.last
            found = self.statistics.changes(view, feedback, value_E)
        changed, gone = sorted(self._room.changed), sorted(self._room.gone)
        records = Records.of([encoded(self._room.held[number]) for number in changed])
        requests = TableChange(
            REQUESTS, np.array(changed, dtype=np.uint64), records, np.array(gone, dtype=np.uint64)
        )
        blobs = {**found.blobs, RULE: _rule(self._rule)}
        return Changes([*found.tables, requests], offsets=offsets, blobs=blobs)

    def _load(self) -> None:
        """What was kept, and nothing else.

        Raises:
            StoreError: it was counted by another rule, or is damaged.
        """
        with self._store.snapshot() as view:
            by = view.blob(RULE)
            if by is not None and by != _rule(self._rule):
                raise StoreError(
                    f"the policy's statistics were counted by {by.decode()}, and serving.reward is "
                    f"{_rule(self._rule).decode()}; remove the run's folder 'policy' to count the kept "
                    "decisions anew, or set it as it was"
                )
            self.statistics.of(np.zeros(0, dtype=np.int64))  # checks the rule of forgetting
            self._offsets = view.offsets()
            records = [
                (int(key), kept[place])
                for keys, kept in view.scan(REQUESTS)
                for place, key in enumerate(keys.tolist())
            ]
        self._room = WaitingRoom.of(self._rule, records)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                read = self.step()
                self.failing = None
            except MumaError as error:
                read, self.failing = 0, str(error)
                LOG.warning("the policy learns nothing", extra={"reason": str(error)})
            if not read:
                self._stop.wait(IDLE_S if self.failing is None else 10 * IDLE_S)


class ErasableLearner:
    """Answers of a person that are waited for; the statistics are of items and name nobody.

    Args:
        learner: of the service.
        name: of the part.
    """

    def __init__(self, learner: Learner, *, name: str = "policy") -> None:
        self.name = name
        self._learner = learner

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """Let go of them."""
        return {"answers": 0 if subject.index < 0 else self._learner.forget(subject.index)}

    def residue(self, subject: Subject) -> Sequence[Residue]:
        """The counts of items that the person's clicks went into."""
        if subject.index < 0:
            return ()
        until = "as long as the policy remembers (policy.forgetting)"
        return (Residue("counts of items in the policy's statistics", until),)


@dataclass
class _Captured:
    """Statistics that note what a policy would add."""

    forgetting: Forgetting

    def __post_init__(self) -> None:
        none = np.zeros(0)
        self.last: tuple[Feedback, np.ndarray | None] = (
            Feedback(none.astype(np.int64), none, none.astype(np.int64), none), None,
        )  # fmt: skip

    @property
    def as_of(self) -> int:
        return -1

    def add(self, feedback: Feedback, value_E: np.ndarray | None = None) -> None:
        self.last = feedback, value_E

    def of(self, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.forgetting.empty(len(item_N)), self.forgetting.empty(1)

    def read(self, item_N: np.ndarray, at: int) -> tuple[Moments, float]:
        return self.forgetting.read(self.of(item_N)[0], float(at)), 0.0

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        return self.forgetting.empty(0), self.forgetting.empty(1)


def taught(policy: Policy, rule: RewardConfig) -> ArmPolicy | None:
    """The policy, if a service has to teach it.

    Raises:
        ConfigError: it would have to, and cannot.
    """
    if isinstance(policy, LinearPolicy | NeuralLinear | Bounded):
        raise ConfigError(
            f"policy: {type(policy).__name__} learns from features or keeps limits, which the service "
            "does not do for it; name a policy of arms (Thompson, UCB, StochasticUCB, EpsilonGreedy) or "
            "one that does not learn (SoftmaxPolicy, Greedy)"
        )
    if isinstance(policy, ArmPolicy) and rule.shown_by is None:
        raise ConfigError(
            "serving.reward.shown_by: a policy that learns must be told what was shown; name a kind of "
            "event, such as 'impression'"
        )
    return policy if isinstance(policy, ArmPolicy) else None


def _feedback(decided: Sequence[Decided]) -> Feedback:
    known = [one for one in decided if one.item >= 0]
    return Feedback(
        np.array([one.item for one in known], dtype=np.int64),
        np.array([one.reward for one in known], dtype=np.float64),
        np.array([one.time for one in known], dtype=np.int64),
        np.array([one.propensity for one in known], dtype=np.float64),
        explored_E=np.array([one.explored for one in known], dtype=bool),
    )


def _rule(rule: RewardConfig) -> bytes:
    return json.dumps(rule.model_dump(mode="json"), sort_keys=True).encode()
