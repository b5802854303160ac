"""The service's hold on its answering processes: hands out requests, tells changes, starts them again.

One request at a time goes to each process, and only to one that has been told every change: while a change
is on its way, and whenever one came while an answer was being made, the answer is made at the door, by the
newest rules. So is one that a process cannot give (it was killed, or is just beginning): no request fails.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Pipe
from typing import Any

from muma import errors
from muma.app.config import AppConfig
from muma.app.service.answer_wire import Change, Failed, Wish
from muma.app.service.pump_process import ONE_THREAD
from muma.errors import MumaError
from muma.serving.engine import Versions
from muma.serving.recommending import Ask, Evidence

LOG = logging.getLogger(__name__)
PATIENCE_S = 30.0  # for an answer, or for a change but the first
BEGIN_S = 300.0  # for the first change: the process imports and reads models
WARM_S = 60.0  # for the second one: it opens the state and makes some answers
AGAIN_S, LONGEST_S = 1.0, 30.0  # before a process that ended is started again; doubles each time
BOOT = """
import sys
from multiprocessing.connection import Connection
link = Connection(int(sys.argv[1]))
sys.path[:] = link.recv()
from muma.app.service.answering import main
main(link)
"""
GONE = (EOFError, OSError)  # also of a process that ends within a word, or does not answer in time


class Answerers:
    """Processes that answer.

    Args:
        config: the recipe.
        count: how many; they begin to load at once.
    """

    def __init__(self, config: AppConfig, count: int) -> None:
        self._config = config
        self._everything: Callable[[], Change] = Change
        self._live: set[_Process] = set()
        self._free: list[_Process] = []
        self._changes = 0  # that there ever were to tell
        self._told = 0  # of them, those told or being told; counted under `_telling`
        self._change = threading.Condition()
        self._telling = threading.Lock()
        self._stop = threading.Event()
        self._slots = [_Process(config) for _ in range(count)]
        self._threads: list[threading.Thread] = []

    def start(self, everything: Callable[[], Change]) -> None:
        """Let them answer; returns when each has been told everything, or could not be.

        Args:
            everything: all that there is to tell, at any time.
        """
        self._everything = everything
        told = threading.Semaphore(0)
        for slot in range(len(self._slots)):
            thread = threading.Thread(
                target=self._follow, args=(slot, told.release), name="muma-answerer", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        for _ in self._slots:
            told.acquire()

    def pids(self) -> list[int]:
        """Of the processes that answer just now."""
        with self._change:
            return [process.pid for process in self._live]

    def answer(self, ask: Ask, index: int) -> Evidence | None:
        """An answer of whoever is free; None if it must be made here.

        Args:
            ask: with the sources of data that may be read.
            index: the user's dense index, -1 for none.

        Raises:
            MumaError: as the engine's.
        """
        process = self._take(lambda one: one.told == self._changes)
        if process is None:
            return None
        told = process.told
        said = self._asked(process, Wish(ask, index))
        with self._change:
            if told != self._changes:  # made by what does not hold any more
                return None
        if isinstance(said, Failed):
            raise _error(said)
        return said

    def tell(self, change: Change) -> None:
        """Tell all of them, each when its answer is done; one that cannot follow is begun anew."""
        with self._change:
            self._changes += 1  # from now on nobody who was not told is asked
            self._change.notify_all()
        with self._telling:
            self._told += 1
            told: set[_Process] = set()
            try:
                while (process := self._take(lambda one: one not in told)) is not None:
                    told.add(process)
                    self._asked(process, change)
            finally:
                for process in self._behind():
                    self._lose(process)

    def changed(self, before: Versions, after: Versions) -> None:
        """Tell what is other in the versions that answer."""
        facts = items = None
        if after.facts is not before.facts:
            stamp, row_n = after.facts.changed or (None, ())
            if stamp == before.facts.stamp:
                items = tuple(after.facts.one(int(row)) for row in row_n)
            else:
                facts = after.facts
        models = after.bundle.version if after.bundle is not before.bundle else None
        rules = after.rules.tables if after.rules is not before.rules else None
        self.tell(Change(models=models, rules=rules, facts=facts, items=items))

    def close(self) -> None:
        """End them all; safe to call twice."""
        self._stop.set()
        with self._change:
            self._change.notify_all()
        for process in self._slots:
            process.end()
        for thread in self._threads:
            thread.join()

    def _asked(self, process: _Process, said: Wish | Change) -> Any:
        """The word of a process that was taken, and is free again after it; None of one that is lost."""
        try:
            found = process.ask(said, PATIENCE_S)
        except GONE:
            self._lose(process)
            return None
        except BaseException:  # what it was asked or what it said may be on its way still
            self._lose(process)
            raise
        if isinstance(said, Change):
            if isinstance(found, Failed):
                LOG.error("an answering process is begun anew: %s", found.text)
                self._lose(process)
                return None
            process.told += 1
        with self._change:
            if process in self._live:
                self._free.append(process)
            self._change.notify_all()
        return found

    def _take(self, fits: Callable[[_Process], bool]) -> _Process | None:
        """A process that fits, as soon as one is free; None when there is none."""
        with self._change:
            while any(map(fits, self._live)) and not self._stop.is_set():
                for place, process in enumerate(self._free):
                    if fits(process):
                        return self._free.pop(place)
                self._change.wait()
        return None

    def _behind(self) -> list[_Process]:
        """Those who missed a change that the others were told."""
        with self._change:
            return [process for process in self._live if process.told < self._told]

    def _lose(self, process: _Process) -> None:
        """Hand nothing to it any more, and end it."""
        with self._change:
            self._live.discard(process)
            self._free = [one for one in self._free if one is not process]
            self._change.notify_all()
        process.end()

    def _follow(self, slot: int, told: Callable[[], object]) -> None:
        """Begin a process, see it end, begin another."""
        pause_s = AGAIN_S
        while True:
            process = self._slots[slot]
            try:
                if self._introduced(process):
                    pause_s = AGAIN_S
            finally:
                told()
            code = process.wait()
            self._lose(process)
            if not self._stop.is_set():
                LOG.error("an answering process ended with %s; another one is begun", code)
            began = False
            while not began:
                if self._stop.wait(pause_s):
                    return
                pause_s = min(2 * pause_s, LONGEST_S)
                began = self._begun(slot)

    def _begun(self, slot: int) -> bool:
        """Begin another process, if the system lets us."""
        try:
            self._slots[slot] = _Process(self._config)
        except OSError:
            LOG.exception("an answering process cannot be started")
            return False
        if self._stop.is_set():  # it may have come after the end of all
            self._slots[slot].end()
        return True

    def _introduced(self, process: _Process) -> bool:
        """Have it read models and items, then tell it what holds now; from then on it answers."""
        first = replace(self._everything(), state=None, warm=None)
        try:
            said = process.ask(first, BEGIN_S)
            if said is None:
                with self._telling:  # nothing changes between what it is told and its first answer
                    said = process.ask(self._everything(), WARM_S)
                    if said is None:
                        process.told = self._told
                        with self._change:
                            self._live.add(process)
                            self._free.append(process)
                            self._change.notify_all()
                        return True
        except GONE:
            process.end()
            return False
        LOG.error("an answering process cannot begin: %s", said.text)
        process.end()
        return False


class _Process:
    """One process, and the socket to it."""

    def __init__(self, config: AppConfig) -> None:
        self.told = 0  # changes that it knows of
        self._link, theirs = Pipe()
        env = dict.fromkeys(ONE_THREAD, "1") | os.environ
        self._process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", BOOT, str(theirs.fileno())],
            stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=env,
        )  # fmt: skip
        theirs.close()
        self._link.send(sys.path)
        self._link.send(config.model_dump(mode="json"))

    @property
    def pid(self) -> int:
        """Of it."""
        return self._process.pid

    def ask(self, said: Change | Wish, patience_s: float) -> Any:
        """Its word on this.

        Raises:
            EOFError, OSError: it is gone; TimeoutError, which is one: it does not answer.
        """
        self._link.send(said)
        if not self._link.poll(patience_s):
            raise TimeoutError
        return self._link.recv()

    def wait(self) -> int:
        """Its exit code, at the end."""
        return self._process.wait()

    def end(self) -> None:
        """Have it end: it keeps nothing that could be lost."""
        self._process.kill()
        self._process.wait()


def _error(failed: Failed) -> MumaError:
    kind = getattr(errors, failed.kind, MumaError)
    try:
        return kind(failed.text)
    except TypeError:  # one that wants more than a message
        return MumaError(failed.text)
