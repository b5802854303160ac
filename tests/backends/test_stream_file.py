"""The embedded stream under kills, full disks, damage, second writers and readers elsewhere."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import polars as pl
import pytest

from muma.backends import blocks, partition_writer, stream_file
from muma.backends.partition_reader import listed
from muma.backends.segments import name_of
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.backends.stream_rows import hash_text
from muma.errors import DataError, StreamError
from muma.events.ingest import ingest
from muma.events.log_folder import open_log
from muma.events.sources.files import Files, FilesConfig
from muma.events.stream import KINDS
from muma.events.vocabulary import Vocabulary
from muma.testing.stream_suite import FULL, events, rows, told

# argv: folder, number of the run, largest file in bytes or 0. Appends events whose time is their
# number, until it is killed or refused; says after each append how many are acknowledged.
APPEND = """
import itertools, random, resource, sys
import polars as pl
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.errors import StreamError

folder, seed, largest = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
stream = FileStream(FileStreamConfig(path=folder, partitions=3, segment_mib=1))
if largest:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
at = sum(stream.ends().values())
print("ready", at, flush=True)
for turn in itertools.count():
    n = rng.choice([1, 20, 300, 3000])
    users = [f"u{rng.randrange(50 + 20 * turn)}" for _ in range(n)]
    frame = pl.DataFrame({"user_id": users, "item_id": users, "kind": ["click"] * n,
                          "timestamp": range(at, at + n), "request_id": users},
                         schema_overrides={"timestamp": pl.Int64})
    if turn % 7 == 3:
        frame = frame.with_columns(pl.lit(turn).alias(f"ctx_{turn % 3}"))
    try:
        ends = stream.append(frame, received_at=turn)
    except StreamError as error:
        print("refused", error, flush=True)
        break
    at += n
    print("acknowledged", at, ends, flush=True)
