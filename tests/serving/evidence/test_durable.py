"""What is durable stays: through kills, torn tails, damage, full disks and other processes."""

import errno
import os
import shutil
import threading
import time

import pytest

from evidence_support import opened, requests, start
from muma.errors import StoreError
from muma.serving.evidence import series
from muma.serving.evidence.frames import HEAD_BYTES, frames
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.segments import BEGIN, Index, listed
from muma.testing.evidence_suite import same, small


def fill(folder, n, **settings):
    log = opened(folder, worker=0, **settings)
    for k in range(n):
        log.put(small(f"r{k}", time=k))
        log.flush()
    log.close()


def kill_once(folder, worker, after):
    """Let a writer run for a moment, kill it; returns the last number that it called durable."""
    process = start(folder, worker)
    lines = [process.stdout.readline()]
    time.sleep(after)
    process.kill()
    lines += process.stdout.readlines()
    process.wait()
    told = [line.split() for line in lines if line.endswith("\n")]
    assert all(words[2:] == ["0", "None"] for words in told)
    return int(told[-1][1])


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_kill_loses_nothing_durable(tmp_path, rounds):
    for turn in range(rounds):
        durable = kill_once(tmp_path, 0, 0.15 + 0.02 * turn)
        log = opened(tmp_path, worker=0)
        kept = requests(log)
        assert kept == [f"0-{k}" for k in range(len(kept))]  # no gap, none twice
        assert len(kept) > durable
        got = log.get(f"0-{durable}")
        assert same(got, small(f"0-{durable}", time=durable, user=f"u{durable % 5}"))
        log.close()


def test_workers_do_not_disturb_each_other(tmp_path):
    processes = [start(tmp_path, worker) for worker in range(2)]
    reader = EvidenceReader(tmp_path)
    for process in processes * 3:
        assert process.stdout.readline().startswith("durable")
    assert reader.get("0-0") is not None  # while they write
    assert reader.get("1-0") is not None
    for process in processes:
        process.kill()
        process.wait()
    kept = requests(reader)
    for worker in range(2):
        mine = [name for name in kept if name.startswith(f"{worker}-")]
        assert mine == [f"{worker}-{k}" for k in range(len(mine))]
        assert all(reader.get(name) is not None for name in mine[::9])


def test_a_series_has_one_writer(tmp_path):
    log = opened(tmp_path, worker=3)
    with pytest.raises(StoreError, match="worker 3 is being written"):
        opened(tmp_path, worker=3)
    others = [opened(tmp_path) for _ in range(2)]
    for k, each in enumerate((log, *others)):
        each.put(small(f"r{k}"))
        each.close()
    assert {p.worker for p in listed(tmp_path)} == {0, 1, 3}


def test_every_torn_tail_is_cut_off(tmp_path):
    fill(tmp_path / "whole", 3)
    (place,) = listed(tmp_path / "whole")
    raw = place.data(tmp_path / "whole").read_bytes()
    ends = [frame.end for frame in frames(raw, BEGIN)]
    cuts = [0, 5, BEGIN, BEGIN + 3, BEGIN + HEAD_BYTES, *ends, *(end - 1 for end in ends)]
    for cut in cuts:
        for tail in (b"", bytes(64)):
            folder = tmp_path / f"torn-{cut}-{len(tail)}"
            shutil.copytree(tmp_path / "whole", folder)
            place.data(folder).write_bytes(raw[:cut] + tail)
            whole = [f"r{k}" for k, end in enumerate(ends) if end <= cut]
            assert requests(EvidenceReader(folder)) == whole
            log = opened(folder, worker=0)
            log.put(small("after"))
            log.flush()
            assert requests(log) == [*whole, "after"]
            assert log.get("after") is not None
            log.close()


def test_damage_costs_its_own_record_only(tmp_path):
    fill(tmp_path, 5)
    (place,) = listed(tmp_path)
    path = place.data(tmp_path)
    raw = bytearray(path.read_bytes())
    middle = list(frames(bytes(raw), BEGIN))[2]
    raw[middle.begin + 5] ^= 1
    path.write_bytes(raw)
    log = opened(tmp_path, worker=0)
    log.put(small("r5", time=5))
    log.flush()
    assert requests(log) == ["r0", "r1", "r3", "r4", "r5"]
    assert log.get("r2") is None
    log.close()


def test_something_else_is_not_touched(tmp_path):
    path = tmp_path / "worker-000-0000000001.evd"
    path.write_bytes(b"precious words of somebody")
    with pytest.raises(StoreError, match="no segment of evidence"):
        opened(tmp_path, worker=0)
    assert path.read_bytes() == b"precious words of somebody"
    path.write_bytes(b"MUMAEVD\n\2\0\0\0\0\0\0\0")
    with pytest.raises(StoreError, match="format 2; this version reads 1"):
        opened(tmp_path, worker=0)


