"""One chunk of rows: merged words of every kind of key, then features.

Kinds come one after the other, and the jobs of a kind run beside each other on the processor's cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from muma.errors import ConfigError
from muma.features.activity import components
from muma.features.feature import Moment, Sequences
from muma.features.offline import lasts
from muma.features.offline.history import History, keys_of, workers
from muma.features.offline.layout import Layout, lay_out
from muma.features.offline.merge import Job, Merge
from muma.features.offline.rows import Rows
from muma.features.plan import Plan

BUDGET = 1 << 30  # bytes of a chunk
LARGEST = 2_000_000  # rows of a chunk, however little a row takes
BLOCK = 128 << 20  # bytes that the families' own arrays may take at a time
_WIDTH = 32  # words of those arrays per merged word (a sketch widens its 8 registers, and more than once)
_Laid = tuple[Layout, np.ndarray]


def size_of(chunk_rows: int | None, row: int) -> int:
    """Rows of a chunk: `chunk_rows`, or as many as fit when each takes `row` bytes.

    Raises:
        ConfigError: `chunk_rows` is less than 1.
    """
    if chunk_rows is None:
        return max(1, min(LARGEST, BUDGET // max(1, row)))
    if chunk_rows < 1:
        raise ConfigError(f"chunk_rows = {chunk_rows}; give at least 1, or None to let it fit")
    return chunk_rows


def chunks(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each chunk."""
    for start in range(0, rows, size):
        yield start, min(rows, start + size)


def padding(plan: Plan, rows: int) -> dict[str, Sequences]:
    """Sequences of nothing, by name."""
    return {spec.name: lasts.padding(rows, spec.length) for spec, _, _ in plan.sequences}


def read(
    history: History, rows: Rows, values_BF: np.ndarray, sequences: Mapping[str, Sequences]
) -> None:
    """Fill the features of a chunk of the rows that `history` was loaded for.

    Args:
        history: the events.
        rows: the chunk.
        values_BF: float64, to be written.
        sequences: padding by name, to be filled.
    """
    plan, at_B = history.plan, rows.at_B
    merged_BM = np.zeros((len(rows), plan.merged), dtype=np.int64)
    present_BK = np.zeros((len(rows), len(plan.kinds)), dtype=bool)
    keys = keys_of(rows, plan, history.catalogue)
    for place, (_, present_B) in enumerate(keys):
        present_BK[:, place] = present_B
    by_time_B = np.argsort(at_B, kind="stable")

    def laid_out(place: int) -> _Laid:
        return lay_out(history.kinds[place], history.events, *keys[place], at_B, by_time_B)

    kept = [place for place, kind in enumerate(plan.kinds) if kind.states]
    with workers() as pool:
        for place, (layout, bits_WM) in zip(kept, _ahead(pool, laid_out, kept), strict=True):
            if not len(layout.first_S):
                continue
            # jobs write one column each: in the order of the layout that is a sweep, in the order of
            # the chunk it would be a cache miss a word
            row_R = np.arange(len(layout.row_R))
            merged_RM = np.zeros((len(row_R), plan.kinds[place].merged), dtype=np.int64)
            merge = Merge(
                plan, plan.kinds[place], history.events, layout._replace(row_R=row_R), bits_WM,
                merged_RM,
            )  # fmt: skip
            jobs = [*merge.jobs(), *_last(merge, layout, place, sequences)]
            list(pool.map(_run, jobs))
            first = int(plan.offsets[place])
            merged_BM[layout.row_R, first : first + merged_RM.shape[1]] = merged_RM
        _values(history, rows, merged_BM, present_BK, values_BF, pool)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[int], _Laid], places: Iterable[int]
) -> Iterator[_Laid]:
    """Results of `work`, the next of which is made while one is used."""
    pending: Future[_Laid] | None = None
    for place in places:
        following = pool.submit(work, place)
        if pending is not None:
            yield pending.result()
        pending = following
    if pending is not None:
        yield pending.result()


def _run(job: Job) -> None:
    job()


def _last(
    merge: Merge, layout: Layout, place: int, sequences: Mapping[str, Sequences]
) -> Iterator[Job]:
    """Jobs that fill the sequences of the kind of key at `place`."""
    events = merge.events
    for spec, kind, state in merge.plan.sequences:
        if kind == place:
            member, horizon = merge.kind.states[state].member, merge.kind.states[state].horizon
            yield partial(
                lasts.fill, layout, merge.mask(member, member), events.packed_N,
                events.dwell_N, horizon, sequences[spec.name],
            )  # fmt: skip


def _values(
    history: History,
    rows: Rows,
    merged_BM: np.ndarray,
    present_BK: np.ndarray,
    values_BF: np.ndarray,
    pool: ThreadPoolExecutor,
) -> None:
    """Hand the merged words to the families, a block of rows at a time."""
    plan, catalogue = history.plan, history.catalogue

    def block(start: int, stop: int) -> None:
        part = rows.part(start, stop)
        moment = Moment(
            part.at_B,
            catalogue.of_items(catalogue.published_I, part.item_B),
            components(plan, catalogue, part.user_B, part.item_B),
        )
        values_BF[start:stop] = plan.values(merged_BM[start:stop], present_BK[start:stop], moment)

    row = 8 * (_WIDTH * plan.merged + 4 * len(plan.columns))
    blocks = chunks(len(rows), max(16, min(8192, BLOCK // max(1, row))))
    list(pool.map(lambda ends: block(*ends), blocks))
