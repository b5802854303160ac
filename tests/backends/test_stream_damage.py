"""The embedded stream under kills, full disks and damage: nothing acknowledged is lost."""

import os
import random
import signal
import time

import polars as pl
import pytest

from muma.backends import blocks, partition_writer
from muma.backends.segments import name_of
from muma.backends.stream_file import FileStream
from muma.errors import StreamError
from muma.testing.stream_suite import events, rows, told
from stream_support import block_starts, last_segment, start, streams, three_blocks, times

KILLS = [
    pytest.param(k, marks=() if k < 5 else pytest.mark.slow, id=f"kill {k}") for k in range(35)
]


@pytest.fixture
def opened(tmp_path):
    with streams(tmp_path) as make:
        yield make


@pytest.fixture
def small(opened, tmp_path):
    return three_blocks(opened, tmp_path)


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
@pytest.mark.parametrize("rolls", [False, True])
def test_it_goes_on_when_there_is_room_again(step, fails_at, rolls, opened, tmp_path, monkeypatch):
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

    more = events([f"v{k}" for k in range(30)], start=30)
    if rolls:
        more = more.with_columns(ctx_a=pl.lit(1))
    with monkeypatch.context() as patch:
        patch.setattr(module, step, sometimes)
        try:
            stream.append(more, received_at=2)
        except StreamError as error:
            assert "not appended (No space left on device)" in str(error)  # noqa: PT017
            assert all(rows(stream, p).equals(before[p], null_equal=True) for p in range(3))
            now = {p: p.stat().st_size for p in (tmp_path / "s").rglob("*.seg")}
            assert now == {p: size for p, size in files.items() if p.suffix == ".seg"}
            if step == "write_all":
                now = {p: p.stat().st_size for p in (tmp_path / "s").rglob("*.ids")}
                assert now.items() <= files.items()
                assert len(stream.user_ids) == 30
            stream.append(more, received_at=2)
    assert failed == (
        fails_at <= (3 + 3 * rolls if step == "write_all" else 3 + (step == "fdatasync"))
    )
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