@pytest.mark.parametrize("harm", ["missing", "cut", "scribbled", "of another"])
def test_an_index_is_made_anew(tmp_path, harm):
    fill(tmp_path, 40, segment_mib=0.005)
    sealed = [p for p in listed(tmp_path) if p.index(tmp_path).exists()]
    assert len(sealed) > 2
    path = sealed[0].index(tmp_path)
    raw = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "of another":
        path.write_bytes(sealed[1].index(tmp_path).read_bytes()[:20] + raw[20:])
    else:
        path.write_bytes(raw[:-3] if harm == "cut" else raw[:-3] + b"abc")
    reader = EvidenceReader(tmp_path)
    assert all(reader.get(f"r{k}") is not None for k in range(40))
    assert requests(reader) == [f"r{k}" for k in range(40)]
    assert Index.load(tmp_path, sealed[0]) is None
    assert Index.load(tmp_path, sealed[1]) is not None
    data = sealed[1].data(tmp_path)
    data.write_bytes(data.read_bytes()[:12] + b"\1" + data.read_bytes()[13:])  # another generation
    assert Index.load(tmp_path, sealed[1]) is None


def test_a_full_disk_loses_the_new_and_keeps_the_old(tmp_path):
    process = start(tmp_path, largest=20_000)
    told = []
    for line in process.stdout:
        told.append(line.split(maxsplit=3))
        if told[-1][3].strip() != "None":
            break
    process.kill()
    process.wait()
    assert "File too large" in told[-1][3]
    assert int(told[-1][2]) > 0
    kept = requests(EvidenceReader(tmp_path))
    sound = [int(words[1]) for words in told if words[2] == "0"]
    assert len(kept) > sound[-1]
    assert kept == [f"0-{k}" for k in range(len(kept))]


def test_it_recovers_when_there_is_room_again(tmp_path, monkeypatch):
    log = opened(tmp_path)
    log.put(small("before"))
    log.flush()
    write = os.pwrite

    def half(fd, raw, at):
        write(fd, bytes(raw)[: len(raw) // 2], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(series.os, "pwrite", half)
        for k in range(3):
            assert log.put(small(f"lost-{k}"))
            log.flush()
        stats = log.stats()
        assert (stats.lost, stats.failing) == (3, "No space left on device")
    log.put(small("after"))
    log.flush()
    stats = log.stats()
    assert (stats.put, stats.durable, stats.lost, stats.failing) == (5, 2, 3, None)
    assert requests(log) == ["before", "after"]
    log.close()


def test_a_sync_that_fails_is_a_loss(tmp_path, monkeypatch):
    log = opened(tmp_path, commit_ms=5)
    log.put(small("before"))
    log.flush()

    def refuse(fd):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(series.os, "fdatasync", refuse)
        log.put(small("lost"))
        log.flush()
        assert log.stats().lost == 1
        assert log.stats().failing == "Input/output error"
    log.put(small("after"))
    log.flush()
    assert (log.stats().durable, log.stats().failing) == (2, None)
    assert {"before", "after"} <= set(requests(log))
    log.close()


def test_a_slow_disk_never_blocks_the_caller(tmp_path, monkeypatch):
    log = opened(tmp_path, queue_mib=0.2, commit_ms=0)
    gate, sync = threading.Event(), os.fdatasync
    monkeypatch.setattr(series.os, "fdatasync", lambda fd: (gate.wait(10), sync(fd)))
    began = time.monotonic()
    taken = [log.put(small(f"r{k}", time=k)) for k in range(2000)]
    assert time.monotonic() - began < 2
    lost = taken.count(False)
    assert 0 < lost == log.stats().lost
    assert log.stats().failing == "too much is waiting to be written"
    gate.set()
    log.flush()
    stats = log.stats()
    assert stats.durable == 2000 - lost
    assert stats.failing is None
    assert len(requests(log)) == stats.durable
    log.close()


def test_a_commit_is_in_time(tmp_path):
    log = opened(tmp_path, commit_ms=20)
    for k in range(20):
        log.put(small(f"r{k}"))
        time.sleep(0.01)
    time.sleep(0.2)
    stats = log.stats()  # without a flush
    assert (stats.durable, stats.waiting) == (20, 0)
    assert stats.slowest_us >= 1
    log.close()


def test_old_files_go_by_age_and_by_size(tmp_path):
    day = 86_400_000_000
    now = 100 * day
    log = opened(tmp_path, worker=0, segment_mib=0.005, keep_days=None)
    for k in range(60):
        log.put(small(f"r{k}", time=now - (60 - k) * day))
        log.flush()
    log.close()
    before = listed(tmp_path)
    open_one = before[-1]
    log = opened(tmp_path, worker=0, keep_days=30)
    assert log.retain() == 0  # no clock
    log.close()
    config = log.config.model_copy(update={"keep_days": 30.0})
    log = type(log)(config, clock=lambda: now)
    gone = log.retain()
    assert 0 < gone < len(before)
    kept = requests(log)
    assert kept[-30:] == [f"r{k}" for k in range(30, 60)]
    assert len(kept) < 40  # whole files only
    assert log.get("r0") is None
    assert log.get("r59") is not None
    log.close()
    log = opened(tmp_path, worker=0, keep_days=None, keep_gib=1e-9)
    log.retain()
    assert listed(tmp_path) == [open_one]  # what is written is never removed
    assert sorted(p.suffix for p in tmp_path.glob("worker-000-*")) == [".evd"]
    log.close()


def test_a_reader_of_nothing(tmp_path):
    reader = EvidenceReader(tmp_path / "none")
    assert reader.get("r") is None
    assert requests(reader) == []