"""
KILLS = [
    pytest.param(k, marks=() if k < 5 else pytest.mark.slow, id=f"kill {k}") for k in range(35)
]


@pytest.fixture
def opened(tmp_path):
    """Open the stream at `tmp_path/s`; all are closed at the end."""
    streams = []

    def make(folder="s", **settings):
        settings = {"fsync": False, **settings}
        streams.append(FileStream(FileStreamConfig(path=str(tmp_path / folder), **settings)))
        return streams[-1]

    yield make
    for stream in streams:
        stream.close()


def start(folder, seed=0, largest=0):
    command = [sys.executable, "-c", APPEND, str(folder), str(seed), str(largest)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready")
    return process


def times(stream):
    """The times of all events, sorted; offsets are checked to have no gap."""
    found = []
    for partition, end in stream.ends().items():
        frame = rows(stream, partition, limit=10_000)
        assert frame.height == end
        stream.user_ids.decode(frame.get_column("user_id"))  # every id is known
        found += frame.get_column("timestamp").to_list()
    return sorted(found)


def last_segment(folder, partition=0):
    place = folder / f"p{partition}"
    return place / name_of(listed(place)[-1])


def block_starts(path):
    """Bytes at which the blocks of a segment begin."""
    raw = path.read_bytes()
    return [at for at in range(len(raw)) if raw.startswith(blocks.MAGIC, at)]


# ---------------------------------------------------------------------------------- kills and disks


@pytest.mark.parametrize("seed", KILLS)
def test_killed_at_a_random_moment(seed, tmp_path, opened):
    folder, known = tmp_path / "s", 0
    for turn in range(1 + seed % 2):
        process = start(folder, seed=2 * seed + turn)
        time.sleep(random.Random(2 * seed + turn).uniform(0.01, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        lines = [line for line in process.stdout if line.endswith("\n")]  # the last may be torn
        told_of = [line.split()[1] for line in lines if line.startswith("ack")]
        process.wait(10)
        known = int(told_of[-1]) if told_of else known
        found = times(opened(readonly=True))
        stream = opened(segment_mib=1)
        assert times(stream) == found
        stream.close()
        assert len(set(found)) == len(found)
        assert found[:known] == list(range(known))
        known = len(found)
        if found != list(range(known)):  # a part of the append that was killed: unacknowledged
            return


@pytest.mark.parametrize("largest", [300, 3_000, 60_000, 500_000])
def test_full_disk(largest, tmp_path, opened):
    process = start(tmp_path / "s", seed=largest, largest=largest)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert process.wait(30) == 0
    assert "were not appended (File too large)" in lines[-1]
    acknowledged = int(lines[-2].split()[1]) if len(lines) > 1 else 0
    stream = opened()
    assert times(stream) == list(range(acknowledged))
    assert max(p.stat().st_size for p in (tmp_path / "s").rglob("*") if p.is_file()) <= largest
    stream.append(events(["new"], start=acknowledged), received_at=1)
    assert times(stream) == list(range(acknowledged + 1))


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("step", ["write_all", "publish", "fdatasync"])
def test_it_goes_on_when_there_is_room_again(step, fails_at, opened, tmp_path, monkeypatch):
    stream = opened(partitions=3, fsync=True)
    stream.append(events([f"u{k}" for k in range(30)]), received_at=1)
    before = {p: rows(stream, p) for p in range(3)}
    files = {p: p.stat().st_size for p in (tmp_path / "s").rglob("*.[is][de]*")}
    module = os if step == "fdatasync" else partition_writer
    real, calls, failed = getattr(module, step), iter(range(1, 1000)), False

    def sometimes(*args):
        nonlocal failed
        if next(calls) != fails_at:
            return real(*args)
        failed = True
        return full()

    wide = events([f"v{k}" for k in range(30)], start=30).with_columns(ctx_a=pl.lit(1))
    with monkeypatch.context() as patch:
        patch.setattr(module, step, sometimes)
        try:
            stream.append(wide, received_at=2)
        except StreamError as error:
            assert "not appended (No space left on device)" in str(error)  # noqa: PT017
            assert all(rows(stream, p).equals(before[p], null_equal=True) for p in range(3))
            if step == "write_all":
                now = {p: p.stat().st_size for p in (tmp_path / "s").rglob("*.[is][de]*")}
                assert now == files
                assert len(stream.user_ids) == 30
            stream.append(wide, received_at=2)
    assert failed == (fails_at <= {"write_all": 6, "publish": 3, "fdatasync": 4}[step])
    found = told(stream)
    assert [time for _, time in found] == list(range(60))
    stream.close()
    assert told(opened()) == found


def test_a_disk_that_refuses_even_that_stops_the_writer(opened, monkeypatch):
    stream = opened()
    stream.append(events(["u"]), received_at=1)
    with monkeypatch.context() as patch:
        patch.setattr(partition_writer, "write_all", full)
        patch.setattr(os, "ftruncate", full)
        with pytest.raises(StreamError, match="close the stream and open it again"):
            stream.append(events(["v"] * 3), received_at=1)
    with pytest.raises(StreamError, match="close the stream and open it again"):
        stream.append(events(["v"]), received_at=1)
    assert told(stream) == [("u", 0)]
    stream.close()
    stream = opened()
    stream.append(events(["v"], start=1), received_at=1)
    assert told(stream) == [("u", 0), ("v", 1)]


def test_a_failed_switch_to_text_ids_is_undone(opened, monkeypatch):
    stream = opened()
    stream.append(events([5, 6]), received_at=1)
    with monkeypatch.context() as patch:
        patch.setattr(partition_writer, "write_all", full)
        with pytest.raises(StreamError):
            stream.append(events(["u", "v"]), received_at=1)
    assert stream.user_ids.ids.to_list() == [5, 6]
    stream.append(events([7]), received_at=1)
    assert stream.user_ids.ids.to_list() == [5, 6, 7]


# ------------------------------------------------------------------------------------------- damage


@pytest.fixture
def small(opened, tmp_path):
    """A closed stream of one partition with three blocks of 4, 1 and 2 events."""
    stream = opened(partitions=1)
    for at, n in ((0, 4), (4, 1), (5, 2)):
        stream.append(events([f"u{k}" for k in range(n)], start=at), received_at=at)
    stream.close()
    return tmp_path / "s"


def test_a_torn_tail_is_cut_off(small, opened):
    path = last_segment(small)
    raw = path.read_bytes()
    starts = block_starts(path)
    for size in range(starts[2] + 1, len(raw), 19):
        path.write_bytes(raw[:size])
        assert times(opened(readonly=True)) == [0, 1, 2, 3, 4]
        stream = opened()
        assert times(stream) == [0, 1, 2, 3, 4]
        assert path.stat().st_size == starts[2]
        stream.append(events(["u0"], start=5), received_at=1)
        assert times(stream) == [0, 1, 2, 3, 4, 5]
        stream.close()


def test_a_segment_that_was_just_begun_is_taken_away(small, opened):
    whole = last_segment(small).read_bytes()
    begin = block_starts(last_segment(small))[0]
    path = small / "p0" / name_of(7)
    for content in (b"", whole[:20], bytes(500)):
        path.write_bytes(content)
        assert times(opened(readonly=True)) == [0, 1, 2, 3, 4, 5, 6]
        stream = opened()
        assert times(stream) == [0, 1, 2, 3, 4, 5, 6]
        assert not path.exists()
        stream.close()
    assert begin


@pytest.mark.parametrize("zeros", ["new block", "last payload", "last payload and more"])
def test_zeros_after_a_power_loss_are_cut_off(zeros, small, opened):
    path = last_segment(small)
    raw, starts = path.read_bytes(), block_starts(path)
    kept = len(raw) if zeros == "new block" else starts[2] + blocks.HEAD_BYTES + 8
    padding = 0 if zeros == "last payload" else 5000
    path.write_bytes(raw[:kept] + bytes(len(raw) - kept + padding))
    expected = list(range(7 if zeros == "new block" else 5))
    stream = opened()
    assert times(stream) == expected


def test_a_flipped_byte_is_never_taken_for_less(small, opened):
    """Whichever byte changes: an error, or all events as they were."""
    path = last_segment(small)
    raw = path.read_bytes()
    silent = 0
    for at in range(0, len(raw), 7):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
        try:
            stream = opened()
        except StreamError as error:
            assert "damaged at byte" in str(error)  # noqa: PT017 - either way is right
            continue
        assert times(stream) == list(range(7))
        stream.close()
        silent += 1
    assert silent < len(raw) / 7 / 50  # bytes of padding


@pytest.mark.parametrize("number", [0, 1, 2])
def test_repair_sets_damage_aside(number, small, opened):
    path = last_segment(small)
    raw, starts = path.read_bytes(), block_starts(path)
    at = starts[number]
    scribbled = bytearray(raw)
    scribbled[at + 100 : at + 104] = b"oops"
    path.write_bytes(scribbled)
    whole = [0, 4, 5][number]
    with pytest.raises(StreamError, match=rf"damaged at byte {at}: the {whole} events.*repair"):
        opened()
    reader = opened(readonly=True)
    if whole:
        assert reader.read(0, 0, limit=100).frame.height == whole
    with pytest.raises(StreamError, match=f"damaged at byte {at}"):
        reader.read(0, whole, limit=1)
    (aside,) = FileStream.repair(small)
    assert (aside.partition, aside.offset) == (0, whole)
    assert aside.file.name == path.name + ".damaged-1"
    assert aside.file.read_bytes() == scribbled[at:]
    assert FileStream.repair(small) == []
    stream = opened()
    assert times(stream) == list(range(whole))
    stream.append(events(["u9"], start=whole), received_at=1)
    assert times(stream) == list(range(whole + 1))
    with pytest.raises(StreamError, match="lies after the end"):
        stream.read(0, 7, limit=1)  # of a consumer that had read the damaged events


@pytest.mark.parametrize("at", [0, 60])
def test_repair_of_a_first_segment_keeps_its_offset(at, opened, tmp_path):
    stream = opened(partitions=1)
    stream.append(events(["u"] * 5), received_at=1)
    stream.append(events(["u"], start=5).with_columns(ctx_a=1), received_at=1)
    assert stream.drop_before({0: 5}) == 5
    stream.close()
    path = last_segment(tmp_path / "s")
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(StreamError, match="damaged at byte 0"):
        opened(readonly=True).read(0, 5, limit=1)
    (aside,) = FileStream.repair(tmp_path / "s")
    assert aside.offset == 5
    for reader in (opened(readonly=True), opened()):
        assert (reader.starts(), reader.ends()) == ({0: 5}, {0: 5})
        assert reader.read(0, 5, limit=1) is None
        reader.close()
    stream = opened()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_writer, "block", full)
        with pytest.raises(StreamError):
            stream.append(events(["v"], start=6), received_at=1)
    assert stream.append(events(["v"], start=6), received_at=1) == {0: 6}
    assert rows(stream, 0, since=5).get_column("timestamp").to_list() == [6]


def test_damage_in_an_older_segment_leaves_the_rest_readable(opened, tmp_path):
    stream = opened(partitions=1)
    stream.append(events(["u"] * 5), received_at=1)
    stream.append(events(["u"] * 2, start=5).with_columns(ctx_a=1), received_at=1)
    stream.close()
    path = tmp_path / "s" / "p0" / name_of(0)
    raw = bytearray(path.read_bytes())
    raw[block_starts(path)[0] + 80] ^= 1
    path.write_bytes(raw)
    stream = opened()
    with pytest.raises(StreamError, match="damaged"):
        stream.read(0, 3, limit=1)
    assert rows(stream, 0, since=5).height == 2
    path.write_bytes(raw[: block_starts(path)[0]])
    with pytest.raises(StreamError, match="offsets 0 to 5 are missing"):
        opened(readonly=True).read(0, 3, limit=1)


def test_damaged_ids_are_an_error_and_torn_ones_are_cut(small, opened):
    path = small / "users.ids"
    raw = path.read_bytes()
    path.write_bytes(raw + raw[:70])  # the start of a block
    stream = opened()
    assert len(stream.user_ids) == 4
    stream.close()
    assert path.read_bytes() == raw
    path.write_bytes(raw[:52] + b"x" + raw[53:])
    for readonly in (True, False):
        with pytest.raises(StreamError, match=r"users\.ids is damaged at byte 0.*from a copy"):
            opened(readonly=readonly)


def test_a_moved_segment_is_noticed(small, opened):
    last_segment(small).rename(small / "p0" / name_of(3))
    with pytest.raises(StreamError, match=r"was moved or renamed; put it back to p0/0{20}\.seg"):
        opened()


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
