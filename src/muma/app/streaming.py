"""The online side of a recipe: its event stream, its state, and the engine between them.

RUN/stream    the durable event log, partitioned by user; it begins with the recipe's own log
RUN/stream-history.json    which log that was, and whether the stream holds all of it
RUN/state     features, windows, sequences and offsets, committed together
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from muma.app.config import AppConfig
from muma.app.features import World, open_world
from muma.artifact import flush
from muma.backends.state_lmdb import LmdbConfig, LmdbStore
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.errors import ArtifactError, StreamError
from muma.events.event import EventLog
from muma.events.stream import EventStream
from muma.events.vocabulary import forgotten
from muma.features.activity import as_stream
from muma.features.online.engine import Engine, EngineConfig
from muma.features.online.pump import Pulse, Pump, PumpConfig
from muma.features.online.reader import FeatureReader
from muma.progress import task

PIECE = 20_000  # events of one append when a log is fed


@dataclass
class Streaming:
    """An open online side: one process writes, this one."""

    config: AppConfig
    world: World
    stream: FileStream
    store: LmdbStore
    engine: Engine
    pump: Pump

    def renew(self, *, clock: Callable[[], int]) -> None:
        """Another engine and pump in place of ones that could not write; they stand where the store stands.

        Raises:
            StoreError, StreamError: the store or the stream cannot be read.
        """
        self.pump.abandon()
        self.engine, self.pump = driven(
            self.config, self.world, self.stream, self.store, clock=clock,
            retain=_retention(self.stream, self.store),
        )  # fmt: skip


def stream_folder(config: AppConfig) -> Path:
    """Where the recipe's event stream lives."""
    return config.folder / "stream"


def state_folder(config: AppConfig) -> Path:
    """Where the recipe's feature state lives."""
    return config.folder / "state"


@contextmanager
def open_streaming(config: AppConfig, *, clock: Callable[[], int]) -> Iterator[Streaming]:
    """Open stream, state and engine for writing; the engine stands where the state stands.

    Args:
        config: the recipe.
        clock: UTC microseconds.

    Raises:
        StreamError, StoreError: another process writes here, or something is damaged.
    """
    world = open_world(config, now_us=clock())
    stream = open_events(config, world.log)
    store: LmdbStore | None = None
    try:
        store = LmdbStore(LmdbConfig(path=str(state_folder(config))))
        retain = _retention(stream, store)
        engine, pump = driven(config, world, stream, store, clock=clock, retain=retain)
        yield Streaming(config, world, stream, store, engine, pump)
    finally:
        if store is not None:
            store.close()
        stream.close()


def open_events(config: AppConfig, log: EventLog) -> FileStream:
    """Open the recipe's event stream for writing; a new one goes on with the ids of the log.

    Raises:
        StreamError: another process writes it, it is damaged, or it began with another log.
    """
    stream = _open_stream(config, log)
    try:
        _same_log(config, stream, log)
    except BaseException:
        stream.close()
        raise
    return stream


def driven(
    config: AppConfig,
    world: World,
    stream: EventStream,
    store: LmdbStore,
    *,
    clock: Callable[[], int],
    retain: Callable[[], object],
) -> tuple[Engine, Pump]:
    """An engine that stands where the store stands, and the pump that drives it over the stream.

    Args:
        config: the recipe.
        world: what the engine needs of it.
        stream: read alone.
        store: written.
        clock: UTC microseconds.
        retain: lets go of what the stream need not keep; called if the recipe does not keep all.

    Raises:
        StoreError: the store cannot be read, or holds the state of other features.
    """
    section = config.stream
    engine = Engine(
        world.plan,
        catalogue=world.catalogue,
        followers=world.followers,
        store=store,
        config=EngineConfig(memory_mib=section.memory_mib, dedup_horizon=section.dedup_horizon),
    )
    pump = Pump(
        stream, engine, store,
        config=PumpConfig(most_at_once=section.most_at_once, checkpoint_s=section.checkpoint_s),
        clock=clock, checkpoint=store.checkpoint,
        retain=retain if section.keep == "needed" else None,
    )  # fmt: skip
    return engine, pump


def open_reader(config: AppConfig, world: World) -> tuple[FeatureReader, LmdbStore]:
    """The reading side, for any process beside the one that writes.

    Raises:
        ArtifactError: the recipe was never streamed.
    """
    if not state_folder(config).is_dir():
        raise ArtifactError(f"{state_folder(config)} holds no state; run 'muma stream' first")
    store = LmdbStore(LmdbConfig(path=str(state_folder(config)), readonly=True))
    return FeatureReader(world.plan, store, world.catalogue), store


def replay(
    opened: Streaming,
    *,
    stop: Callable[[], bool] = lambda: False,
    each: Callable[[Pulse], None] = lambda _: None,
) -> Pulse:
    """Feed the recipe's own log to the stream and run the engine over it to the end.

    What an earlier run has fed or applied is not done again.
    """
    begin_pumped(opened, stop=stop, each=each)
    return opened.pump.run(stop=stop, each=each)


