"""An ingest that is killed, crowded out or short of disk leaves the previous log whole."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time

import polars as pl
import pytest

from muma import artifact
from muma.errors import ArtifactError
from muma.events import ingest as ingest_module
from muma.events.ingest import ingest
from muma.events.log_folder import KIND, VERSION, open_log

# argv: source file, output, "" or the name of a commit step to die at, largest file in bytes or 0
INGEST = """
import os, resource, signal, sys
from pathlib import Path
from muma.errors import MumaError
from muma.events.ingest import ingest
from muma.events.sources.files import Files, FilesConfig

source, output, step, largest = sys.argv[1:5]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

from muma import artifact
if step == "before rename":
    Path.rename = die
elif step == "before commit":
    Path.replace = die
elif step == "after commit":
    real = artifact.shutil.rmtree
    artifact.shutil.rmtree = lambda p, **k: die() if "data-" in str(p) else real(p, **k)
if int(largest):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
columns = {"user_id": "user", "item_id": "item", "timestamp": "ts", "dwell_ms": "dwell"}
table = {"files": [source], "columns": columns, "time_unit": "s",
         "constants": {"domain": "news", "kind": "click"}}
print("ready", flush=True)
try:
    ingest(Files(FilesConfig.model_validate({"events": table})), output, rows_in_memory=20_000)
except MumaError as error:
    print(type(error).__name__, error)
    sys.exit(2)
"""
KILLS = [
    pytest.param(k, marks=() if k < 8 else pytest.mark.slow, id=f"kill {k}") for k in range(40)
]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A source of 120,000 events out of order, and how long its ingest takes."""
    folder = tmp_path_factory.mktemp("crowd")
    n = 120_000
    at = pl.int_range(n, eager=True)
    frame = pl.DataFrame(
        {
            "user": "u" + (at * 7919 % 5000).cast(pl.String),
            "item": "i" + (at % 997).cast(pl.String),
            "ts": 1_700_000_000 + at * 104_729 % 1_000_003,
            "dwell": 1000 + at % 500,
        }
    )
    frame.write_csv(folder / "source.csv")
    process = start(folder / "source.csv", folder / "timed")
    begin = time.perf_counter()
    assert process.wait(60) == 0
    return folder / "source.csv", time.perf_counter() - begin


def start(source, output, step="", largest=0):
    command = [sys.executable, "-c", INGEST, str(source), str(output), step, str(largest)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def check_leftovers(output):
    manifest = artifact.read(output, kind=KIND, version=VERSION)
    names = {entry.name for entry in output.iterdir()}
    assert names == {artifact.MANIFEST, ".lock", manifest.root.name}


@pytest.mark.parametrize("number", KILLS)
def test_killed_at_a_random_moment(number, crowd, log_at, tree, tmp_path, files_source, good_csv):
    source, duration = crowd
    output = log_at(n=50)
    before = open_log(output, verify=True).fingerprint
    process = start(source, output)
    time.sleep(random.Random(number).uniform(0.02, duration))
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    left = open_log(output, verify=True)
    if left.fingerprint != before:  # the kill came after the commit
        assert left.events.select(pl.len()).collect().item() == 120_000
    (tmp_path / "next.csv").write_bytes(good_csv(7))
    ingest(files_source(tmp_path / "next.csv"), output)
    assert open_log(output, verify=True).events.collect().height == 7
    check_leftovers(output)


@pytest.mark.parametrize("step", ["before rename", "before commit", "after commit"])
def test_killed_inside_the_commit(step, log_at, tmp_path, files_source, good_csv):
    output = log_at(n=50)
    (tmp_path / "next.csv").write_bytes(good_csv(7))
    process = start(tmp_path / "next.csv", output, step)
    assert process.wait(30) == -signal.SIGKILL
    height = open_log(output, verify=True).events.collect().height
    assert height == (7 if step == "after commit" else 50)
    (tmp_path / "more.csv").write_bytes(good_csv(9))
    ingest(files_source(tmp_path / "more.csv"), output)
    assert open_log(output, verify=True).events.collect().height == 9
    check_leftovers(output)


def test_killed_in_a_new_folder(crowd, tmp_path, files_source, good_csv):
    process = start(crowd[0], tmp_path / "new")
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    (tmp_path / "next.csv").write_bytes(good_csv(7))
    ingest(files_source(tmp_path / "next.csv"), tmp_path / "new")
    check_leftovers(tmp_path / "new")


def test_a_second_writer_is_turned_away(log_at, tmp_path, files_source, good_csv):
    output = log_at()
    entered, leave = threading.Event(), threading.Event()
    (tmp_path / "next.csv").write_bytes(good_csv(7))
    first, second = files_source(tmp_path / "next.csv"), files_source(tmp_path / "next.csv")

    class Slow:
        files = first.files

        def batches(self, after=None):
            entered.set()
            leave.wait(20)
            yield from first.batches(after)

    thread = threading.Thread(target=ingest, args=(Slow(), output))
    thread.start()
    assert entered.wait(20)
    try:
        with pytest.raises(ArtifactError, match="being written by another process"):
            ingest(second, output)
    finally:
        leave.set()
        thread.join()
    assert open_log(output, verify=True).events.collect().height == 7


@pytest.mark.parametrize("largest", [20_000, 500_000])  # while spilling; while writing the parts
def test_full_disk(largest, crowd, log_at, tree):
    output = log_at()
    before = tree(output)
    process = start(crowd[0], output, largest=largest)
    assert process.stdout is not None
    text = process.stdout.read()
    assert process.wait(30) == 2
    assert text.startswith(f"ArtifactError {output} cannot be written: File too large")
    assert tree(output) == before


def test_no_space_left(log_at, tree, files_source, tmp_path, good_csv, monkeypatch):
    output = log_at()
    before = tree(output)
    (tmp_path / "next.csv").write_bytes(good_csv(7))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ingest_module.Vocabulary, "save", full)
    with pytest.raises(ArtifactError, match=r"No space left on device.*is unchanged"):
        ingest(files_source(tmp_path / "next.csv"), output)
    assert tree(output) == before
    with pytest.raises(ArtifactError, match="No space left"):
        ingest(files_source(tmp_path / "next.csv"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
