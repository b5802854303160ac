"""What every source of events must do; subclass, give `make()`, and run with pytest.

class TestMine(SourceSuite):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: Mine(MineConfig(path=str(tmp_path)))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from muma.events.event import TABLES, Batch, Source
from muma.events.schema import REQUIRED
from muma.events.validate import validate

MOST_RESUMES = 6  # positions tried; all of them when the source has no more


class SourceSuite:
    """Contract tests of a `Source`; `make` builds a fresh one over the same files each time."""

    component: type | None = None  # the class under test, for tests that look for untested sources

    @pytest.fixture
    def make(self) -> Callable[[], Source]:
        """Build the source."""
        raise NotImplementedError("a SourceSuite needs the fixture 'make'")

    def test_two_readings_are_equal(self, make: Callable[[], Source]) -> None:
        source = make()
        first = list(source.batches())
        assert first, "a source under test must have something to read"
        for again in (source.batches(), make().batches()):
            _same(iter(first), again)

    def test_it_resumes_after_every_position(self, make: Callable[[], Source]) -> None:
        whole = list(make().batches())
        step = max(1, len(whole) // MOST_RESUMES)
        for at in sorted({*range(0, len(whole), step), len(whole) - 1}):
            _same(iter(whole[at + 1 :]), make().batches(whole[at].position))

    def test_positions_rise(self, make: Callable[[], Source]) -> None:
        places = [(b.position.file, b.position.row) for b in make().batches()]
        assert places == sorted(set(places))

    def test_its_files_exist_and_are_the_ones_it_names(self, make: Callable[[], Source]) -> None:
        source = make()
        files = source.files()
        assert files
        assert all(Path(name).exists() for name in files)
        assert {batch.file for batch in source.batches()} <= set(files)

    def test_rows_are_numbered_from_one(self, make: Callable[[], Source]) -> None:
        lowest: dict[tuple[str, str], int] = {}
        for batch in make().batches():
            rows = [*batch.frame.get_column("row"), *(r.row for r in batch.unreadable)]
            key = (batch.table, batch.file)
            lowest[key] = min([lowest.get(key, 1 << 62), *rows])
        assert min(lowest.values()) == 1
        assert all(row >= 1 for row in lowest.values())

    def test_its_columns_are_canonical(self, make: Callable[[], Source]) -> None:
        for batch in make().batches():
            own = "ctx_" if batch.table == "events" else "attr_"
            columns = set(batch.frame.columns) - {"row"}
            assert {c for c in columns - set(TABLES[batch.table]) if not c.startswith(own)} == set()
            if not batch.frame.is_empty():
                assert set(REQUIRED[batch.table]) <= columns

    def test_most_rows_are_valid_and_none_is_lost(self, make: Callable[[], Source]) -> None:
        read = kept = 0
        for batch in make().batches():
            if batch.frame.is_empty():
                continue
            checked = validate(batch)
            assert checked.kept.height + checked.refused.height == batch.frame.height
            read, kept = read + batch.frame.height, kept + checked.kept.height
        assert kept > read / 2


def _same(first: Iterator[Batch], second: Iterator[Batch]) -> None:
    for a, b in zip(first, second, strict=True):
        assert (a.table, a.file, a.position) == (b.table, b.file, b.position)
        assert a.unreadable == b.unreadable
        assert a.frame.equals(b.frame, null_equal=True)
        assert a.frame.schema == b.frame.schema
