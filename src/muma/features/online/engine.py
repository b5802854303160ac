"""The online engine: events in, features out, state in rows of integers that a store keeps.

A batch is checked (offsets, repeats, the future), prepared once, and written to the rows of each kind
of key. `changes` hands over what a store must commit; `lookup` reads at any time.

One thread applies, hands over and reads; `StateStore.commit` may run in another.
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
from muma.features.online.reading import Reading
from muma.features.online.record import decode
from muma.features.online.tables import Table
from muma.features.plan import Plan
from muma.features.span import parse_span
from muma.features.store import Changes, Snapshot, StateStore, TableChange

PIECE = 1 << 17  # events prepared at once
FEW = 4_096  # below it one thread is quicker than two
COUNTERS, PLAN = "counters", "plan"


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
        quarantined: no user or time, or further in the future of their arrival than allowed.
        watermark: newest event time, microseconds; -1 before the first.
    """

    events: int = 0
    applied: int = 0
    repeated_offsets: int = 0
    repeated_ids: int = 0
    unchecked: int = 0
    late_dropped: int = 0
    quarantined: int = 0
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
        self._budget = self.config.memory_mib << 20
        self._tables = [
            Table(kind, len(plan.writes), most=max(self._budget // (kind.width * 8), 64))
            for kind in plan.kinds
        ]
        self._held: list[pl.DataFrame] = []  # quarantined since the last commit
        self._batch = 0
        self._pool = ThreadPoolExecutor(self.config.threads, thread_name_prefix="muma-apply")
        if store is not None:
            with store.snapshot() as snapshot:
                self._resume(snapshot)

    @property
    def resident_bytes(self) -> int:
        """Bytes of rows in memory."""
        return sum(table.bytes for table in self._tables)

    @property
    def memory_bytes(self) -> int:
        """Bytes of rows in memory with their index and marks."""
        return sum(table.memory for table in self._tables)

    def apply(self, frame: pl.DataFrame, *, partition: int = 0, offset: int | None = None) -> None:
        """Take events of one partition.

        Args:
            frame: events with columns of `STREAM_COLUMNS`; missing ones read as null.
            partition: which partition.
            offset: offset of the first row; rows that were taken before are left out. None makes
                no check and keeps no offset.

        Raises:
            StreamError: events between the last ones taken and `offset` are missing.
            StoreError: state does not fit, or the store cannot be read.
        """
        if offset is None:
            self.counters.events += frame.height
            self._take(frame)
            return
        self.apply_batches([StreamBatch(partition, offset, frame)])

    def apply_batches(self, batches: Sequence[StreamBatch]) -> None:
        """Take events of several partitions together, in order of event time.

        Raises:
            StreamError: see `apply`; nothing of `batches` was taken.
            StoreError: see `apply`.
        """
        ends = dict(self.offsets)
        fresh = []
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
            fresh.append(batch.frame.slice(skipped))
            ends[batch.partition] = max(expected, batch.next_offset)
        self.offsets = ends
        self.counters.repeated_offsets += repeated
        self.counters.events += sum(frame.height for frame in fresh)
        fresh = [frame for frame in fresh if frame.height]
        if len(fresh) == 1:
            self._take(fresh[0])
        elif fresh:
            whole = pl.concat(fresh, how="diagonal")
            self._take(whole.sort("timestamp", maintain_order=True))

    def lookup(self, user: int, items: np.ndarray, at: int) -> FeatureTable:
        """Features of one user with N items (dense indices, -1 for none) at `at` (microseconds).

        `at` must not be earlier than the newest event of the keys that are read; events that share
        the pane of `at` are counted even if they are later than it.
        """
        return self._reading.lookup(self._rows_of, user, items, at)

    def table(self, users: np.ndarray, items: np.ndarray, ats: np.ndarray) -> FeatureTable:
        """Features of B (user, item, moment) requests, int64 [B] each; see `lookup`."""
        return self._reading.table(self._rows_of, users, items, ats)

    def changes(self) -> Changes:
        """What has changed since the last call, to be committed as one.

        Keys stay in memory until `confirm`. If the commit fails, the state on disk is behind: build a
        new engine on the store and read the stream again from its offsets.
        """
        tables = []
        for table in self._tables:
            keys, records, removed = table.changes()
            if len(keys) or len(removed):
                tables.append(TableChange(table.kind.name, keys, records, removed))
        blobs: dict[str, bytes | None] = {
            COUNTERS: json.dumps(asdict(self.counters)).encode(),
            PLAN: self._signature(),
        }
        blobs |= self._dedup.changes(self.counters.watermark)
        for held in self._held:
            name = f"quarantine/{self.counters.quarantined:012d}/{len(blobs):04d}"
            blobs[name] = _ipc(held)
        self._held = []
        return Changes(tables, dict(self.offsets), blobs)

    def confirm(self) -> None:
        """The changes handed over so far are committed."""
        for table in self._tables:
            table.confirm()

    def commit(self) -> int:
        """Commit what has changed and return the store's version.

        Raises:
            StoreError: there is no store, or it refuses (then build a new engine on it).
        """
        if self._store is None:
            raise StoreError("the engine has no store to commit to; give it one")
        version = self._store.commit(self.changes())
        self.confirm()
        return version

    def expire(self) -> int:
        """Forget keys whose state has gone out of reach of every window; returns how many.

        No read can tell. What is forgotten leaves the store with the next commit.
        """
        gone = 0
        for place, table in enumerate(self._tables):
            rows = table.expired(self.counters.watermark)
            if len(rows):
                table.remove(rows)
            gone += len(rows)
            if table.cold and table.kind.reach >= 0 and self._store is not None:
                gone += self._expire_cold(self._store, place)
        return gone

    def quarantined(self) -> pl.DataFrame:
        """Every quarantined event that is committed or waits to be."""
        frames = list(self._held)
        if self._store is not None:
            with self._store.snapshot() as snapshot:
                stored = [
                    pl.read_ipc(io.BytesIO(blob)) for _, blob in snapshot.blobs("quarantine/")
                ]
            frames = stored + frames
        return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()

    def _take(self, frame: pl.DataFrame) -> None:
        frame = self._without_repeats(self._without_impossible(frame))
        self.counters.applied += frame.height
        if not frame.height:
            return
        newest = frame.get_column("timestamp").max()
        for start in range(0, frame.height, PIECE):
            piece = selected(frame.slice(start, PIECE).lazy(), self.plan).collect()
            self._write(prepare(piece, self.plan, self.catalogue, self.followers))
        if isinstance(newest, int):
            self.counters.watermark = max(self.counters.watermark, newest)

    def _write(self, prepared: Prepared) -> None:
        self._batch += 1
        tables = [t for t in self._tables if t.kind.states]
        for table in tables:
            if not self._make_room(table, prepared):
                half = len(prepared) // 2
                if half == 0:
                    raise StoreError(
                        f"the state of one event does not fit memory_mib = {self.config.memory_mib}; "
                        "give the engine more"
                    )
                self._write(_part(prepared, 0, half))
                self._write(_part(prepared, half, len(prepared)))
                return
        late = np.zeros((len(tables), len(prepared)), dtype=np.bool_)
        work = [(table, late[place]) for place, table in enumerate(tables)]
        if len(prepared) < FEW or self.config.threads == 1:
            for table, mine in work:
                table.apply(prepared, mine, self._batch)
        else:
            done = [self._pool.submit(t.apply, prepared, mine, self._batch) for t, mine in work]
            for future in done:
                future.result()
        self.counters.late_dropped += int(late.any(axis=0).sum())

    def _make_room(self, table: Table, prepared: Prepared) -> bool:
        """Bring in what the store holds of the batch's keys, and make room; False if it cannot fit."""
        _, keys = table.keys_of(prepared)
        room = min(table.room, (self._budget - self.resident_bytes) // (table.kind.width * 8))
        if not table.cold and len(keys) <= room:
            return True
        absent = np.unique(keys[table.find(keys) < 0])
        if len(absent) > room:
            self._evict(table, len(absent) - room)
            absent = np.unique(keys[table.find(keys) < 0])
            room = min(table.room, (self._budget - self.resident_bytes) // (table.kind.width * 8))
            if len(absent) > room:
                return False
        if table.cold and len(absent) and self._store is not None:
            with self._store.snapshot() as snapshot:
                self._fetch(snapshot, table, absent)
        return True

    def _evict(self, table: Table, rows: int) -> None:
        """Free at least `rows` rows of `table`'s width, a quarter of a table at a time."""
        if self._store is None:
            raise StoreError(
                f"the state does not fit memory_mib = {self.config.memory_mib} and there is no store "
                "to keep the rest; raise it, or give the engine a store"
            )
        self.commit()
        wanted = rows * table.kind.width * 8
        if table.room < rows:
            table.evict(max(rows, len(table) // 4))
        while self._budget - self.resident_bytes < wanted:
            largest = max(self._tables, key=lambda one: one.bytes)
            if not largest.evict(max(len(largest) // 4, 64)):
                return

    def _fetch(self, snapshot: Snapshot, table: Table, keys: np.ndarray) -> None:
        """Bring keys from the store into memory; absent ones stay absent."""
        records = snapshot.get(table.kind.name, keys)
        there = np.flatnonzero(records.lengths > 0)
        if not len(there):
            return
        rows = table.add(keys[there], self._batch)
        chosen = type(records)(records.data, records.starts[there], records.lengths[there])
        decode(chosen, table.rows, rows, table.sign, table.kind.name)
        table.cold -= len(there)

    def _rows_of(self, place: int, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        table = self._tables[place]
        rows = table.find(keys)
        if not table.cold or self._store is None or not (rows < 0).any():
            return table.rows, rows
        absent = np.unique(keys[rows < 0])
        with self._store.snapshot() as snapshot:
            records = snapshot.get(table.kind.name, absent)
        scratch = np.zeros((len(absent), table.kind.width), dtype=np.int64)
        decode(records, scratch, np.arange(len(absent)), table.sign, table.kind.name)
        place_N = np.searchsorted(absent, keys) + len(keys)
        both = np.concatenate([table.rows[np.where(rows < 0, 0, rows)], scratch])
        return both, np.where(rows < 0, place_N, np.arange(len(keys)))

    def _resume(self, snapshot: Snapshot) -> None:
        stored = snapshot.blob(PLAN)
        if stored is not None and stored != self._signature():
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
        sizes = [snapshot.count(table.kind.name) for table in self._tables]
        fits = sum(n * t.kind.width * 8 for n, t in zip(sizes, self._tables, strict=True))
        for table, size in zip(self._tables, sizes, strict=True):
            table.cold = size
            if fits > self._budget or size > table.most:
                continue
            for keys, records in snapshot.scan(table.kind.name):
                rows = table.add(keys, 0)
                decode(records, table.rows, rows, table.sign, table.kind.name)
            table.cold = 0

    def _expire_cold(self, store: StateStore, place: int) -> int:
        table, gone = self._tables[place], []
        with store.snapshot() as snapshot:
            for keys, records in snapshot.scan(table.kind.name):
                scratch = np.zeros((len(keys), table.kind.width), dtype=np.int64)
                decode(records, scratch, np.arange(len(keys)), table.sign, table.kind.name)
                past = scratch[:, 0] - 1 + table.kind.reach < self.counters.watermark
                gone.append(keys[past & (table.find(keys) < 0)])
        keys = np.concatenate(gone) if gone else np.zeros(0, dtype=np.uint64)
        if len(keys):
            table.remove_cold(keys)
        return len(keys)

    def _without_impossible(self, frame: pl.DataFrame) -> pl.DataFrame:
        bad = pl.any_horizontal(
            pl.col(name).is_null() for name in ("user_id", "timestamp", "kind", "domain")
        )
        if "received_at" in frame.columns:
            ahead = pl.col("timestamp") > pl.col("received_at") + self.plan.ahead
            bad = bad | ahead.fill_null(False)
        marked = frame.select(bad.alias("bad")).get_column("bad")
        if not marked.any():
            return frame
        self._held.append(frame.filter(marked))
        self.counters.quarantined += int(marked.sum())
        return frame.filter(~marked)

    def _without_repeats(self, frame: pl.DataFrame) -> pl.DataFrame:
        if "event_id" not in frame.columns or not frame.height:
            return frame
        ids = frame.get_column("event_id")
        named = ids.is_not_null()
        if not named.any():
            return frame
        place = np.flatnonzero(named.to_numpy())
        repeats, unchecked = self._dedup.repeated(
            ids.drop_nulls().to_numpy().astype(np.uint64),
            frame.get_column("timestamp").to_numpy()[place],
            self.counters.watermark,
        )
        self.counters.unchecked += unchecked
        if not repeats.any():
            return frame
        self.counters.repeated_ids += int(repeats.sum())
        keep = np.ones(frame.height, dtype=np.bool_)
        keep[place[repeats]] = False
        return frame.filter(pl.Series(keep))

    def _signature(self) -> bytes:
        signs = {table.kind.name: table.sign for table in self._tables}
        features = self.plan.config.model_dump(mode="json")
        return json.dumps({"features": features, "layout": signs}, sort_keys=True).encode()


def _part(prepared: Prepared, start: int, end: int) -> Prepared:
    """Events `start` to `end` of a batch."""
    keys: dict[str, tuple[np.ndarray | None, np.ndarray]] = {}
    for name, (event, key) in prepared.keys.items():
        if event is None:
            keys[name] = (None, key[start:end])
            continue
        mine = (event >= start) & (event < end)
        keys[name] = (event[mine] - start, key[mine])
    return Prepared(
        prepared.time_N[start:end],
        np.ascontiguousarray(prepared.bits_WN[:, start:end]),
        np.ascontiguousarray(prepared.columns_CN[:, start:end]),
        keys,
        prepared.packed_N[start:end],
        prepared.dwell_N[start:end],
    )


def _ipc(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()
