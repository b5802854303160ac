"""The process that keeps features up to date beside a service: stream -> engine -> store.

The service writes the stream and reads the store; this process reads the one and writes the other, so that
its work takes nothing of the interpreter that answers. It gets its orders on standard input and reports on
standard output (`pump_wire`). When the input ends, the service is gone: what was applied is committed, and
the process ends at once, so that the store is free for the next one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import closing
from io import FileIO
from queue import Empty, SimpleQueue
from threading import Thread
from typing import BinaryIO

import msgspec

from muma.app.config import AppConfig
from muma.app.features import World, read_world
from muma.app.service.clock import machine_clock
from muma.app.service.pump_wire import First, Order, Report, line
from muma.app.streaming import driven, state_folder, stream_folder
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.config import parse
from muma.errors import StoreError, StreamError
from muma.events.log_folder import open_log
from muma.features.online.pump import Pump

LOCK_S = 10.0  # the pump of a service that was killed may still hold the store
AGAIN_S = 1.0  # between two tries to go on after the store could not be written
LOOK_S = 1.0  # between two looks for what is due by time alone: expiry, copies
ENDS = ("pause", "stop", "gone")
PIPE = 1 << 16


def main(first: bytes, orders: FileIO) -> None:
    """Follow orders until they end.

    Args:
        first: a `First`.
        orders: lines of `Order`.
    """
    for name in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # Ctrl-C reaches the service, which says what to do
        signal.signal(name, signal.SIG_IGN)
    said = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not speak in between
    told = msgspec.json.decode(first, type=First)
    pumping = Pumping(parse(AppConfig, told.config, where="recipe"), orders, said)
    try:
        pumping.run()
    except BaseException as error:
        text = str(error) or type(error).__name__
        pumping.tell(Report("failed", trouble=text, kind=type(error).__name__))
        raise


class Pumping:
    """Pumps while the store is its own.

    Args:
        config: the recipe.
        orders: lines of `Order`.
        said: takes lines of `Report`.
    """

    def __init__(self, config: AppConfig, orders: FileIO, said: BinaryIO) -> None:
        self._config, self._said = config, said
        self._come: SimpleQueue[Order] = SimpleQueue()
        Thread(target=self._listen, args=(orders,), name="orders", daemon=True).start()

    def tell(self, report: Report) -> None:
        """Report; nobody may be there to hear it."""
        try:
            self._said.write(line(report))
        except BrokenPipeError:
            self._come.put(Order("gone"))

    def run(self) -> None:
        """Until an order to stop, or the end of orders."""
        world = read_world(self._config)
        os.nice(self._config.stream.nice)
        order = self._come.get()
        while order.do not in ("stop", "gone"):
            if order.do == "open":
                if open_log(self._config.folder / "log").fingerprint != world.log.fingerprint:
                    world = read_world(self._config)  # it was ingested anew while we began
                order = self._open(world, order)
            if order.do == "pause":
                self.tell(Report("paused"))
            if order.do not in ("stop", "gone"):
                order = self._come.get()

    def _open(self, world: World, order: Order) -> Order:
        """Pump until an order that ends it, which is returned; the store is closed then."""
        config = self._config
        settings = FileStreamConfig(path=str(stream_folder(config)), readonly=True, told=True)
        kept = LmdbConfig(path=str(state_folder(config)), lock_s=LOCK_S)
        with closing(FileStream(settings)) as stream, closing(LmdbStore(kept)) as store:
            stream.tell(order.acknowledged)
            return self._pump(world, stream, store)

    def _pump(self, world: World, stream: FileStream, store: LmdbStore) -> Order:
        pump: Pump | None = self._driven(world, stream, store)
        while True:
            try:
                pump = pump or self._driven(world, stream, store)
                left = self._step(pump)
                ended = self._next(stream, 0.0 if left else LOOK_S)
            except (
                StoreError,
                StreamError,
            ) as error:  # a full disk, say: go on from what was committed
                self.tell(Report("open", trouble=str(error), kind=type(error).__name__))
                if pump is not None:
                    pump.abandon()
                pump, ended = None, self._rest(stream)
            if ended is not None:
                return self._end(pump, ended)

    def _driven(self, world: World, stream: FileStream, store: LmdbStore) -> Pump:
        def retain() -> None:
            durable = store.durable_offsets()
            self.tell(Report("open", applied=_plain(engine.offsets), durable=durable))

        engine, pump = driven(
            self._config, world, stream, store, clock=machine_clock, retain=retain
        )
        return pump

    def _step(self, pump: Pump) -> int:
        """A step and its report; returns how many events wait."""
        pulse = pump.step()
        if not pulse.lag_events:
            pump.settle()
        settled = not pulse.lag_events
        self.tell(Report("open", pulse.read, _plain(pump.engine.offsets), settled))
        return pulse.lag_events

    def _next(self, stream: FileStream, wait_s: float) -> Order | None:
        """Take what orders have come, and wait for one if there is none; returns one that ends the work."""
        try:
            order = self._come.get(timeout=wait_s) if wait_s > 0 else self._come.get_nowait()
        except Empty:
            return None
        if order.do in ENDS:
            return order
        stream.tell(order.acknowledged, anew=order.do == "forget")
        return None

    def _rest(self, stream: FileStream) -> Order | None:
        """Do nothing for a while, whatever comes, but for an order that ends the work."""
        until = time.monotonic() + AGAIN_S
        while (left := until - time.monotonic()) > 0:
            if (ended := self._next(stream, left)) is not None:
                return ended
        return None

    def _end(self, pump: Pump | None, ended: Order) -> Order:
        """Commit what was applied."""
        if pump is None:
            return ended
        if (
            ended.do == "gone"
        ):  # a copy under way would take its time: the store is taken over as after a kill
            pump.settle()
            os._exit(0)
        try:
            pump.step()
            pump.close()
        except (StoreError, StreamError) as error:
            self.tell(Report("open", trouble=str(error), kind=type(error).__name__))
            pump.abandon()
        return ended

    def _listen(self, orders: FileIO) -> None:
        begun = b""
        while piece := orders.read(PIPE):
            *whole, begun = (begun + piece).split(b"\n")
            for order in whole:
                self._come.put(msgspec.json.decode(order, type=Order))
        self._come.put(Order("gone"))


def _plain(offsets: Mapping[int, int]) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in offsets.items()}
