"""The online engine: events in, features out, state in rows of integers that a store keeps.

A batch is checked (offsets, repeats, the future), prepared once, and written to the rows of each kind
of key. `changes` hands over what a store must commit; `lookup` reads at any time.

Events are taken piece by piece, and after each piece the offsets stand where the state does: when
memory runs short, the engine commits there. One thread applies, hands over and reads;
`StateStore.commit` may run in another.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from muma.config import Config
from muma.errors import StoreError, StreamError
from muma.events.stream import StreamBatch
from muma.features.activity import Prepared, prepare, selected
from muma.features.catalogue import Catalogue
from muma.features.feature import FeatureTable
from muma.features.followers import Followers
from muma.features.online.dedup import PREFIX, Dedup
from muma.features.online.reading import Reading, Source
from muma.features.online.record import plan_signature
from muma.features.online.residency import FEWEST_EVENTS, Residency
from muma.features.online.tables import Table
from muma.features.plan import Plan
from muma.features.span import parse_span
from muma.features.store import Changes, Snapshot, StateStore, TableChange

SPARE = 32 << 20  # least bytes of a table beyond the budget, for what a commit under way holds
FEW = 4_096  # below it one thread is quicker than two
COUNTERS, PLAN, QUARANTINE = "counters", "plan", "quarantine/"


class EngineConfig(Config):
    """Bounds of the engine.

    Attributes:
        memory_mib: resident rows; keys that do not fit wait in the store.
        dedup_horizon: an event id that comes twice within this much event time counts once.
        threads: kinds of key that are written at the same time.
    """

    memory_mib: int = Field(default=2048, ge=1)
    dedup_horizon: str = "10m"
    threads: int = Field(default=2, ge=1)

    @field_validator("dedup_horizon")
    @classmethod
    def _is_a_span(cls, text: str) -> str:
        parse_span(text)
        return text


@dataclass
class Counters:
    """What became of every event; part of each commit, so exact across restarts.

    Attributes:
        events: read, once each by offset.
        applied: written to state.
        repeated_offsets: read again after they were counted; not part of `events`.
        repeated_ids: an id seen before within the horizon.
        unchecked: too old to look for a repeat; taken.
        late_dropped: taken, but at least one state no longer had a place for them.
        quarantined: no user, time or kind, or further in the future of their arrival than allowed.
        erased: of somebody who was forgotten before they were read; all their columns are null.
        watermark: newest event time, microseconds; -1 before the first.
    """

    events: int = 0
    applied: int = 0
    repeated_offsets: int = 0
    repeated_ids: int = 0
    unchecked: int = 0
    late_dropped: int = 0
    quarantined: int = 0
    erased: int = 0
    watermark: int = -1

    @property
    def duplicates(self) -> int:
        """Repeats of either sort."""
        return self.repeated_offsets + self.repeated_ids


class Engine:
    """Keeps the features of a plan up to date.

    Args:
        plan: the features.
        catalogue: attributes of items.
        followers: who follows whom.
        store: where state is committed and read back from; None keeps all in memory.
        config: bounds.

    Raises:
        StoreError: the store holds the state of other features, or is damaged.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        catalogue: Catalogue,
        followers: Followers | None = None,
        store: StateStore | None = None,
        config: EngineConfig | None = None,
    ) -> None:
        self.plan, self.catalogue = plan, catalogue
        self.followers = followers or Followers.nobody()
        self.config = config or EngineConfig()
        self.counters = Counters()
        self.offsets: dict[int, int] = {}
        self._store = store
        self._reading = Reading(plan, catalogue)
        self._dedup = Dedup(parse_span(self.config.dedup_horizon))
        budget = self.config.memory_mib << 20
        reserve = budget + max(budget // 8, SPARE)
        self._tables = [
            Table(kind, len(plan.writes), most=max(reserve // (kind.width * 8), FEWEST_EVENTS))
            for kind in plan.kinds
        ]
        self._kept = [table for table in self._tables if table.kind.states]
        self._residency = Residency(self._kept, store, budget)
        self._held: list[pl.DataFrame] = []  # quarantined since the last hand-over
        self._given: dict[str, bytes | None] = {}  # blobs handed over and not confirmed
        self._owed: dict[str, bytes | None] = {}  # blobs taken back
        self._handed = False
        self._failed = False
        self._batch = 0
        self._pool = ThreadPoolExecutor(self.config.threads, thread_name_prefix="muma-apply")
        if store is not None:
            with store.snapshot() as snapshot:
                self._resume(snapshot)

    @property
    def resident_bytes(self) -> int:
        """Bytes of rows in memory."""
        return self._residency.bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes of rows in memory with their index and marks."""
        return sum(table.memory for table in self._tables)

    @property
    def must_commit(self) -> bool:
        """Memory runs short: commit and `confirm` what was handed over before the next batch."""
        return self._residency.free < self._residency.budget // 2

    def apply(self, frame: pl.DataFrame, *, partition: int = 0, offset: int | None = None) -> None:
        """Take events of one partition.

        Args:
            frame: events with columns of `STREAM_COLUMNS`; missing ones read as null.
            partition: which partition.
            offset: offset of the first row; rows that were taken before are left out. None makes
                no check and keeps no offset.

        Raises:
            StreamError: events between the last ones taken and `offset` are missing; nothing of
                `frame` was taken.
            StoreError: state does not fit, or the store cannot be read; the engine then takes
                nothing more.
        """
        if offset is None:
            self._check_sound()
            self._take(frame, None)
            return
        self.apply_batches([StreamBatch(partition, offset, frame)])

    def apply_batches(self, batches: Sequence[StreamBatch]) -> None:
        """Take events of several partitions together, in order of event time.

        Raises:
            StreamError: see `apply`; nothing of `batches` was taken.
            StoreError: see `apply`.
        """
        self._check_sound()
        ends = dict(self.offsets)
        fresh: list[tuple[int, pl.DataFrame]] = []
        repeated = 0
        for batch in batches:
            expected = ends.get(batch.partition, 0)
            if batch.offset > expected:
                raise StreamError(
                    f"partition {batch.partition}: events {expected:,} to {batch.offset - 1:,} are "
                    f"missing; the state stands at {expected:,} and the batch begins at "
                    f"{batch.offset:,}"
                )
            skipped = min(expected - batch.offset, batch.frame.height)
            repeated += skipped
            fresh.append((batch.partition, batch.frame.slice(skipped)))
            ends[batch.partition] = max(expected, batch.next_offset)
        self.counters.repeated_offsets += repeated
        fresh = [(partition, frame) for partition, frame in fresh if frame.height]
        if fresh:
            self._take(*merged(fresh))

    def lookup(self, user: int, items: np.ndarray, at: int) -> FeatureTable:
        """Features of one user with N items (dense indices, -1 for none) at `at` (microseconds).

        `at` must not be earlier than the newest event of the keys that are read; events that share
        the pane of `at` are counted even if they are later than it.
        """
        return self._reading.lookup(Source(self._rows_of), user, items, at)

    def table(self, users: np.ndarray, items: np.ndarray, ats: np.ndarray) -> FeatureTable:
        """Features of B (user, item, moment) requests, int64 [B] each; see `lookup`."""
        return self._reading.table(Source(self._rows_of), users, items, ats)

    def changes(self) -> Changes:
        """What has changed since the last call, to be committed as one.

        Commit them in the order of the calls, and say then `confirm`, or `take_back` if the store
        refused.
        """
        self._check_sound()
        tables = []
        for table in self._tables:
            keys, records, removed = table.changes()
            if len(keys) or len(removed):
                tables.append(TableChange(table.kind.name, keys, records, removed))
        blobs: dict[str, bytes | None] = {
            COUNTERS: json.dumps(asdict(self.counters)).encode(),
            PLAN: plan_signature(self.plan),
        }
        news = {**self._owed, **self._dedup.changes(self.counters.watermark)}
        for place, held in enumerate(self._held):
            news[f"{QUARANTINE}{self.counters.quarantined:012d}/{place:04d}"] = _ipc(held)
        self._held, self._owed = [], {}
        self._given |= news
        self._handed = True
        return Changes(tables, dict(self.offsets), blobs | news)

    def confirm(self) -> None:
        """The changes handed over so far are committed."""
        for table in self._tables:
            table.confirm()
        self._given, self._handed = {}, False

    def take_back(self) -> None:
        """The changes handed over since the last `confirm` were not committed; they come again."""
        for table in self._tables:
            table.take_back()
        self._owed, self._given, self._handed = {**self._given, **self._owed}, {}, False

    def commit(self) -> int:
        """Commit what has changed and return the store's version.

        Raises:
            StoreError: there is no store, or it refuses; then nothing is lost, and what has changed
                comes again with the next commit.
        """
        if self._store is None:
            raise StoreError("the engine has no store to commit to; give it one")
        changes = self.changes()
        try:
            version = self._store.commit(changes)
        except BaseException:
            self.take_back()
            raise
        self.confirm()
        return version

    def expire(self) -> int:
        """Forget keys whose state has gone out of reach of every window; returns how many.

        No read can tell. What is forgotten leaves the store with the next commit.
        """
        self._check_sound()
        # an event that comes late may still meet what the key held before
        slack = max(self.plan.lateness, self.plan.ahead)
        return self._residency.expire(self.counters.watermark - slack)

    def quarantined(self) -> pl.DataFrame:
        """Every quarantined event that is committed or waits to be."""
        frames = list(self._held)
        if self._store is not None:
            with self._store.snapshot() as snapshot:
                stored = [pl.read_ipc(io.BytesIO(blob)) for _, blob in snapshot.blobs(QUARANTINE)]
            frames = stored + frames
        return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()

    def _take(self, frame: pl.DataFrame, partition_N: np.ndarray | None) -> None:
        """Take events piece by piece; between pieces, counters and offsets stand where state does."""
        size = self._residency.piece
        for start in range(0, frame.height, size):
            piece = frame.slice(start, size)
            if not self._residency.relieve(piece.height) and not self._handed:
                self.commit()
                self._residency.relieve(piece.height)
            wrong = self._impossible(piece)
            sound = piece if wrong is None else piece.filter(~wrong)
            picked = selected(sound.lazy(), self.plan).collect()
            try:
                self._write_piece(sound, picked)
            except BaseException:
                self._failed = True
                raise
            if wrong is not None:
                held = piece.filter(wrong & ~_blank(piece))
                self.counters.erased += piece.height - sound.height - held.height
                if held.height:
                    self._held.append(held)
                    self.counters.quarantined += held.height
            self.counters.events += piece.height
            if partition_N is not None:
                taken = np.unique(partition_N[start : start + size], return_counts=True)
                for partition, count in zip(*(each.tolist() for each in taken), strict=True):
                    self.offsets[partition] = self.offsets.get(partition, 0) + count

    def _write_piece(self, sound: pl.DataFrame, picked: pl.DataFrame) -> None:
        """Write sound events (`picked` is what `prepare` reads of them), each id once."""
        keep = self._first_seen(sound)
        if keep is not None:
            picked = picked.filter(pl.Series(keep))
        if not picked.height:
            return
        self._batch += 1
        prepared = prepare(picked, self.plan, self.catalogue, self.followers)
        self._residency.bring(prepared, self._batch)
        self._write(prepared)
        self.counters.applied += len(prepared)
        self.counters.watermark = max(self.counters.watermark, int(prepared.time_N.max()))

    def _write(self, prepared: Prepared) -> None:
        late = np.zeros((len(self._kept), len(prepared)), dtype=np.bool_)
        work = [(table, late[place]) for place, table in enumerate(self._kept)]
        if len(prepared) < FEW or self.config.threads == 1:
            for table, mine in work:
                table.apply(prepared, mine, self._batch)
        else:
            done = [self._pool.submit(t.apply, prepared, mine, self._batch) for t, mine in work]
            for future in done:
                future.result()
        self.counters.late_dropped += int(late.any(axis=0).sum())

    def _rows_of(self, place: int, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._residency.rows_of(self._tables[place], keys)

    def _resume(self, snapshot: Snapshot) -> None:
        stored = snapshot.blob(PLAN)
        if stored is not None and stored != plan_signature(self.plan):
            raise StoreError(
                "the store holds the state of another set of features; use a new state folder, or "
                "the recipe it was made with"
            )
        self.offsets = snapshot.offsets()
        counted = snapshot.blob(COUNTERS)
        if counted is not None:
            known = {field.name for field in fields(Counters)}
            values: Mapping[str, int] = json.loads(counted)
            self.counters = Counters(**{k: v for k, v in values.items() if k in known})
        for name, blob in snapshot.blobs(PREFIX):
            self._dedup.restore(name, blob)
        self._residency.load(snapshot)

    def _impossible(self, frame: pl.DataFrame) -> pl.Series | None:
        """Events that cannot be: a value is missing, or they are of the future; None without one."""
        needed = ("user_id", "timestamp", "kind")
        if any(name not in frame.columns for name in needed):
            return pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
        bad = None
        for name in needed:
            column = frame.get_column(name)
            if column.null_count():
                bad = column.is_null() if bad is None else bad | column.is_null()
        if "received_at" in frame.columns:
            received, time = frame.get_column("received_at"), frame.get_column("timestamp")
            ahead = (time > received + self.plan.ahead).fill_null(False)
            if ahead.any():
                bad = ahead if bad is None else bad | ahead
        return bad

    def _first_seen(self, frame: pl.DataFrame) -> np.ndarray | None:
        """Which events are no repeats, bool [N]; None when none is one."""
        if "event_id" not in frame.columns:
            return None
        ids = frame.get_column("event_id")
        place = np.flatnonzero(ids.is_not_null().to_numpy())
        if not len(place):
            return None
        repeats, unchecked = self._dedup.repeated(
            ids.drop_nulls().to_numpy().astype(np.uint64),
            frame.get_column("timestamp").to_numpy()[place],
            self.counters.watermark,
        )
        self.counters.unchecked += unchecked
        if not repeats.any():
            return None
        self.counters.repeated_ids += int(repeats.sum())
        keep = np.ones(frame.height, dtype=np.bool_)
        keep[place[repeats]] = False
        return keep

    def _check_sound(self) -> None:
        if self._failed:
            raise StoreError(
                "an earlier batch failed half-way and this engine's state is of no use; build a new "
                "engine on the store and read the stream again from its offsets"
            )


def _blank(frame: pl.DataFrame) -> pl.Series:
    """Rows of events that were forgotten: nothing is left but when they arrived."""
    left = pl.all_horizontal(pl.all().exclude("received_at").is_null())
    return frame.select(left.alias("blank")).get_column("blank")


def merged(parts: Sequence[tuple[int, pl.DataFrame]]) -> tuple[pl.DataFrame, np.ndarray]:
    """Events of several partitions in order of time, each partition in its own order.

    An event goes where the newest one before it in its partition stands, so that any head of the
    whole is a head of every partition.

    Args:
        parts: partition and its next events; a partition may stand there several times.

    Returns:
        The events, and the partition of each, int64 [N].
    """
    partition_N = np.repeat([p for p, _ in parts], [frame.height for _, frame in parts])
    if len(parts) == 1:
        return parts[0][1], partition_N
    newest: dict[int, int] = {}
    order = []
    for partition, frame in parts:
        time = frame.get_column("timestamp").fill_null(0).to_numpy()
        reached = np.maximum.accumulate(np.maximum(time, newest.get(partition, 0)))
        newest[partition] = int(reached[-1])
        order.append(reached)
    place_N = np.argsort(np.concatenate(order), kind="stable")
    whole = pl.concat([frame for _, frame in parts], how="diagonal")
    return whole[place_N], partition_N[place_N]


def _ipc(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()
