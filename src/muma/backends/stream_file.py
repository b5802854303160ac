"""The embedded event stream: durable files of one machine, one writer, any number of readers.

Delivery: when `append` returns, its events are on the disk (synced) and stay. A kill in the middle
of an append may leave a part of that append, which nobody was told of; a sender that repeats it can
tell by `event_id`. Readers in the writer's process see acknowledged events only. Readers in other
processes may see events shortly before they are acknowledged, since they cannot see when they are
synced; a kill of the writer loses none of those, a power loss in that moment can, and a reader that
had gone further is told so (its offset lies after the end). With `told = true` a reader in another
process sees acknowledged events only, too: those that the writer's `acknowledged()` has named to its
`tell()`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from muma.backends import stream_export, stream_folder, stream_repair
from muma.backends.growing_ids import GrowingIds
from muma.backends.growing_ids import Mark as IdsMark
from muma.backends.partition_reader import Acknowledged, OnDisk, PartitionReader, Told
from muma.backends.partition_writer import Mark, PartitionWriter, own
from muma.backends.stream_folder import IDS, META, clear_errors
from muma.backends.stream_rows import Rows, check
from muma.config import Config
from muma.errors import DataError, StreamError
from muma.events.stream import StreamBatch
from muma.events.vocabulary import ABSENT, Vocabulary

PARALLEL_BYTES = 1 << 20  # an append of fewer is written by its own thread


class FileStreamConfig(Config):
    """Where a stream lives.

    Attributes:
        path: its folder; made when it is missing, unless `readonly`.
        partitions: how many, when the stream is made; of a stream that exists, how many it must have
            (any number, when this is not set).
        segment_mib: size at which a file is full and the next begins; retention removes files.
        readonly: read a stream that another process writes.
        told: with `readonly`, read only what `tell` has said is acknowledged.
        fsync: False leaves syncing to the operating system: a power loss then loses acknowledged
            events, a kill does not.
    """

    path: str = Field(min_length=1)
    partitions: int = Field(default=4, ge=1, le=1024)
    segment_mib: int = Field(default=64, ge=1)
    readonly: bool = False
    told: bool = False
    fsync: bool = True

    @model_validator(mode="after")
    def _told_reads(self) -> FileStreamConfig:
        if self.told and not self.readonly:
            raise ValueError("told = true is for readers; set readonly = true with it")
        return self


@dataclass
class _Ticket:
    """One append on its way to the disk."""

    ends: dict[int, int]
    done: bool = False
    error: OSError | None = None


class FileStream:
    """An `EventStream` in a folder; safe for several threads.

    Concurrent appends share one sync of the disk (group commit).

    Args:
        config: where it lives.

    Raises:
        StreamError: another process is writing, the folder holds something else or another number
            of partitions, or the last segment of a partition is damaged.

    Example:
        >>> import tempfile, polars as pl
        >>> stream = FileStream(FileStreamConfig(path=tempfile.mkdtemp(), partitions=1))
        >>> frame = pl.DataFrame({"user_id": ["ann"], "kind": ["click"], "timestamp": [5]})
        >>> stream.append(frame, received_at=6)
        {0: 1}
        >>> stream.read(0, 0, limit=10).frame.item(0, "kind")
        'click'
        >>> stream.close()
    """

    def __init__(self, config: FileStreamConfig) -> None:
        self.config = config
        self._folder = Path(config.path).expanduser()
        self._closing = ExitStack()
        with clear_errors(self._folder), ExitStack() as undo:
            undo.callback(self._closing.close)
            if config.readonly:
                stream_folder.read_meta(self._folder)
            else:
                self._lock_file = self._enter(stream_folder.take_lock(self._folder))
                if not (self._folder / META).exists():
                    stream_folder.make(self._folder, partitions=config.partitions)
            self._open()
            undo.pop_all()
        self._closed = False
        self._broken: OSError | None = None
        self._writing = threading.Lock()  # of everything in memory that an append changes
        self._committing = threading.Lock()  # of the disk's part; taken before `_writing`
        self._waiting: list[_Ticket] = []

    @classmethod
    def create(
        cls,
        config: FileStreamConfig,
        *,
        user_ids: Vocabulary | None = None,
        item_ids: Vocabulary | None = None,
    ) -> FileStream:
        """Make a new stream whose ids go on from those of a log: they keep their indices.

        Raises:
            StreamError: there is a stream already, or the folder holds something else.
        """
        folder = Path(config.path).expanduser()
        with clear_errors(folder), stream_folder.take_lock(folder):
            if (folder / META).exists():
                raise StreamError(f"{folder} holds a stream already; open it, or name another")
            stream_folder.make(
                folder, partitions=config.partitions, user_ids=user_ids, item_ids=item_ids
            )
        return cls(config)

    @classmethod
    def repair(cls, path: str | Path) -> list[stream_repair.SetAside]:
        """Set damaged bytes at the end of partitions aside, so that the stream can be written.

        A partition then ends where the damage began; readers that had gone further must be set
        back to there. Call it while the stream is closed.

        Returns:
            What was set aside, at most one a partition; empty when nothing was damaged.
        """
        return stream_repair.repair(Path(path).expanduser())

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return len(self._readers)

    @property
    def user_ids(self) -> Vocabulary:
        """Raw user id <-> dense index, of all users that have acknowledged events."""
        self._check_open()
        return self._ids["user_id"].vocabulary

    @property
    def item_ids(self) -> Vocabulary:
        """Raw item id <-> dense index, of all items that have acknowledged events."""
        self._check_open()
        return self._ids["item_id"].vocabulary

    def append(self, frame: pl.DataFrame, *, received_at: int) -> dict[int, int]:
        """Append events durably; see `EventStream.append`.

        A column `received_at` of the frame is replaced by the argument.
        """
        if self.config.readonly:
            raise StreamError(f"{self._folder} is open for reading only; open it to write")
        if not isinstance(received_at, int) or not 0 <= received_at < 2**62:
            raise DataError(f"received_at = {received_at!r}; allowed are UTC microseconds from 0")
        rows = check(frame)
        with self._writing:
            self._check_open()
            if self._broken is not None:
                raise self._refused(self._broken)
            if not rows.height:
                return {}
            ticket = self._write(rows, received_at)
            self._waiting.append(ticket)
        with self._committing:
            if not ticket.done and ticket.error is None:
                self._commit()
        if ticket.error is not None:
            raise self._refused(ticket.error) from ticket.error
        return ticket.ends

    def read(self, partition: int, offset: int, *, limit: int) -> StreamBatch | None:
        """Read on from an offset; see `EventStream.read`.

        Raises:
            StreamError: also for an offset after the end, and a partition that does not exist.
        """
        self._check_open()
        if not 0 <= partition < len(self._readers) or offset < 0 or limit < 1:
            raise StreamError(
                f"{self._folder}: cannot read {limit} events of partition {partition} from offset "
                f"{offset}; there are partitions 0 to {self.partitions - 1}, offsets from 0, and "
                "limits from 1"
            )
        if self.config.told:
            limit = min(limit, self._told[partition].now.end - offset)
            if limit <= 0:
                return None
        with clear_errors(self._folder):
            return self._readers[partition].read(offset, limit)

    def starts(self) -> dict[int, int]:
        """First offset that is still kept, by partition."""
        self._check_open()
        return {number: reader.start() for number, reader in enumerate(self._readers)}

    def ends(self) -> dict[int, int]:
        """Offset after the last event, by partition."""
        self._check_open()
        if not self.config.readonly:
            return {number: writer.end for number, writer in enumerate(self._writers)}
        if self.config.told:
            return {number: told.now.end for number, told in enumerate(self._told)}
        with clear_errors(self._folder):
            return {number: reader.end() for number, reader in enumerate(self._readers)}

    def acknowledged(self) -> dict[int, Acknowledged]:
        """How far each partition is acknowledged, for `tell` of a reader in another process."""
        self._check_open()
        marks = enumerate(writer.durable for writer in self._writers)
        return {number: Acknowledged(mark.last, mark.size, mark.end) for number, mark in marks}

    def tell(self, acknowledged: Mapping[int, Acknowledged], *, anew: bool = False) -> None:
        """Say what may be read (`told = true`).

        Args:
            acknowledged: by partition; of the writer.
            anew: what was read before has changed, by a `forget`.
        """
        for number, now in acknowledged.items():
            self._told[number].now = now
            if anew:
                self._readers[number].forget()

    def drop_before(self, offsets: Mapping[int, int]) -> int:
        """Remove whole segment files below `offsets`; the last of a partition always stays."""
        if self.config.readonly:
            raise StreamError(f"{self._folder} is open for reading only; open it to write")
        if unknown := offsets.keys() - set(range(self.partitions)):
            raise StreamError(f"{self._folder}: there is no partition {min(unknown)}")
        dropped = 0
        with self._writing, clear_errors(self._folder):
            self._check_open()
            for number, offset in offsets.items():
                dropped += self._writers[number].drop_before(offset)
                self._readers[number].forget()
        return dropped

    def forget(self, index: int, *, kinds: Collection[str] | None = None) -> int:
        """Blank a user's events and id; see `EventStream.forget`. Appends wait until it is done.

        Readers in other processes see it at their next read of a block, or of the vocabulary.
        """
        if self.config.readonly:
            raise StreamError(f"{self._folder} is open for reading only; open it to write")
        with self._committing, self._without_drafts(), clear_errors(self._folder):
            self._check_open()
            ids = self._ids["user_id"]
            if not 0 <= index < len(ids.vocabulary):
                raise StreamError(
                    f"{self._folder}: no user has the index {index}; there are {len(ids.vocabulary)}"
                )
            number = index % len(self._writers)
            try:
                blanked = self._writers[number].blank(index, kinds=kinds)
                if kinds is None:
                    ids.forget(index)
            finally:
                self._readers[number].forget()
            return blanked

    def export(self, folder: str | Path, *, since: Mapping[int, int] | None = None) -> list[Path]:
        """Write Parquet files with raw ids; see `stream_export`.

        They are read again by `Files` with `files = ["<folder>/events-*.parquet"]` and
        `time_unit = "us"`, and the fixations as its gaze table from `gaze-*.parquet`.
        """
        target = Path(folder).expanduser()
        with clear_errors(target):
            return stream_export.export(self, target, since=since or {})

    def close(self) -> None:
        """Release files and the lock; safe to call twice."""
        with self._committing, self._writing:
            self._closed = True
            self._closing.close()

    def _enter(self, stream: FileIO) -> FileIO:
        self._closing.callback(stream.close)
        return stream

    def _open(self) -> None:
        config = self.config
        found = stream_folder.read_meta(self._folder)
        if found != config.partitions and "partitions" in config.model_fields_set:
            raise StreamError(
                f"{self._folder} has {found} partitions, which are fixed when a stream is made; "
                f"got partitions = {config.partitions}. Set partitions = {found}, or make a new "
                "stream and append to it what `export` wrote"
            )
        self._ids: dict[str, GrowingIds] = {}
        for column, name in IDS.items():
            ids = GrowingIds(self._folder / name, column=column, writable=not config.readonly)
            self._closing.callback(ids.close)
            self._ids[column] = ids
        self._writers: list[PartitionWriter] = []
        self._told: list[Told] = []
        self._readers: list[PartitionReader] = []
        for number in range(found):
            folder = self._folder / f"p{number}"
            visible = OnDisk(folder)
            if config.told:
                visible = Told(folder)
                self._told.append(visible)
            elif not config.readonly:
                visible = PartitionWriter(folder, number, segment_bytes=config.segment_mib << 20)
                self._closing.callback(visible.close)
                self._writers.append(visible)
            reader = PartitionReader(folder, number, visible)
            self._closing.callback(reader.forget)
            self._readers.append(reader)
        self._pool = ThreadPoolExecutor(max_workers=min(8, found), thread_name_prefix="stream")
        self._closing.callback(self._pool.shutdown)

    @contextmanager
    def _without_drafts(self) -> Iterator[None]:
        """Hold the lock of appends while nothing waits for the disk; holds `_committing`."""
        while True:
            with self._writing:
                if not self._waiting:
                    yield
                    return
            self._commit()

    def _check_open(self) -> None:
        if self._closed:
            raise StreamError(f"{self._folder} is closed; open the stream again")

    def _refused(self, error: OSError) -> StreamError:
        advice = "make room and send them again"
        if self._broken is not None:
            advice = "and then even taking them back failed: close the stream and open it again"
        return StreamError(
            f"{self._folder}: the events were not appended ({error.strerror}); what was "
            f"acknowledged before stays; {advice}"
        )

    def _write(self, rows: Rows, received_at: int) -> _Ticket:
        """Write events as drafts; nothing is left of them when that fails."""
        found = {name: self._ids[name].find(series) for name, series in rows.ids.items()}
        ids_marks = {name: ids.mark() for name, ids in self._ids.items()}
        marks = [writer.mark() for writer in self._writers]
        try:
            for name, (index, new) in found.items():
                if new:
                    self._ids[name].grow(new)
                    late = np.flatnonzero(index == ABSENT)
                    index[late] = self._ids[name].find(rows.ids[name].gather(late))[0]
            index = {name: pl.Series(name, index) for name, (index, _) in found.items()}
            return _Ticket(self._write_partitions(rows, index, received_at))
        except BaseException as error:
            restores = [partial(w.restore, m) for w, m in zip(self._writers, marks, strict=True)]
            restores += [partial(self._ids[name].restore, m) for name, m in ids_marks.items()]
            self._take_back(restores)
            if isinstance(error, OSError):
                raise self._refused(error) from error
            raise

    def _write_partitions(
        self, rows: Rows, index: Mapping[str, pl.Series], received_at: int
    ) -> dict[int, int]:
        users = index["user_id"]
        columns = [users]
        if (items := index.get("item_id")) is not None:
            columns.append(
                items.set(items == ABSENT, None) if rows.ids["item_id"].null_count() else items
            )
        columns += rows.columns.values()
        frame = pl.DataFrame(columns)
        partition = users.to_numpy() % len(self._writers)
        order = np.argsort(partition, kind="stable")
        table = frame[order].to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
        batch = table.to_batches()[0]
        counts = np.bincount(partition, minlength=len(self._writers))
        begins = np.cumsum(counts) - counts
        touched = np.flatnonzero(counts).tolist()

        def write(number: int) -> int:
            piece = own(batch, int(begins[number]), int(counts[number]))
            return self._writers[number].write(piece, stamp=received_at)

        ends = self._each(write, touched, parallel=batch.nbytes >= PARALLEL_BYTES)
        return dict(zip(touched, ends, strict=True))

    def _commit(self) -> None:
        """Bring all that is written to the disk; holds `_committing`."""
        with self._writing:
            tickets = list(self._waiting)
            marks = [writer.mark() for writer in self._writers]
            ids_marks = {name: ids.mark() for name, ids in self._ids.items()}
        try:
            self._write_out(marks, ids_marks)
        except OSError as error:
            with self._writing:
                owners = [*self._writers, *self._ids.values()]
                self._take_back([owner.forget_drafts for owner in owners])
                for ticket in self._waiting:
                    ticket.error = error
                self._waiting.clear()
            return
        with self._writing:
            for writer, mark in zip(self._writers, marks, strict=True):
                writer.published(mark)
            for ticket in tickets:
                ticket.done = True
            del self._waiting[: len(tickets)]

    def _write_out(self, marks: list[Mark], ids_marks: dict[str, IdsMark]) -> None:
        sync = self.config.fsync
        for name, mark in ids_marks.items():  # ids first: no event on disk without its ids
            self._ids[name].write_out(mark, sync=sync)
            with self._writing:
                self._ids[name].published(mark)
        grown = [number for number, mark in enumerate(marks) if mark.drafts]

        def write_out(number: int) -> None:
            self._writers[number].write_out(marks[number], sync=sync)

        self._each(write_out, grown, parallel=sync)

    def _each(self, call: Callable[[int], Any], numbers: list[int], *, parallel: bool) -> list[Any]:
        """Call for each partition and wait for all of them, even when one fails."""
        if not parallel or len(numbers) < 2:
            return [call(number) for number in numbers]
        futures = [self._pool.submit(call, number) for number in numbers]
        wait(futures)
        return [future.result() for future in futures]

    def _take_back(self, calls: Iterable[Callable[[], None]]) -> None:
        """Undo; when the disk refuses that too, the stream takes no more events."""
        for call in calls:
            try:
                call()
            except OSError as error:
                self._broken = error
