"""The embedded stream: writers and readers in other processes, segments, ids and exports."""

import json
import os
import signal
import threading
import time

import polars as pl
import pytest

from muma.backends import blocks, partition_writer, segments, stream_file
from muma.backends.partition_reader import listed
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.backends.stream_rows import hash_text
from muma.errors import DataError, StreamError
from muma.events.ingest import ingest
from muma.events.log_folder import open_log
from muma.events.sources.files import Files, FilesConfig
from muma.events.stream import KINDS
from muma.events.vocabulary import Vocabulary
from muma.testing.stream_suite import FULL, events, rows, told
from stream_support import start, streams, three_blocks, times


@pytest.fixture
def opened(tmp_path):
    with streams(tmp_path) as make:
        yield make


@pytest.fixture
def small(opened, tmp_path):
    return three_blocks(opened, tmp_path)


# ------------------------------------------------------------------------------ writers and readers


def test_a_second_writer_is_refused(opened):
    first = opened()
    with pytest.raises(StreamError, match="another process is writing"):
        opened()
    first.close()
    opened().append(events(["u"]), received_at=1)


def test_a_reader_changes_nothing(small, opened, tmp_path):
    reader = opened(readonly=True)
    with pytest.raises(StreamError, match="reading only"):
        reader.append(events(["u"]), received_at=1)
    with pytest.raises(StreamError, match="reading only"):
        reader.drop_before({0: 1})
    with pytest.raises(StreamError, match="is no event stream"):
        opened("none", readonly=True)
    assert not (tmp_path / "none").exists()


def test_a_reader_follows_a_writer_in_another_process(tmp_path, opened):
    process = start(tmp_path / "s", seed=3)
    reader = opened(readonly=True)
    at = dict.fromkeys(range(reader.partitions), 0)
    found, until = [], time.monotonic() + 20
    while len(found) < 5_000 and time.monotonic() < until:
        for partition in at:
            batch = reader.read(partition, at[partition], limit=500)
            if batch is not None:
                at[partition] = batch.next_offset
                found += batch.frame.get_column("timestamp").to_list()
                reader.user_ids.decode(batch.frame.get_column("user_id"))
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert len(found) >= 5_000
    assert len(set(found)) == len(found)
    ends = reader.ends()
    assert all(at[p] <= ends[p] for p in at)
    assert set(found) <= set(times(opened()))


def test_drafts_are_not_visible(opened, monkeypatch):
    stream, reader = opened(partitions=1), opened(readonly=True)
    stream.append(events(["u"]), received_at=1)
    seen = []

    def look(fd, at):
        seen.append((reader.read(0, 0, limit=9).frame.height, stream.ends(), reader.ends()))
        blocks.publish(fd, at)

    monkeypatch.setattr(partition_writer, "publish", look)
    stream.append(events(["u", "v"]), received_at=1)
    assert seen == [(1, {0: 1}, {0: 1})]
    assert reader.read(0, 1, limit=9).frame.height == 2


def test_many_threads_append_at_once(opened, monkeypatch):
    stream = opened(partitions=2, fsync=True)
    syncs = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append(fd), time.sleep(0.002), real(fd)))
    turns, threads = 12, 8

    def work(number):
        for turn in range(turns):
            at = number * turns + turn
            stream.append(events([number], start=at), received_at=at)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert times(stream) == list(range(turns * threads))
    assert len(syncs) < 0.7 * 2 * turns * threads  # syncs were shared
    for partition in range(2):
        frame = rows(stream, partition)
        for _, own in frame.group_by("user_id"):
            assert own.get_column("timestamp").is_sorted()


def test_readers_in_threads_see_every_event_once(opened):
    stream = opened(partitions=1)
    done = threading.Event()
    found = []

    def read():
        at = 0
        while not (done.is_set() and at == stream.ends()[0]):
            batch = stream.read(0, at, limit=50)
            if batch is not None:
                found.extend(batch.frame.get_column("timestamp").to_list())
                at = batch.next_offset

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(100):
        stream.append(events(["u"] * (turn % 9 + 1), start=100 * turn), received_at=1)
    done.set()
    reader.join()
    assert found == times(stream)


# ------------------------------------------------------------------------- segments, ids and exports


def big(n, start=0):
    """Events of about 100 bytes each."""
    at = pl.int_range(start, start + n, eager=True)
    return pl.DataFrame(
        {
            "user_id": at % 97,
            "item_id": "item" + (at % 13).cast(pl.String),
            "kind": "play",
            "timestamp": at,
            "request_id": "r" * 70 + at.cast(pl.String),
        }
    ).with_columns(pl.lit("play").alias("kind"), domain=pl.lit("video"))