def begin_pumped(
    opened: Streaming,
    *,
    stop: Callable[[], bool] = lambda: False,
    each: Callable[[Pulse], None] = lambda _: None,
) -> bool:
    """`begin`, with a step of the engine after each piece, which `each` is told of."""
    return begin(
        opened.config, opened.stream, opened.world.log,
        stop=stop, each=lambda: each(opened.pump.step()),
    )  # fmt: skip


def begin(
    config: AppConfig,
    stream: FileStream,
    log: EventLog,
    *,
    until: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    each: Callable[[], object] = lambda: None,
) -> bool:
    """Make the recipe's own log the beginning of the stream; False when `stop` came first.

    Until it is there whole, nothing else may be appended: what a killed run has fed is told by how
    much each partition holds.

    Args:
        config: the recipe.
        stream: its stream, open for writing.
        log: its log.
        until: the log's events from this moment on (microseconds) are left out; None takes all. It counts
            when the stream begins, and not later.
        stop: asked between pieces.
        each: called before the first piece and after each.

    Raises:
        StreamError: the stream began with another part of the log than `until` asks for.
    """
    known = _history(config)
    if known.get("whole"):
        if until is not None and known.get("until") != until:
            raise StreamError(
                f"{stream_folder(config)} began with another part of the log; set serving.begin "
                "as it was then, or remove the run's stream, stream-history.json and state to begin anew"
            )
        return True
    each()
    for frame in _unfed(stream, log.between(None, until)):
        if stop():
            return False
        stream.append(frame, received_at=int(frame.item(-1, "timestamp")))
        each()
    _write_history(config, log, whole=True, until=until)
    return True


def _open_stream(config: AppConfig, log: EventLog) -> FileStream:
    """The recipe's stream; a new one goes on with the indices of the log's users and items."""
    folder = stream_folder(config)
    settings = FileStreamConfig(path=str(folder), partitions=config.stream.partitions)
    if folder.is_dir() and any(folder.iterdir()):
        return FileStream(settings)
    return FileStream.create(settings, user_ids=log.user_ids, item_ids=log.item_ids)


def _retention(stream: FileStream, store: LmdbStore) -> Callable[[], object]:
    return lambda: stream.drop_before(store.durable_offsets())


def _history_file(config: AppConfig) -> Path:
    return config.folder / "stream-history.json"


def _history(config: AppConfig) -> dict[str, Any]:
    file = _history_file(config)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _write_history(
    config: AppConfig, log: EventLog, *, whole: bool, until: int | None = None
) -> None:
    file = _history_file(config)
    draft = file.with_suffix(".draft")
    draft.write_text(
        json.dumps({"log": log.fingerprint, "whole": whole, "until": until}), encoding="utf-8"
    )
    flush(draft)
    draft.replace(file)
    flush(file.parent)


def _same_log(config: AppConfig, stream: FileStream, log: EventLog) -> None:
    """Refuse a log that is not the one the stream began with: its ids would mean others."""
    known = _history(config)
    if not known:
        _write_history(config, log, whole=False)
    elif known["log"] != log.fingerprint:
        raise StreamError(
            f"the log in {config.folder / 'log'} is not the one that {stream_folder(config)} began "
            "with; send new events with --feed, or remove the run's stream, stream-history.json and "
            "state to begin anew"
        )
    for mine, theirs in ((stream.user_ids, log.user_ids), (stream.item_ids, log.item_ids)):
        if not _same_ids(mine.ids.head(len(theirs)), theirs.ids):
            raise StreamError(
                "the log was ingested anew and numbers its users or items otherwise than the "
                "stream; ingest it with --ids-from, or remove the run's stream and state"
            )


def _same_ids(mine: pl.Series, theirs: pl.Series) -> bool:
    """Whether two vocabularies agree, but for ids that one of them has forgotten."""
    if mine.dtype != theirs.dtype or len(mine) != len(theirs):
        return False
    return bool(((mine == theirs) | forgotten(mine) | forgotten(theirs)).all())


def _unfed(stream: FileStream, log: EventLog) -> Iterator[pl.DataFrame]:
    """Pieces of the log with raw ids, without what each partition holds already, in order."""
    fed = stream.ends()
    have = dict.fromkeys(range(stream.partitions), 0)
    events = as_stream(log)
    total = events.select(pl.len()).collect().item()
    users, items = log.user_ids.ids, log.item_ids.ids
    with task("feeding the log", total=total) as bar:
        for piece in events.collect_batches(chunk_size=PIECE, maintain_order=True):
            bar.advance(piece.height)
            partition = (piece.get_column("user_id").cast(pl.Int64) % stream.partitions).to_numpy()
            wanted = pl.Series([True]).new_from_index(0, piece.height).to_numpy().copy()
            for p, already in fed.items():
                mine = (partition == p).nonzero()[0]
                skip = min(max(already - have[p], 0), len(mine))
                wanted[mine[:skip]] = False
                have[p] += len(mine)
            left = piece.filter(pl.Series(wanted))
            if left.height:
                yield left.with_columns(
                    users.gather(left.get_column("user_id")).alias("user_id"),
                    items.gather(left.get_column("item_id")).alias("item_id"),
                )
