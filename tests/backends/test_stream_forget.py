"""After forgetting, no file of a stream holds a byte of the user; readers and kills are no obstacle."""

import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from muma.backends import growing_ids, partition_writer, stream_forget
from muma.backends.segments import name_of
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.errors import StreamError, UnknownIdError
from muma.testing.stream_suite import blanked, rows
from stream_support import last_segment, streams

TIME, DWELL, ITEM = 0x0A1B2C3D4E5F60, 0x1D2C3B4A, "needle-item"


@pytest.fixture
def opened(tmp_path):
    with streams(tmp_path) as make:
        yield make


def frame(users, at=0):
    """Events whose every value of the user "needle-user" can be found in the bytes."""
    n = len(users)
    mine = [u == "needle-user" for u in users]
    return pl.DataFrame({
        "user_id": users,
        "item_id": [f"i{k % 5}" for k in range(n)],
        "kind": ["click"] * n,
        "timestamp": [TIME if m else at + k for k, m in enumerate(mine)],
        "dwell_ms": [DWELL if m else k for k, m in enumerate(mine)],
        "request_id": ["needle-request" if m else f"r{k}" for k, m in enumerate(mine)],
        "value": [1234.56789 if m else 0.5 for m in mine],
        "ctx_place": ["needle-place" if m else "home" for m in mine],
    }, schema_overrides={"timestamp": pl.Int64, "dwell_ms": pl.Int32})  # fmt: skip


NEEDLES = [
    b"needle", TIME.to_bytes(8, "little"), DWELL.to_bytes(4, "little"), np.float64(1234.56789).tobytes(),
]  # fmt: skip


def found(folder):
    raw = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [needle for needle in NEEDLES if needle in raw]


def filled(stream, turns=6):
    for turn in range(turns):
        users = [f"u{k % 9}" for k in range(4000)]
        if turn % 2:
            users[7::500] = ["needle-user"] * len(users[7::500])
        stream.append(frame(users, at=turn * 10_000), received_at=turn)
    return stream


def test_no_file_holds_what_was_forgotten(opened, tmp_path):
    stream = filled(opened(partitions=2, segment_mib=1), turns=20)
    files = {p: p.read_bytes() for p in (tmp_path / "s").rglob("*.seg")}
    assert len(files) > 3
    assert found(tmp_path) == NEEDLES
    index = stream.user_ids.encode(["needle-user"])[0]
    whole = {p: rows(stream, p, limit=10_000) for p in stream.ends()}
    assert stream.forget(index) == 10 * 8
    assert found(tmp_path) == []
    for p, before in whole.items():
        assert_frame_equal(rows(stream, p, limit=10_000), blanked(before, index))
    for path, raw in files.items():  # nothing of the others is written anew
        if path.parent.name != f"p{index % 2}":
            assert path.read_bytes() == raw
    stream.append(frame(["u1", "u2", "new"]), received_at=99)
    stream.close()
    again = opened(partitions=2)
    for p, before in whole.items():
        assert_frame_equal(rows(again, p, limit=10_000).head(before.height), blanked(before, index))
    assert sum(again.ends().values()) == 80_003


READ = """
import sys
from muma.backends.stream_file import FileStream, FileStreamConfig
stream = FileStream(FileStreamConfig(path=sys.argv[1], readonly=True))
for line in sys.stdin:
    known, blank = stream.user_ids.ids, 0
    for p in range(stream.partitions):
        at = 0
        while (batch := stream.read(p, at, limit=999)) is not None:
            blank += batch.frame.get_column("user_id").null_count()
            stream.user_ids.decode(batch.frame.get_column("user_id").drop_nulls())
            at = batch.next_offset
    print(len(known), "needle-user" in known.to_list(), blank, flush=True)
"""


def test_readers_in_other_processes_see_it(opened, tmp_path):
    stream = filled(opened(partitions=2, segment_mib=1))
    command = [sys.executable, "-c", READ, str(tmp_path / "s")]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask():
        reader.stdin.write("?\n")
        reader.stdin.flush()
        return reader.stdout.readline().strip()

    assert ask() == "10 True 0"
    stream.forget(stream.user_ids.encode(["needle-user"])[0])
    assert ask() == "10 False 24"
    stream.append(frame(["needle-user", "x"]), received_at=9)
    assert ask() == "12 True 24"
    reader.kill()
    reader.wait()


def test_appends_go_on_meanwhile(opened):
    stream = filled(opened(partitions=2))
    index = stream.user_ids.encode(["needle-user"])[0]
    before, stop = sum(stream.ends().values()), threading.Event()
    added = []

    def append():
        while not stop.is_set():
            stream.append(frame(["u1", "u2", "u3"]), received_at=100)
            added.append(3)

    threads = [threading.Thread(target=append) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        blank = [stream.forget(one) for one in (index, 0, 1, index)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert blank[0] == 24
    assert blank[3] == 0
    assert sum(stream.ends().values()) == before + sum(added)
    for p in range(2):
        rows(stream, p, limit=10_000)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", range(1, 13))
def test_a_kill_at_any_step_can_be_gone_on_from(opened, tmp_path, monkeypatch, at):
    stream = filled(opened(partitions=2, segment_mib=1))
    index = stream.user_ids.encode(["needle-user"])[0]
    whole = {p: rows(stream, p, limit=10_000) for p in stream.ends()}
    left = [at]

    def dying(call):
        def step(*arguments, **options):
            left[0] -= 1
            if left[0] <= 0:  # from here on, nothing reaches the disk
                raise Killed
            return call(*arguments, **options)

        return step

    with monkeypatch.context() as patched:
        for module in (growing_ids, stream_forget):
            for name in ("write_all", "sync_folder"):
                patched.setattr(module, name, dying(getattr(module, name)))
        for name in ("replace", "unlink"):
            patched.setattr(stream_forget.Path, name, dying(getattr(stream_forget.Path, name)))
        patched.setattr(partition_writer.os, "fsync", dying(partition_writer.os.fsync))
        with suppress(Killed):
            stream.forget(index)
    with suppress(BaseException):
        stream.close()
    again = opened(partitions=2, segment_mib=1)
    for p, before in whole.items():  # some are blanked, none is lost
        now = rows(again, p, limit=10_000)
        gone = now.get_column("user_id").is_null()
        assert_frame_equal(now.filter(~gone), before.filter(~gone))
    again.forget(index)
    assert found(tmp_path) == []
    for p, before in whole.items():
        assert_frame_equal(rows(again, p, limit=10_000), blanked(before, index))


def test_damage_is_said_and_the_file_stays(opened, tmp_path):
    stream = filled(opened(partitions=1, segment_mib=1), turns=12)
    path = tmp_path / "s" / "p0" / name_of(0)
    assert path != last_segment(tmp_path / "s")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(StreamError, match="damaged"):
        stream.forget(stream.user_ids.encode(["needle-user"])[0])
    assert path.read_bytes() == raw
    assert not list(path.parent.glob(".*"))


def test_refusals(opened, tmp_path):
    stream = opened(partitions=1)
    with pytest.raises(StreamError, match="no user has the index 0"):
        stream.forget(0)
    stream.append(frame(["a"]), received_at=1)
    with pytest.raises(StreamError, match="no user has the index 1"):
        stream.forget(1)
    reader = FileStream(FileStreamConfig(path=str(tmp_path / "s"), readonly=True))
    with pytest.raises(StreamError, match="reading only"):
        reader.forget(0)
    reader.close()
    stream.forget(0)
    with pytest.raises(UnknownIdError):
        stream.user_ids.encode(["a"])
