"""The evidence log in a folder: handed over in microseconds, on disk within a bound.

`put` only queues. A thread encodes, compresses and writes what has come, and brings it to the disk
together (group commit), soon enough that the oldest of it has waited `commit_ms`. A kill of the
process loses what is still queued; what it had written, the system keeps. A power cut loses what is
not on disk yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import zstandard
from pydantic import Field

from muma.config import Config
from muma.errors import StoreError
from muma.serving.evidence.frames import PLAIN, ZSTD, packed, request_hash, tenant_hash, user_hash
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.record import encode
from muma.serving.evidence.retention import drop_old
from muma.serving.evidence.series import Series
from muma.serving.evidence.store import Stats
from muma.serving.recommending import Evidence

RECORD = 8192  # bytes of evidence beside its largest array, as the queue counts
FEWEST = 4 * RECORD  # bytes that a queue must take
LOOK_S = 0.010  # between two looks at the queue while answers are given
FAILING_S = (
    5.0  # after a loss, while nothing has been written since; then it is for the next to try
)
QUIET_S = 1.0  # without any, after which the thread sleeps until it is woken


class EvidenceLogConfig(Config):
    """Where the log lies and what it promises.

    Attributes:
        path: its folder; made when it is missing.
        worker: number of this process's series of files; None takes a free one.
        commit_ms: time within which evidence should be on disk, milliseconds.
        promise_ms: time beyond which it counts as `late`.
        queue_mib: most that may wait to be written; what comes beyond is lost, and counted.
        segment_mib: size at which a file is full and the next begins; retention removes files.
        keep_days: age at which files are removed; None keeps them.
        keep_gib: size of all files beyond which the oldest are removed; None keeps them.
        codec: `"zstd"`, or `"plain"` for six times the room and less work.
        level: of the compression.
        sync: False leaves the disk to the system: a power cut loses what was called durable, a kill
            does not.
    """

    path: str = Field(min_length=1)
    worker: int | None = Field(default=None, ge=0, lt=1000)
    commit_ms: float = Field(default=20.0, ge=0)
    promise_ms: float = Field(default=50.0, gt=0)
    queue_mib: float = Field(default=64.0, gt=0)
    segment_mib: float = Field(default=64.0, gt=0)
    keep_days: float | None = Field(default=90.0, gt=0)
    keep_gib: float | None = Field(default=None, gt=0)
    codec: Literal["zstd", "plain"] = "zstd"
    level: int = Field(default=1, ge=-7, le=19)
    sync: bool = True


class EvidenceLog:
    """An `EvidenceStore` in a folder; several processes may write it at once.

    Args:
        config: where it lies.
        clock: UTC microseconds, for retention; None removes nothing by age.

    Raises:
        StoreError: the folder cannot be written, or holds something else.

    Example:
        >>> import tempfile
        >>> from muma.testing.evidence_suite import small
        >>> log = EvidenceLog(EvidenceLogConfig(path=tempfile.mkdtemp()))
        >>> log.put(small("r-1"))
        True
        >>> log.flush()
        >>> log.get("r-1").support_K, log.stats().durable
        (array([4, 3]), 1)
        >>> log.close()
    """

    def __init__(
        self, config: EvidenceLogConfig, *, clock: Callable[[], int] | None = None
    ) -> None:
        self.config = config
        self.folder = Path(config.path).expanduser()
        self._clock = clock
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._series = Series(
                self.folder, worker=config.worker, segment_bytes=int(config.segment_mib * 2**20)
            )
        except OSError as error:
            raise StoreError(
                f"{self.folder} cannot be written ({error.strerror}); make room or mend the "
                "permissions, or name another folder"
            ) from error
        self._reader = EvidenceReader(self.folder)
        self._compressor = zstandard.ZstdCompressor(level=config.level)
        self._most = max(int(config.queue_mib * 2**20), FEWEST)
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._settled = threading.Condition(self._lock)
        self._queue: list[tuple[Evidence, int]] = []
        self._writing: list[tuple[Evidence, int]] = []  # taken from the queue, not in a file yet
        self._queued = 0  # bytes
        self._hurried = self._closed = self._asleep = False
        self._busy_at = time.monotonic_ns()
        self._put = self._durable = self._lost = self._late = self._bytes = 0
        self._slowest_us = 0
        self._failing: str | None = None
        self._failed_at = time.monotonic()
        self._unsynced: list[int] = []  # when each was put, nanoseconds
        self._sync_ns = 0  # what the disk has lately taken
        self._thread = threading.Thread(target=self._run, name="muma-evidence", daemon=True)
        self._thread.start()

    def put(self, evidence: Evidence) -> bool:
        """Take evidence over; see `EvidenceStore.put`."""
        size = evidence.value_NF.nbytes + RECORD
        now = time.monotonic_ns()
        with self._lock:
            self._put += 1
            if self._closed or self._queued + size > self._most:
                self._lost += 1
                self._fail("closed" if self._closed else "too much is waiting to be written")
                return False
            self._queued += size
            self._queue.append((evidence, now))
            asleep, self._asleep = self._asleep, False
        if asleep:  # rare: waking a thread takes longer than all the rest
            self._awake.set()
        return True

    def get(self, request_id: str, *, tenant: str | None = None) -> Evidence | None:
        """The evidence of a request; see `EvidenceStore.get`."""
        with self._lock:
            waiting = [evidence for evidence, _ in (*self._writing, *self._queue)]
        for evidence in reversed(waiting):
            if evidence.ask.request_id == request_id and tenant in (None, evidence.ask.tenant):
                return evidence
        return self._reader.get(request_id, tenant=tenant)

    def iterate(
        self, since: int | None = None, until: int | None = None, *, tenant: str | None = None
    ) -> Iterator[Evidence]:
        """All evidence that is written; see `EvidenceStore.iterate`."""
        return self._reader.iterate(since, until, tenant=tenant)

    def flush(self) -> None:
        """Wait until everything put before is durable or lost."""
        with self._settled:
            goal = self._put
            while self._durable + self._lost < goal and self._thread.is_alive():
                self._hurried = True
                self._awake.set()
                self._settled.wait(0.1)

    def stats(self) -> Stats:
        """How it is doing; cheap."""
        with self._lock:
            waiting = self._put - self._durable - self._lost
            return Stats(
                self._put, self._durable, self._lost, waiting, self._late,
                self._slowest_us, self._bytes, self._trouble(),
            )  # fmt: skip

    def retain(self) -> int:
        """Remove files beyond their age or the size of all; returns how many.

        Raises:
            OSError: the disk refuses.
        """
        config = self.config
        oldest = None
        if config.keep_days is not None and self._clock is not None:
            oldest = self._clock() - int(config.keep_days * 86_400e6)
        most = None if config.keep_gib is None else int(config.keep_gib * 2**30)
        return drop_old(self.folder, oldest=oldest, most_bytes=most)

    def close(self) -> None:
        """Write what waits, bring it to the disk and release the files; safe to call twice."""
        with self._lock:
            self._closed = True
        self._awake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._turn():
                pass
        finally:
            self._series.close()

    def _turn(self) -> bool:
        """Write what has come, and bring it to the disk if it is time; True at the end."""
        self._awake.wait(self._rest())
        with self._lock:
            self._awake.clear()
            self._asleep = False
            batch, self._queue = self._queue, []
            self._writing, self._queued = batch, 0
            hurried, self._hurried = self._hurried, False
            last = self._closed  # nothing is queued after it
        if batch:
            self._busy_at = time.monotonic_ns()
            self._write(batch)
            with self._lock:
                self._writing = []
        if hurried or last or self._patience() == 0:
            self._sync()
        return last

    def _rest(self) -> float | None:
        """Seconds until the next look at the queue; None to be woken, when nothing comes."""
        patience = self._patience()
        if patience is not None:
            return min(patience, LOOK_S)
        with self._lock:
            quiet = time.monotonic_ns() - self._busy_at > QUIET_S * 1e9
            self._asleep = quiet and not self._queue and not self._closed
            return None if self._asleep else LOOK_S

    def _patience(self) -> float | None:
        """Seconds until the oldest written evidence must go to the disk; None without any."""
        if not self._unsynced:
            return None
        due = self._unsynced[0] + int(self.config.commit_ms * 1e6) - self._sync_ns
        return max(due - time.monotonic_ns(), 0) / 1e9

    def _write(self, batch: list[tuple[Evidence, int]]) -> None:
        framed: list[bytes] = []
        since: list[int] = []
        for evidence, put in batch:
            try:
                framed.append(self._frame(evidence))
                since.append(put)
            except (StoreError, AttributeError) as error:  # not evidence: the caller's fault
                self._lose(1, str(error))
        if not framed:
            return
        try:
            if self._series.append(framed):
                self._note_durable()
                self._tidy()
        except OSError as error:
            self._lose(len(framed), error.strerror or str(error))
            return
        self._unsynced += since
        with self._lock:
            self._bytes += sum(map(len, framed))

    def _frame(self, evidence: Evidence) -> bytes:
        record = encode(evidence)
        codec = PLAIN
        if self.config.codec == "zstd":
            record, codec = self._compressor.compress(record), ZSTD
        ask = evidence.ask
        return packed(
            record,
            codec=codec,
            tenant=tenant_hash(ask.tenant),
            time=ask.time,
            request=request_hash(ask.request_id),
            user=user_hash(ask.tenant, ask.user),
        )

    def _sync(self) -> None:
        if not self._unsynced:
            return
        began = time.monotonic_ns()
        try:
            if self.config.sync:
                self._series.sync()
        except OSError as error:
            lost, self._unsynced = len(self._unsynced), []
            self._lose(lost, error.strerror or str(error))
            return
        took = time.monotonic_ns() - began
        self._sync_ns = max(took, (3 * self._sync_ns + took) // 4)
        self._note_durable()

    def _note_durable(self) -> None:
        done, self._unsynced = self._unsynced, []
        now = time.monotonic_ns()
        promise = int(self.config.promise_ms * 1e6)
        with self._settled:
            self._durable += len(done)
            self._late += sum(now - put > promise for put in done)
            if done:
                self._slowest_us = max(self._slowest_us, (now - done[0]) // 1000)
                self._failing = None
            self._settled.notify_all()

    def _fail(self, why: str) -> None:
        self._failing, self._failed_at = why, time.monotonic()

    def _trouble(self) -> str | None:
        """Why writing fails; who is not asked for want of readiness could never show that it works."""
        recent = self._closed or time.monotonic() - self._failed_at < FAILING_S
        return self._failing if recent else None

    def _lose(self, count: int, why: str) -> None:
        with self._settled:
            self._lost += count
            self._fail(why)
            self._settled.notify_all()

    def _tidy(self) -> None:
        try:
            self.retain()
        except OSError as error:
            with self._lock:
                self._fail(error.strerror or str(error))
