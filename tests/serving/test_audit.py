"""The audit log: any tampering shows, a kill costs nothing that was acknowledged."""

import json
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muma.errors import DataError, StoreError
from muma.serving.audit import START, AuditLog, Entry, Head


def filled(path, n=5):
    log = AuditLog(path)
    for k in range(n):
        log.append(Entry(f"key-{k}", "rules.put", k, before=str(k), after=str(k + 1)))
    return log


def test_entries_come_back(tmp_path):
    log = AuditLog(tmp_path / "deep" / "audit.jsonl")
    assert log.head() == log.verify() == Head(0, START)
    assert list(log.entries()) == []
    entries = [Entry("kéy", "a\nb", 3, "t", None, "ü", '"'), Entry("k", "x", -1)]
    heads = [log.append(entry) for entry in entries]
    assert list(log.entries()) == entries
    assert log.verify() == log.head() == heads[-1]
    assert [head.entries for head in heads] == [1, 2]
    assert (log.path.stat().st_mode & 0o777) == 0o600


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_shows(tmp_path, data):
    path = tmp_path / "audit.jsonl"
    path.unlink(missing_ok=True)
    log = filled(path)
    known = log.head()
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"line [1-6]"):
        log.verify(known=known)
    if at < raw.rfind(b"\n", 0, -1) - 1:  # but for the last line, without a kept head too
        with pytest.raises(StoreError, match=r"line [1-5]"):
            log.verify()


@pytest.mark.parametrize("change", ["drop", "double", "swap", "insert", "restart"])
def test_changed_lines_show(tmp_path, change):
    path = tmp_path / "audit.jsonl"
    log = filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    forged = json.loads(lines[1]) | {"who": "another"}
    changed = {
        "drop": lines[:1] + lines[2:],
        "double": [*lines[:2], *lines[1:]],
        "swap": [lines[0], lines[2], lines[1], *lines[3:]],
        "insert": [lines[0], json.dumps(forged).encode() + b"\n", *lines[1:]],
        "restart": lines[1:],
    }[change]
    path.write_bytes(b"".join(changed))
    with pytest.raises(StoreError, match="cannot be believed"):
        log.verify()


def test_lines_cut_off_show_by_a_kept_head(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = filled(path)
    known = log.head()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert log.verify().entries == 3
    with pytest.raises(StoreError, match="line 4: it is gone; there were 5 lines"):
        log.verify(known=known)
    log.append(Entry("k", "x", 1))
    log.append(Entry("k", "x", 1))
    with pytest.raises(StoreError, match="line 5: its hash is not the one"):
        log.verify(known=known)


def test_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = filled(path, 2)
    raw = path.read_bytes()
    first = raw.index(b"\n") + 1
    for cut in (1, first - 1, first, first + 1, len(raw) - 1):
        path.write_bytes(raw[:cut])
        whole = raw[:cut].count(b"\n")
        assert log.verify().entries == whole
        assert log.append(Entry("k", "x", 1)).entries == whole + 1
        assert [e.what for e in log.entries()] == ["rules.put"] * whole + ["x"]
        log.verify()


def test_too_long_or_damaged_adds_nothing(tmp_path):
    log = filled(tmp_path / "audit.jsonl", 1)
    with pytest.raises(DataError, match="allowed are"):
        log.append(Entry("k", "x" * 70_000, 1))
    assert log.verify().entries == 1
    log.path.write_bytes(log.path.read_bytes() + b"scribble\n")
    with pytest.raises(StoreError, match="last line is damaged"):
        log.append(Entry("k", "x", 1))
    with pytest.raises(StoreError, match="line 2: it is no entry"):
        log.verify()
    with pytest.raises(StoreError, match="line 2: it is no entry"):
        list(log.entries())


APPEND = """
import itertools, resource, sys
from muma.serving.audit import AuditLog, Entry
log = AuditLog(sys.argv[1])
if int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
for k in itertools.count():
    print(log.append(Entry("k", "x" * (k % 300), k)).entries, flush=True)
"""


def test_a_kill_loses_nothing_acknowledged(tmp_path):
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        command = [sys.executable, "-c", APPEND, str(path), "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = [process.stdout.readline()]
        time.sleep(0.1)
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        told = [int(line) for line in lines if line.endswith("\n")]
        assert AuditLog(path).verify().entries >= told[-1] > 0


def test_a_full_disk_adds_nothing(tmp_path):
    path = tmp_path / "audit.jsonl"
    command = [sys.executable, "-c", APPEND, str(path), "3000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "StoreError" in done.stderr
    assert "File too large" in done.stderr or "No space" in done.stderr
    assert AuditLog(path).verify().entries == int(done.stdout.split()[-1])


def test_several_writers_make_one_chain(tmp_path):
    def work(name):
        log = AuditLog(tmp_path / "audit.jsonl")
        for k in range(15):
            log.append(Entry(name, "x", k))

    threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = AuditLog(tmp_path / "audit.jsonl")
    assert log.verify().entries == 60
    mine = [e.time for e in log.entries() if e.who == "k2"]
    assert mine == list(range(15))
