"""The service's hold on its pump's process: starts it, says what to do, hears how it is, starts it again.

Nothing here waits for the process but who opens, pauses or closes it: at most one word that events came is
under way at a time, so that a process that is busy or stopped holds nobody up.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from muma.app.config import AppConfig
from muma.app.service.pump_wire import Do, First, Order, Report, line
from muma.backends.partition_reader import Acknowledged
from muma.errors import MumaError, StoreError, StreamError

LOG = logging.getLogger(__name__)
AGAIN_S, LONGEST_S = 1.0, 30.0  # before a process that ended is started again; doubles each time
PATIENCE_S = 20.0  # for a process that was told to let go of the store
BOOT = """
import json, sys
orders = open(0, "rb", buffering=0, closefd=False)
first = orders.readline() or sys.exit()
sys.path[:] = json.loads(first)["path"]
from muma.app.service.pumping import main
main(first, orders)
"""
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


class PumpProcess:
    """Keeps a recipe's feature state up to date, in another process.

    Args:
        config: the recipe.

    Attributes:
        acknowledged: asked how far the stream's partitions may be read.
        heard: told of each report, from a thread of its own.
        report: the last one.
        applied: partition -> offset after its last applied event, as far as is known.
        trouble: why features are not kept up to date; None when they are.
    """

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self.acknowledged: Callable[[], Mapping[int, Acknowledged]] = dict
        self.heard: Callable[[Report], object] = lambda _: None
        self.report = Report("starting")
        self.applied: Mapping[int, int] = {}
        self.trouble: str | None = None
        self._kind = ""
        self._change = threading.Condition()
        self._writing = threading.Lock()
        self._wanted: Do = "pause"
        self._asked = self._again = False
        self._stop = threading.Event()
        self._process = self._spawn()
        self._thread = threading.Thread(target=self._follow, name="muma-pump", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the process that is there now, or was last."""
        return self._process.pid

    def begin(self) -> None:
        """Have it take the store and keep it up to date."""
        with self._change:
            self.trouble = None
        self._want("open")

    def wait(self, until: Callable[[Report], bool]) -> None:
        """Wait for what was begun.

        Args:
            until: whether a report is good enough to go on.

        Raises:
            StoreError, StreamError: it cannot.
        """
        with self._change:
            self._change.wait_for(
                lambda: self.trouble is not None or (_is_open(self.report) and until(self.report))
            )
            trouble, kind = self.trouble, self._kind
        if trouble is not None:
            raise (StreamError if kind == StreamError.__name__ else StoreError)(trouble)

    def pause(self) -> None:
        """Have it let go of the store; when this returns, it has."""
        self._want("pause")
        with self._change:
            if not self._change.wait_for(self._has_let_go, PATIENCE_S):
                LOG.warning("the pump does not let go of the store; it is ended")
                self._process.kill()
                self._change.wait_for(self._has_let_go)

    def wake(self) -> None:
        """Say that events have come."""
        with self._change:
            if self._asked or self._wanted != "open":
                self._again = True
                return
            self._asked = True
        self._send("wake")

    def forget(self) -> None:
        """Say that events were blanked in the stream."""
        self._send("forget")

    def close(self) -> None:
        """Have it commit what was applied, and end; safe to call twice."""
        self._stop.set()
        if not self._thread.is_alive():
            return
        self._want("stop")
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _spawn(self) -> subprocess.Popen[bytes]:
        env = dict.fromkeys(ONE_THREAD, "1") | os.environ
        process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )
        with self._writing, self._change:
            self.report, self._process = Report("starting"), process
            self._asked = False
            self._write(line(First(sys.path, self._config.model_dump(mode="json"))))
        return process

    def _follow(self) -> None:
        pause_s = AGAIN_S
        try:
            while True:
                pause_s = AGAIN_S if self._listen() else min(2 * pause_s, LONGEST_S)
                code = self._ended()
                with self._change:
                    if not self._stop.is_set():
                        self._note(f"the process that keeps features up to date ended with {code}")
                    self._change.notify_all()
                if self._stop.wait(pause_s):
                    return
                self._spawn()
                self._send(self._wanted)
        except BaseException as error:
            with self._change:
                self._note(str(error) or type(error).__name__)
                self._change.notify_all()
            raise

    def _listen(self) -> bool:
        """Take reports until the process ends; returns whether the store was open."""
        was_open = False
        for said in self._process.stdout or ():
            report = msgspec.json.decode(said, type=Report)
            was_open |= report.settled
            try:
                self.heard(report)
            except MumaError:
                LOG.exception("a step of the pump is not taken note of")
            with self._change:
                self.report, self._asked = report, False
                self.applied = report.applied or self.applied
                again, self._again = self._again, False
                if report.trouble is not None:
                    self._note(report.trouble, report.kind)
                elif report.settled:
                    self._well()
                self._change.notify_all()
            if again:
                self.wake()
        return was_open

    def _ended(self) -> int:
        """The exit code; its pipes are released."""
        code = self._process.wait()
        with self._writing:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # what could not be flushed
                        pipe.close()
        return code

    def _note(self, trouble: str, kind: str = "") -> None:
        """The first word on a trouble tells most: what comes after it follows from it."""
        if self.trouble is None:
            LOG.error("features are not kept up to date just now: %s", trouble)
            self.trouble, self._kind = trouble, kind

    def _well(self) -> None:
        if self.trouble is not None:
            LOG.info("features are kept up to date again")
        self.trouble = None

    def _has_let_go(self) -> bool:
        return self.report.state == "paused" or self._process.poll() is not None

    def _want(self, do: Do) -> None:
        with self._change:
            self._wanted = do
        self._send(do)

    def _send(self, do: Do) -> None:
        with self._writing:  # what is said later reaches further
            self._write(line(Order(do, self.acknowledged())))

    def _write(self, data: bytes) -> None:
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            with suppress(BrokenPipeError):  # it has ended, and is started again
                pipe.write(data)
                pipe.flush()


def _is_open(report: Report) -> bool:
    return report.state == "open"