def test_segments_roll_and_are_dropped(opened, tmp_path):
    stream = opened(partitions=2, segment_mib=1)
    for turn in range(8):
        stream.append(big(10_000, start=10_000 * turn), received_at=turn)
    firsts = listed(tmp_path / "s" / "p0")
    assert len(firsts) >= 3
    assert times(stream) == list(range(80_000))
    reader = opened(readonly=True)
    assert reader.read(0, 0, limit=1).frame.height == 1
    assert stream.drop_before({0: firsts[2] + 5, 1: 0}) == firsts[2]
    assert stream.starts() == reader.starts() == {0: firsts[2], 1: 0}
    with pytest.raises(StreamError, match=f"kept are offsets from {firsts[2]} on"):
        stream.read(0, firsts[2] - 1, limit=1)
    late = opened(readonly=True)
    with pytest.raises(StreamError, match="kept are offsets"):
        late.read(0, 0, limit=1)
    ends = stream.ends()
    stream.close()
    stream = opened(segment_mib=1)
    assert (stream.ends(), stream.starts()) == (ends, late.starts())
    assert stream.drop_before(ends) > 0
    assert stream.ends() == ends
    assert rows(stream, 0, since=stream.starts()[0]).height > 0


def test_a_frame_larger_than_a_block_comes_back(opened, monkeypatch):
    monkeypatch.setattr(partition_writer, "EVENTS_A_BLOCK", 300)
    stream = opened(partitions=2)
    stream.append(big(5_000), received_at=1)
    assert times(stream) == list(range(5_000))
    assert stream.read(0, 0, limit=7).frame.height == 7


def test_a_new_context_column_begins_a_segment_and_few_columns_do_not(opened, tmp_path):
    stream = opened(partitions=1)
    frame = events(["u"])
    stream.append(frame.with_columns(ctx_a=pl.lit(1.5), value=pl.lit(2.0)), received_at=1)
    for more in ({"ctx_a": 1}, {"value": 3}, {}, {"ctx_a": None}):
        stream.append(frame.with_columns(**{k: pl.lit(v) for k, v in more.items()}), received_at=1)
    assert listed(tmp_path / "s" / "p0") == [0]
    for more in ({"ctx_b": "x"}, {"dwell_ms": 4}, {"ctx_b": "y", "ctx_a": 2}):
        stream.append(frame.with_columns(**{k: pl.lit(v) for k, v in more.items()}), received_at=1)
    assert listed(tmp_path / "s" / "p0") == [0, 5, 6]
    got = rows(stream, 0)
    assert got.get_column("ctx_a").to_list() == [1.5, 1.0, None, None, None, None, None, 2.0]
    assert got.get_column("ctx_b").to_list() == [None] * 5 + ["x", None, "y"]


def test_a_stream_continues_the_ids_of_a_log(opened, tmp_path):
    users, items = Vocabulary(pl.Series(["b", "a"])), Vocabulary(pl.Series([30, 10, 20]))
    config = FileStreamConfig(path=str(tmp_path / "s"), partitions=2)
    stream = FileStream.create(config, user_ids=users, item_ids=items)
    frame = events(["c", "a"]).with_columns(item_id=pl.Series([40, 10]))
    stream.append(frame, received_at=1)
    assert stream.user_ids.ids.to_list() == ["b", "a", "c"]
    assert stream.item_ids.ids.to_list() == [30, 10, 20, 40]
    assert stream.user_ids.encode(["c", "b"]).to_list() == [2, 0]
    stream.close()
    with pytest.raises(StreamError, match="holds a stream already"):
        FileStream.create(config)
    assert opened(readonly=True).user_ids.encode(["a"]).to_list() == [1]


def test_a_vocabulary_does_not_change_when_the_stream_grows(opened):
    stream = opened()
    stream.append(events(["u", "v"]), received_at=1)
    before = stream.user_ids
    stream.append(events(["w"]), received_at=1)
    assert len(before) == 2
    assert len(stream.user_ids) == 3
    own = Vocabulary(before.ids)
    assert own.add(pl.Series(["x", "v"])).to_list() == [2, 1]
    assert before.add(pl.Series(["y", "v"])).to_list() == [2, 1]
    assert stream.user_ids.ids.to_list() == ["u", "v", "w"]


def test_the_number_of_partitions_is_fixed(small, opened):
    with pytest.raises(StreamError, match=r"has 1 partitions.*got partitions = 2"):
        opened(partitions=2)
    assert opened().partitions == 1


