"""What every state store must do; subclass, give `make()`, and run with pytest.

class TestMine(StoreSuite):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: MyStore(MyConfig(path=str(tmp_path)))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from muma.errors import StoreError
from muma.features.store import Changes, Records, Snapshot, StateStore, TableChange

LAST = 2**64 - 1
TABLES = ("user", "item", "global", "user x category")
NOTHING = np.zeros(0, dtype=np.uint64)


def keys(*values: int) -> np.ndarray:
    """Keys as a store takes them, uint64."""
    return np.array(values, dtype=np.uint64)


def put(
    table: str, records: Mapping[int, bytes], removed: Sequence[int] = (), **more: object
) -> Changes:
    """Changes of one table."""
    change = TableChange(
        table, keys(*records), Records.of(list(records.values())), removed=keys(*removed)
    )
    return Changes([change], **more)  # pyright: ignore[reportArgumentType]


def content(view: Snapshot, table: str) -> dict[int, bytes]:
    """All of a table, by `scan`."""
    return {
        key: records[i]
        for piece, records in view.scan(table, batch=7)
        for i, key in enumerate(piece.tolist())
    }


def got(view: Snapshot, table: str, *wanted: int) -> list[bytes]:
    """Records by `get`; empty where there is none."""
    records = view.get(table, keys(*wanted))
    assert len(records) == len(wanted)
    return [records[i] for i in range(len(records))]


@dataclass
class Model:
    """What a store should hold, in plain dicts."""

    version: int = 0
    offsets: dict[int, int] = field(default_factory=dict)
    tables: dict[str, dict[int, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def apply(self, changes: Changes) -> None:
        """Do what `commit` should."""
        self.version += 1
        self.offsets.update(changes.offsets)
        for change in changes.tables:
            table = self.tables.setdefault(change.table, {})
            for key in change.removed.tolist():
                table.pop(key, None)
            for i, key in enumerate(change.keys.tolist()):
                table[key] = change.records[i]
        for name, value in changes.blobs.items():
            if value is None:
                self.blobs.pop(name, None)
            else:
                self.blobs[name] = value

    def expect(self, view: Snapshot) -> None:
        """Compare a view with this."""
        assert view.version == self.version
        assert view.offsets() == self.offsets
        assert view.tables() == sorted(t for t, held in self.tables.items() if held)
        assert list(view.blobs("")) == sorted(self.blobs.items())
        for table, held in self.tables.items():
            assert content(view, table) == held
            assert view.count(table) == len(held)
            wanted = [*list(held)[::-1], 12345]
            assert got(view, table, *wanted) == [held.get(key, b"") for key in wanted]

    def copy(self) -> Model:
        """As it stands now."""
        tables = {table: dict(held) for table, held in self.tables.items()}
        return Model(self.version, dict(self.offsets), tables, dict(self.blobs))


class StoreSuite:
    """Contract tests of a `StateStore`; `make` opens it over the same place each time.

    `persistent` says whether a store that is closed and opened again still holds its content; for
    one in memory `make` may return the same object again.
    """

    component: type | None = None  # the class under test, for tests that look for untested stores
    persistent = True

    @pytest.fixture
    def make(self) -> Callable[[], StateStore]:
        """Open the store."""
        raise NotImplementedError("a StoreSuite needs the fixture 'make'")

    @pytest.fixture
    def store(self, make: Callable[[], StateStore]) -> Iterator[StateStore]:
        """An open store."""
        store = make()
        yield store
        store.close()

    def test_empty(self, store: StateStore) -> None:
        with store.snapshot() as view:
            Model().expect(view)
            assert got(view, "user", 1, 2) == [b"", b""]
            assert len(view.get("user", NOTHING)) == 0
            assert list(view.scan("user")) == []
            assert view.count("user") == 0
            assert view.blob("none") is None

    def test_commit_then_get(self, store: StateStore) -> None:
        assert store.commit(put("user", {9: b"nine", 7: b"seven"}, offsets={0: 5})) == 1
        with store.snapshot() as view:
            assert (view.version, view.offsets(), view.tables()) == (1, {0: 5}, ["user"])
            assert got(view, "user", 7, 9) == [b"seven", b"nine"]

    def test_get_keeps_order_repeats_and_gaps(self, store: StateStore) -> None:
        store.commit(put("user", {1: b"a", 2: b"bb", 3: b"ccc"}))
        with store.snapshot() as view:
            assert got(view, "user", 3, 8, 1, 3, 2, 8) == [b"ccc", b"", b"a", b"ccc", b"bb", b""]
            records = view.get("user", keys(3, 8, 1))
            assert records.lengths.tolist() == [3, 0, 1]
            assert records.data.dtype == np.uint8
            assert len(view.get("user", NOTHING)) == 0

    def test_a_record_is_replaced_and_removed(self, store: StateStore) -> None:
        store.commit(put("user", {1: b"a", 2: b"b", 3: b"c"}))
        store.commit(put("user", {1: b"longer than before"}, removed=[2, 55]))
        with store.snapshot() as view:
            assert content(view, "user") == {1: b"longer than before", 3: b"c"}
        store.commit(put("user", {}, removed=[1, 3]))
        with store.snapshot() as view:
            assert (view.tables(), view.count("user")) == ([], 0)

    def test_offsets_merge_and_versions_count(self, store: StateStore) -> None:
        assert store.commit(Changes(offsets={0: 5, 1: 7})) == 1
        assert store.commit(Changes(offsets={1: 9, 12: 2**40})) == 2
        assert store.commit(Changes()) == 3
        with store.snapshot() as view:
            assert view.version == 3
            assert view.offsets() == {0: 5, 1: 9, 12: 2**40}

    def test_blobs(self, store: StateStore) -> None:
        blobs = {"b/2": b"2", "a": b"", "b/10": b"10", "c": b"c" * 10_000, "b": b"b", "bä": b"x"}
        store.commit(Changes(blobs=blobs))
        with store.snapshot() as view:
            assert list(view.blobs("b/")) == [("b/10", b"10"), ("b/2", b"2")]
            assert [name for name, _ in view.blobs("")] == sorted(blobs)
            assert (view.blob("a"), view.blob("b/"), view.blob("bä")) == (b"", None, b"x")
            assert list(view.blobs("d")) == []
        store.commit(Changes(blobs={"b/2": None, "never there": None, "c": b"new"}))
        with store.snapshot() as view:
            assert (view.blob("b/2"), view.blob("c")) == (None, b"new")
            assert list(view.blobs("b/")) == [("b/10", b"10")]

    @pytest.mark.parametrize("batch", [1, 7, 1000])
    def test_scan_covers_all_exactly_once(self, store: StateStore, batch: int) -> None:
        held = {key * 37: b"%d" % key for key in range(200)}
        store.commit(put("item", held))
        with store.snapshot() as view:
            pieces = list(view.scan("item", batch=batch))
            assert all(1 <= len(piece) <= batch for piece, _ in pieces)
            assert all(piece.dtype == np.uint64 for piece, _ in pieces)
            seen = [(k, r[i]) for piece, r in pieces for i, k in enumerate(piece.tolist())]
            assert len(seen) == len(held)
            assert dict(seen) == held
            assert view.count("item") == 200

    def test_a_snapshot_stays_as_it_was_opened(self, store: StateStore) -> None:
        store.commit(put("user", {1: b"old", 2: b"gone"}, offsets={0: 1}, blobs={"x": b"old"}))
        with store.snapshot() as before:
            store.commit(
                put("user", {1: b"new", 3: b"3"}, removed=[2], offsets={0: 2}, blobs={"x": None})
            )
            store.commit(put("item", {5: b"a table that was not there"}))
            assert (before.version, before.offsets(), before.blob("x")) == (1, {0: 1}, b"old")
            assert content(before, "user") == {1: b"old", 2: b"gone"}
            assert (got(before, "item", 5), before.tables()) == ([b""], ["user"])
            with store.snapshot() as after:
                assert (after.version, after.offsets(), after.blob("x")) == (3, {0: 2}, None)
                assert content(after, "user") == {1: b"new", 3: b"3"}
                assert after.tables() == ["item", "user"]

    @pytest.mark.parametrize("table", TABLES)
    def test_extreme_keys_and_large_records(self, store: StateStore, table: str) -> None:
        held = {key: bytes([i + 1]) * 100_000 for i, key in enumerate([0, 2**32, 2**63, LAST])}
        store.commit(put(table, held))
        with store.snapshot() as view:
            assert content(view, table) == held
            assert got(view, table, LAST, 0) == [held[LAST], held[0]]

    def test_many_tables_are_apart(self, store: StateStore) -> None:
        names = [f"kind_{i}" for i in range(40)] + ["user", "user x item", "item x user"]
        changes = [TableChange(n, keys(7), Records.of([n.encode()])) for n in names]
        store.commit(Changes(changes))
        with store.snapshot() as view:
            assert view.tables() == sorted(names)
            assert [got(view, name, 7)[0].decode() for name in names] == names

    @pytest.mark.parametrize("wrong", range(11))
    def test_a_refused_commit_changes_nothing(self, store: StateStore, wrong: int) -> None:
        model = Model()
        for changes in (
            put("user", {1: b"a", 2: b"b"}, offsets={0: 1}, blobs={"x": b"x"}),
            put("item", {1: b"i"}),
        ):
            store.commit(changes)
            model.apply(changes)
        good = TableChange("item", keys(1), Records.of([b"changed"]))
        bad = _wrong_changes()[wrong]
        with pytest.raises(StoreError):
            store.commit(
                Changes([good, *bad.tables], {0: 9, **bad.offsets}, {"x": b"y", **bad.blobs})
            )
        with store.snapshot() as view:
            model.expect(view)
        assert store.commit(Changes([good])) == model.version + 1

    @pytest.mark.parametrize("seed", range(3))
    def test_it_equals_a_plain_dict(self, make: Callable[[], StateStore], seed: int) -> None:
        rng = np.random.default_rng(seed)
        store, model = make(), Model()
        for step in range(40):
            changes = _random_changes(rng)
            with store.snapshot() as before:
                was = model.copy()
                model.apply(changes)
                assert store.commit(changes) == model.version
                if step % 8 == 0:
                    was.expect(before)
            with store.snapshot() as after:
                model.expect(after)
            if self.persistent and step % 10 == 9:
                store.close()
                store = make()
        store.close()

    def test_opening_again_keeps_everything(self, make: Callable[[], StateStore]) -> None:
        if not self.persistent:
            return
        store, model = make(), Model()
        for seed in range(4):
            changes = _random_changes(np.random.default_rng(seed))
            store.commit(changes)
            model.apply(changes)
        for _ in range(2):
            store.close()
            store.close()
            store = make()
            with store.snapshot() as view:
                model.expect(view)
        store.close()

    def test_update_commits_what_it_makes_of_the_last_commit(self, store: StateStore) -> None:
        store.commit(put("user", {1: b"a"}, offsets={0: 1}, blobs={"x": b"1"}))

        def longer(view: Snapshot) -> Changes:
            assert view.version == 1
            return put("user", {1: got(view, "user", 1)[0] + b"b"}, blobs={"x": view.blob("x")})

        assert store.update(longer) == 2
        with store.snapshot() as view:
            assert (content(view, "user"), view.blob("x")) == ({1: b"ab"}, b"1")

        def fails(view: Snapshot) -> Changes:
            raise ZeroDivisionError(view.version)

        with pytest.raises(StoreError):
            store.update(lambda _: _wrong_changes()[0])
        with pytest.raises(ZeroDivisionError):
            store.update(fails)
        with store.snapshot() as view:
            assert (view.version, content(view, "user")) == (2, {1: b"ab"})
        assert store.commit(Changes()) == 3

    def test_threads_add_to_one_record(self, store: StateStore) -> None:
        def add(view: Snapshot) -> Changes:
            return put("item", {3: b"%d" % (int(got(view, "item", 3)[0] or b"0") + 1)})

        threads = [
            threading.Thread(target=lambda: [store.update(add) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with store.snapshot() as view:
            assert (got(view, "item", 3), view.version) == ([b"200"], 200)

    def test_threads_read_whole_commits(self, store: StateStore) -> None:
        wanted = keys(*range(50))
        stop, seen, wrong = threading.Event(), set[int](), list[object]()

        def read() -> None:
            while not stop.wait(0.001):  # a thread that never rests would starve the writer
                with store.snapshot() as view:
                    records = view.get("user", wanted)
                    numbers = {int(records[i] or b"0") for i in range(50)}
                    if numbers != {view.version} or view.offsets().get(0, 0) != view.version:
                        wrong.append((numbers, view.version, view.offsets()))
                    seen.update(numbers)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(1, 61):
            records = dict.fromkeys(range(50), b"%d" % number)
            extra = TableChange(f"kind_{number % 10}", keys(number), Records.of([b"1"]))
            changes = put("user", records, offsets={0: number})
            assert store.commit(Changes([*changes.tables, extra], changes.offsets)) == number
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert seen


def _wrong_changes() -> list[Changes]:
    one, two = Records.of([b"a"]), Records.of([b"a", b"b"])
    outside = Records(one.data, one.starts, one.lengths + 1)
    fine = TableChange("user", keys(5), one)
    tables = [
        [TableChange("user", keys(5, 5), two)],
        [TableChange("user", keys(5), one, removed=keys(5))],
        [TableChange("user", NOTHING, Records.of([]), removed=keys(1, 1))],
        [TableChange("user", keys(5, 6), one)],
        [TableChange("user", keys(5), outside)],
        [TableChange("user", keys(5), Records.of([b""]))],
        [TableChange("user", np.array([5]), one)],
        [TableChange("User:7", keys(5), one)],
        [fine, fine],
    ]
    return [*map(Changes, tables), Changes(offsets={1: -1}), Changes(blobs={"": b"no name"})]


def _random_changes(rng: np.random.Generator) -> Changes:
    tables = []
    for table in rng.permutation(TABLES)[: rng.integers(0, 4)].tolist():
        some = rng.permutation(60)[: rng.integers(0, 40)].astype(np.uint64)
        cut = int(rng.integers(0, len(some) + 1))
        values = [rng.bytes(int(rng.integers(1, 5000))) for _ in range(cut)]
        tables.append(TableChange(table, some[:cut], Records.of(values), removed=some[cut:]))
    names = [f"n{i}" for i in rng.permutation(9)[: rng.integers(0, 4)]]
    blobs = {name: rng.bytes(20) if rng.random() < 0.6 else None for name in names}
    return Changes(tables, {int(rng.integers(3)): int(rng.integers(1000))}, blobs)
