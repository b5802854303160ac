"""What every event stream must do; subclass, give `make`, and run with pytest.

class TestMine(StreamSuite):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda name="one": Mine(MineConfig(path=str(tmp_path / name), partitions=3))

`make(name)` opens the stream of that name: a new one, or the same again after it was closed. It has
at least two partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from muma.errors import DataError, StreamError, UnknownIdError
from muma.events.stream import STREAM_COLUMNS, EventStream

Make = Callable[..., EventStream]
FULL = pl.DataFrame(
    {
        "event_id": pl.Series([2**63, None, 0, 7], dtype=pl.UInt64),
        "user_id": ["ann", "bob", "ann", "cy"],
        "item_id": ["a", None, "b", "a"],
        "domain": ["news", "video", "ad", None],
        "kind": ["click", "fixation", "impression", "search"],
        "timestamp": [1_700_000_000_000_000, 0, 5, 2**61],
        "dwell_ms": [0, 180, None, 2**31 - 1],
        "item_duration_ms": [None, None, 1, 2],
        "position": [0, None, None, 9],
        "request_id": ["r-1", "", None, "ünï"],
        "propensity": [1.0, None, 1e-9, 0.5],
        "value": [-1.5, None, 0.0, 1e300],
        "x": [None, 0.0, None, None],
        "y": [None, 1.0, None, None],
        "ctx_device": ["tv", None, "web", None],
        "ctx_age": pl.Series([1, 2, None, -4], dtype=pl.Int64),
        "ctx_share": [0.5, None, None, 1.0],
        "ctx_new": [True, False, None, True],
    }
)
GOOD: dict[str, Any] = {
    "user_id": ["u", "v"],
    "item_id": ["i", "j"],
    "domain": ["news", "ad"],
    "kind": ["click", "click"],
    "timestamp": [1, 2],
}
WRONG: list[tuple[str, Any]] = [
    ("user_id", ["u", None]),
    ("user_id", [1.5, 2.0]),
    ("user_id", ["u", "  "]),
    ("item_id", ["i", "x" * 600]),
    ("kind", ["click", None]),
    ("kind", ["click", "clack"]),
    ("kind", [1, 2]),
    ("domain", ["news", "moon"]),
    ("timestamp", [1, None]),
    ("timestamp", [1, -1]),
    ("timestamp", [1.0, 2.0]),
    ("timestamp", ["1", "2"]),
    ("event_id", [1, -1]),
    ("event_id", [1.0, 2.0]),
    ("dwell_ms", [1, -1]),
    ("dwell_ms", [1, 2**31]),
    ("dwell_ms", [1.0, 2.0]),
    ("position", [0, -1]),
    ("propensity", [0.5, 0.0]),
    ("propensity", [0.5, 1.01]),
    ("propensity", [0.5, float("nan")]),
    ("propensity", ["a", "b"]),
    ("value", [0.5, float("nan")]),
    ("value", [0.5, float("inf")]),
    ("x", [0.5, 1.5]),
    ("y", [-0.1, 0.5]),
    ("request_id", [1, 2]),
    ("ctx_list", [[1], [2]]),
    ("dwel_ms", [1, 2]),
]


def events(users: list[Any], *, start: int = 0) -> pl.DataFrame:
    """One click of each user, at the times `start`, `start + 1`, ..."""
    n = len(users)
    return pl.DataFrame(
        {
            "user_id": users,
            "item_id": [f"i{at % 3}" for at in range(n)],
            "domain": ["news"] * n,
            "kind": ["click"] * n,
            "timestamp": range(start, start + n),
        },
        schema_overrides={"timestamp": pl.Int64},
    )


def rows(stream: EventStream, partition: int, *, since: int = 0, limit: int = 7) -> pl.DataFrame:
    """All events of a partition from an offset on, read in small pieces."""
    frames, at = [], since
    while (batch := stream.read(partition, at, limit=limit)) is not None:
        assert (batch.partition, batch.offset) == (partition, at)
        assert 1 <= batch.frame.height <= limit
        frames.append(batch.frame)
        at = batch.next_offset
    assert at == stream.ends()[partition]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema=STREAM_COLUMNS)


def told(stream: EventStream) -> list[tuple[Any, int]]:
    """Raw user and time of every event, in the order of time."""
    found: list[tuple[Any, int]] = []
    for partition in range(stream.partitions):
        frame = rows(stream, partition)
        users = stream.user_ids.decode(frame.get_column("user_id"))
        found += zip(users, frame.get_column("timestamp").to_list(), strict=True)
    return sorted(found, key=lambda row: row[1])


def blanked(frame: pl.DataFrame, index: int) -> pl.DataFrame:
    """The frame with all that a user did made null, but when it arrived."""
    mine = (pl.col("user_id") == index).fill_null(False)
    left = pl.all().exclude("received_at")
    return frame.with_columns(pl.when(~mine).then(left).otherwise(None))


class StreamSuite:
    """Contract tests of an `EventStream`."""

    names = count()

    @pytest.fixture
    def make(self) -> Make:
        """Open the stream of a name."""
        raise NotImplementedError("a StreamSuite needs the fixture 'make'")

    @pytest.fixture
    def stream(self, make: Make) -> Iterator[EventStream]:
        """A new stream."""
        stream = make()
        yield stream
        stream.close()

    def test_a_new_stream_is_empty(self, stream: EventStream) -> None:
        assert stream.partitions >= 2
        nothing = dict.fromkeys(range(stream.partitions), 0)
        assert stream.starts() == stream.ends() == nothing
        assert all(stream.read(p, 0, limit=1) is None for p in nothing)
        assert len(stream.user_ids) == len(stream.item_ids) == 0

    def test_every_column_comes_back(self, stream: EventStream) -> None:
        stream.append(FULL, received_at=99)
        got = pl.concat([rows(stream, p) for p in range(stream.partitions)], how="diagonal")
        assert got.columns[: len(STREAM_COLUMNS)] == list(STREAM_COLUMNS)
        assert {name: got.schema[name] for name in STREAM_COLUMNS} == STREAM_COLUMNS
        raw = got.with_columns(
            stream.user_ids.ids.gather(got.get_column("user_id")).alias("user_id"),
            stream.item_ids.ids.gather(got.get_column("item_id")).alias("item_id"),
        )
        wanted = FULL.with_columns(
            pl.col("kind").cast(STREAM_COLUMNS["kind"]),
            pl.col("domain").cast(STREAM_COLUMNS["domain"]),
            *(pl.col(n).cast(STREAM_COLUMNS[n]) for n in ("dwell_ms", "item_duration_ms", "position")),
            received_at=pl.lit(99, dtype=pl.Int64),
        )  # fmt: skip
        order = wanted.columns
        assert_frame_equal(raw.select(order).sort("timestamp"), wanted.sort("timestamp"))

    def test_columns_that_nobody_sent_are_null(self, stream: EventStream) -> None:
        stream.append(events(["u"]), received_at=1)
        (partition,) = (p for p, end in stream.ends().items() if end)
        frame = rows(stream, partition)
        assert frame.schema == STREAM_COLUMNS
        assert frame.get_column("propensity").null_count() == 1

    def test_text_event_ids_have_stable_names(self, stream: EventStream) -> None:
        frame = events(["u"] * 3).with_columns(event_id=pl.Series(["a", "b", "a"]))
        for _ in range(2):
            stream.append(frame, received_at=1)
        (partition,) = (p for p, end in stream.ends().items() if end)
        names = rows(stream, partition).get_column("event_id").to_list()
        assert names[0] == names[2] == names[3] == names[5]
        assert names[1] == names[4] != names[0]

    def test_offsets_are_consecutive_and_users_stay(self, stream: EventStream) -> None:
        ends = dict.fromkeys(range(stream.partitions), 0)
        for at in range(6):
            users = [f"u{k % 11}" for k in range(at * 4, at * 4 + 9)]
            grown = stream.append(events(users, start=100 * at), received_at=at)
            assert sum(grown.values()) - sum(ends[p] for p in grown) == 9
            assert all(grown[p] > ends[p] for p in grown)
            ends |= grown
            assert stream.ends() == ends
        where: dict[int, int] = {}
        for partition, end in ends.items():
            frame = rows(stream, partition)
            assert frame.height == end
            for user, times in frame.group_by("user_id").agg("timestamp").iter_rows():
                assert where.setdefault(user, partition) == partition
                assert times == sorted(times)
        assert len(where) == 11

    def test_reading_resumes_at_every_offset(self, stream: EventStream) -> None:
        for at in range(5):
            stream.append(
                events([f"u{k}" for k in range(at, at + 8)], start=8 * at), received_at=at
            )
        for partition, end in stream.ends().items():
            whole = rows(stream, partition)
            for since in (*range(end + 1), *range(end, -1, -3)):
                for limit in (1, 4, 1000):
                    rest = rows(stream, partition, since=since, limit=limit)
                    assert_frame_equal(rest, whole.slice(since))

    def test_the_end_is_none_and_beyond_it_is_an_error(self, stream: EventStream) -> None:
        stream.append(events(["u", "v", "w"]), received_at=1)
        for partition, end in stream.ends().items():
            assert stream.read(partition, end, limit=5) is None
            with pytest.raises(StreamError):
                stream.read(partition, end + 1, limit=5)
        with pytest.raises(StreamError):
            stream.read(stream.partitions, 0, limit=5)

    def test_two_readers_do_not_disturb_each_other(self, stream: EventStream) -> None:
        stream.append(events(["u"] * 50), received_at=1)
        (partition,) = (p for p, end in stream.ends().items() if end)
        for at in range(40):
            near, far = (stream.read(partition, o, limit=2) for o in (at, 49 - at))
            assert near is not None
            assert far is not None
            assert near.frame.item(0, "timestamp") == at
            assert far.frame.item(0, "timestamp") == 49 - at

    @pytest.mark.parametrize("raw", [["b", "a", "c"], [7, 2**40, -3]])
    def test_ids_are_stable(self, make: Make, raw: list[Any]) -> None:
        for turn in range(3):
            stream = make()
            stream.append(events(raw[: turn + 1]), received_at=1)
            assert stream.user_ids.ids.to_list() == raw[: turn + 1]
            assert stream.user_ids.encode(raw[: turn + 1]).to_list() == list(range(turn + 1))
            stream.close()

    def test_text_turns_all_ids_into_text(self, make: Make) -> None:
        stream = make()
        stream.append(events([5, 6]), received_at=1)
        stream.append(events(["u", "6"]), received_at=1)
        stream.append(events([6, 8]), received_at=1)
        for _ in range(2):
            assert stream.user_ids.ids.to_list() == ["5", "6", "u", "8"]
            assert sum(stream.ends().values()) == 6
            stream.close()
            stream = make()
        stream.close()

    @pytest.mark.parametrize(("column", "values"), WRONG, ids=lambda v: str(v)[:30])
    def test_a_wrong_frame_is_refused_whole(
        self, stream: EventStream, column: str, values: Any
    ) -> None:
        frame = pl.DataFrame({**GOOD, column: values})
        with pytest.raises(DataError, match=column):
            stream.append(frame, received_at=1)
        assert sum(stream.ends().values()) == 0
        assert len(stream.user_ids) == len(stream.item_ids) == 0
        stream.append(pl.DataFrame(GOOD), received_at=1)
        assert sum(stream.ends().values()) == 2

    @pytest.mark.parametrize("column", ["user_id", "kind", "timestamp"])
    def test_a_required_column_is_missed(self, stream: EventStream, column: str) -> None:
        with pytest.raises(DataError, match=column):
            stream.append(pl.DataFrame(GOOD).drop(column), received_at=1)

    def test_a_wrong_value_is_named_by_row(self, stream: EventStream) -> None:
        frame = events(["u"] * 9).with_columns(dwell_ms=pl.Series([1] * 6 + [-4, 1, -5]))
        with pytest.raises(DataError, match=r"row 6 .*'dwell_ms'.*-4"):
            stream.append(frame, received_at=1)

    def test_an_empty_frame_changes_nothing(self, stream: EventStream) -> None:
        stream.append(events(["u"]), received_at=1)
        before = stream.ends()
        assert stream.append(events(["u"]).clear(), received_at=2) == {}
        assert stream.append(pl.DataFrame(), received_at=2) == {}
        assert stream.ends() == before

    def test_a_fixation_needs_no_item(self, stream: EventStream) -> None:
        frame = pl.DataFrame(
            {"user_id": ["u"], "kind": ["fixation"], "timestamp": [3], "dwell_ms": [200],
             "x": [0.25], "y": [1.0]}
        )  # fmt: skip
        stream.append(frame, received_at=1)
        (partition,) = (p for p, end in stream.ends().items() if end)
        got = rows(stream, partition).row(0, named=True)
        assert (got["item_id"], got["domain"], got["x"], got["y"]) == (None, None, 0.25, 1.0)

    def test_new_context_columns_may_come(self, stream: EventStream) -> None:
        stream.append(events(["u"]), received_at=1)
        for name, value in (("ctx_a", 1), ("ctx_b", "x"), ("ctx_a", 2.5), ("ctx_a", 3)):
            stream.append(events(["u"]).with_columns(pl.lit(value).alias(name)), received_at=1)
        (partition,) = (p for p, end in stream.ends().items() if end)
        found = []
        for at in range(5):
            batch = stream.read(partition, at, limit=1)
            assert batch is not None
            row = batch.frame.row(0, named=True)
            found.append((row.get("ctx_a"), row.get("ctx_b")))
        assert found == [(None, None), (1, None), (None, "x"), (2.5, None), (3, None)]

    def test_retention_keeps_what_it_must(self, stream: EventStream) -> None:
        for at in range(4):
            stream.append(events([f"u{k}" for k in range(20)], start=20 * at), received_at=at)
        ends = stream.ends()
        whole = {p: rows(stream, p) for p in ends}
        below = {p: end // 2 for p, end in ends.items()}
        dropped = stream.drop_before(below)
        starts = stream.starts()
        assert dropped == sum(starts.values())
        assert stream.ends() == ends
        for partition, start in starts.items():
            assert start <= below[partition]
            assert_frame_equal(rows(stream, partition, since=start), whole[partition].slice(start))
            if start:
                with pytest.raises(StreamError):
                    stream.read(partition, start - 1, limit=1)

    def test_forgetting_blanks_one_user(self, make: Make) -> None:
        stream = make()
        for at in range(6):
            users = [f"u{k % 7}" for k in range(at, at + 10)]
            stream.append(events(users, start=10 * at), received_at=at)
        stream.append(FULL, received_at=9)
        ends, before = stream.ends(), {p: rows(stream, p) for p in stream.ends()}
        for raw in ("u3", "ann"):
            index = stream.user_ids.encode([raw])[0]
            wanted = {p: blanked(frame, index) for p, frame in before.items()}
            gone = sum(
                frame.get_column("user_id").null_count()
                - before[p].get_column("user_id").null_count()
                for p, frame in wanted.items()
            )
            assert stream.forget(index) == gone > 0
            assert stream.forget(index) == 0
            for turn in range(2):
                assert stream.ends() == ends
                for p, frame in wanted.items():
                    assert_frame_equal(rows(stream, p), frame)
                known = stream.user_ids.ids.to_list()
                assert raw not in known
                assert len(set(known)) == len(known)
                with pytest.raises(UnknownIdError):
                    stream.user_ids.encode([raw])
                if not turn:
                    stream.close()
                    stream = make()
            before = wanted
        assert stream.user_ids.encode(["u2", "bob"]).to_list() == [2, 7 + 1]
        users = len(stream.user_ids)
        stream.append(events(["u3", "u2"], start=100), received_at=10)  # who comes back is new
        assert stream.user_ids.encode(["u3"])[0] == users
        with pytest.raises(StreamError):
            stream.forget(users + 1)
        stream.close()

    def test_some_kinds_of_a_user_are_forgotten(self, make: Make) -> None:
        stream = make()
        stream.append(FULL, received_at=1)
        kinds = ("click", "follow")
        more = events(["ann", "bob"] * 6, start=50).with_columns(
            pl.Series("kind", ["click", "play", "follow", "click"] * 3)
        )
        stream.append(more, received_at=2)
        index = stream.user_ids.encode(["ann"])[0]
        before = {p: rows(stream, p) for p in range(stream.partitions)}
        mine = (pl.col("user_id") == index) & pl.col("kind").cast(pl.String).is_in(kinds)
        gone = sum(frame.filter(mine).height for frame in before.values())
        assert stream.forget(index, kinds=kinds) == gone > 0
        assert stream.forget(index, kinds=kinds) == 0
        for _ in range(2):
            for p, frame in before.items():
                blank = [c for c in frame.columns if c != "received_at"]
                hit = mine.fill_null(False)
                wanted = frame.with_columns(pl.when(~hit).then(pl.col(c)).alias(c) for c in blank)
                assert_frame_equal(rows(stream, p), wanted)
            assert stream.user_ids.encode(["ann"])[0] == index
            stream.close()
            stream = make()
        stream.close()

    @pytest.mark.parametrize("later", [[], [8], ["u"]])
    def test_a_forgotten_integer_stays_forgotten(self, make: Make, later: list[Any]) -> None:
        stream = make()
        stream.append(events([5, 6, 7]), received_at=1)
        if later:
            stream.append(events(later), received_at=1)
        stream.forget(1)
        for _ in range(2):
            with pytest.raises(UnknownIdError):
                stream.user_ids.encode([6])
            assert stream.user_ids.encode([5, 7, *later]).to_list() == [
                0,
                2,
                *([3] if later else []),
            ]
            stream.close()
            stream = make()
        stream.append(events(["t"]), received_at=1)  # turns all ids into text
        with pytest.raises(UnknownIdError):
            stream.user_ids.encode(["6"])
        stream.close()

    def test_exports_leave_out_who_is_forgotten(self, make: Make, tmp_path: Path) -> None:
        stream = make()
        stream.append(FULL, received_at=1)
        stream.forget(0)
        paths = stream.export(tmp_path / "out")
        users = [u for path in paths for u in pl.read_parquet(path).get_column("user_id")]
        assert sorted(users) == ["bob", "cy"]
        stream.close()

    def test_closing_twice_is_safe(self, stream: EventStream) -> None:
        stream.close()
        stream.close()

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(data=st.data())
    def test_it_is_a_list_of_events(self, make: Make, data: st.DataObject) -> None:
        """Random appends, reopenings and reads against plain lists."""
        name = f"model-{next(self.names)}"
        stream = make(name)
        model: list[tuple[Any, int]] = []
        whole: dict[int, list[int]] = {p: [] for p in range(stream.partitions)}
        users = st.lists(st.integers(0, 12), max_size=6)
        for _ in range(data.draw(st.integers(1, 8))):
            action = data.draw(st.sampled_from(["append", "append", "reopen", "read", "refuse"]))
            if action == "append":
                frame = events([f"u{k}" for k in data.draw(users)], start=len(model))
                before = stream.ends()
                grown = stream.append(frame, received_at=1)
                model += frame.select("user_id", "timestamp").rows()
                for p, end in grown.items():
                    whole[p] += rows(stream, p, since=before[p]).get_column("timestamp").to_list()
                    assert len(whole[p]) == end
            elif action == "reopen":
                stream.close()
                stream = make(name)
            elif action == "refuse":
                frame = events(["new", "u1"]).with_columns(dwell_ms=pl.Series([1, -1]))
                with pytest.raises(DataError):
                    stream.append(frame, received_at=1)
            else:
                p = data.draw(st.integers(0, stream.partitions - 1))
                since = data.draw(st.integers(0, len(whole[p])))
                limit = data.draw(st.integers(1, 9))
                batch = stream.read(p, since, limit=limit)
                got = [] if batch is None else batch.frame.get_column("timestamp").to_list()
                assert got == whole[p][since : since + limit][: len(got)]
                assert bool(got) == (since < len(whole[p]))
        assert told(stream) == model
        stream.close()