def test_other_folders_are_left_alone(opened, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(StreamError, match=r"not empty: letter\.txt is there"):
        opened("other")
    (tmp_path / "file").write_text("dear")
    with pytest.raises(StreamError, match="file"):
        opened("file")
    stream = opened("s")
    stream.close()
    (tmp_path / "s" / "meta.json").write_text(json.dumps({"format": 9, "partitions": 4}))
    with pytest.raises(StreamError, match="format 9"):
        opened("s")


def test_a_kill_while_it_is_made_harms_nothing(opened, tmp_path):
    folder = tmp_path / "s"
    (folder / "p0").mkdir(parents=True)
    (folder / "users.ids").write_bytes(b"half")
    (folder / "meta.json.draft").write_text("{")
    stream = opened()
    stream.append(events(["u"]), received_at=1)
    assert told(stream) == [("u", 0)]


def test_a_closed_stream_says_so(opened):
    stream = opened()
    stream.close()
    for call in (stream.ends, stream.starts, lambda: stream.read(0, 0, limit=1),
                 lambda: stream.append(events(["u"]), received_at=1)):  # fmt: skip
        with pytest.raises(StreamError, match="closed"):
            call()


def test_the_name_of_a_text_event_id_never_changes(opened):
    stream = opened(partitions=1)
    stream.append(events(["u"]).with_columns(event_id=pl.lit("e-1")), received_at=1)
    assert stream.read(0, 0, limit=1).frame.item(0, "event_id") == 11461081932386169649
    assert hash_text("e-1") == 11461081932386169649
    for wrong in (-1, "now", None):
        with pytest.raises(DataError, match="received_at"):
            stream.append(events(["u"]), received_at=wrong)


def test_export_feeds_ingestion(opened, tmp_path, monkeypatch):
    stream = opened(partitions=2)
    stream.append(FULL.drop("event_id"), received_at=1)
    frame = big(2_000, start=1_700_000_000_000_000)
    looks = pl.DataFrame(
        {"user_id": [1, 2], "item_id": ["item3", "item4"], "kind": ["fixation"] * 2, "x": [0.1, 1.0],
         "y": [0.0, 0.5], "timestamp": [1_700_000_000_000_005] * 2, "dwell_ms": [120, 90]}
    )  # fmt: skip
    stream.append(frame, received_at=2)
    stream.append(looks, received_at=3)
    monkeypatch.setattr(stream_file.stream_export, "ROWS_A_READ", 300)
    export = stream_file.stream_export.export
    paths = export(stream, tmp_path / "out", since={}, rows=700)
    assert len(paths) > 4
    assert {p.name for p in paths} == {p.name for p in (tmp_path / "out").iterdir()}
    back = pl.concat([pl.read_parquet(p) for p in paths if "events" in p.name], how="diagonal")
    assert back.filter(pl.col("kind") == "play").height == 2_000
    assert set(back.get_column("kind")) <= set(KINDS)
    assert back.filter(user_id="ann").get_column("item_id").sort().to_list() == ["a", "b"]
    again = stream.export(tmp_path / "tail", since=stream.ends() | {0: 5})
    assert pl.read_parquet(again[0]).item(0, "offset") == 5

    def table(pattern):
        return {"files": [str(tmp_path / "out" / pattern)], "time_unit": "us"}

    config = {"events": table("events-*.parquet"), "gaze": table("gaze-*.parquet")}
    report = ingest(Files(FilesConfig.model_validate(config)), tmp_path / "log")
    assert report.events.read == back.height
    assert report.events.kept >= 2_000
    log = open_log(tmp_path / "log")
    played = log.events.filter(pl.col("kind") == "play").collect()
    assert (
        played.get_column("timestamp").sort().to_list() == frame.get_column("timestamp").to_list()
    )
    assert log.gaze.filter(pl.col("duration_ms").is_in([120, 90])).collect().height == 2


def test_codes_keep_their_meaning_when_kinds_are_added_or_removed(opened, monkeypatch):
    kind, words = segments.WORDS["kind"]
    older = (kind, tuple(reversed(words)))
    stream = opened(partitions=1)
    with monkeypatch.context() as patch:
        patch.setitem(segments.WORDS, "kind", older)
        stream.append(events(["u"]), received_at=1)
        code = words[::-1][words.index("click")]  # what today's code means in the older order
    stream.close()
    assert opened(readonly=True).read(0, 0, limit=1).frame.item(0, "kind") == code
    with monkeypatch.context() as patch:
        patch.setitem(segments.WORDS, "kind", (kind, words[:-1]))
        with pytest.raises(StreamError, match=f"another version of muma.*{words[-1]!r}"):
            opened(readonly=True).read(0, 0, limit=1)
