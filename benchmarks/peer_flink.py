"""Flink SQL on the window job (see window_job.py): a whole Flink inside one Java process.

FlinkWindows.java reads the events as CSV, in streaming mode with a watermark 5 s behind, and
writes the windows as CSV. The jars are those of the package apache-flink-libraries, or of the
Flink in FLINK_HOME. Timed is Flink's own run time of the job, without starting Java and the
cluster but with parsing and writing CSV. The job runs twice in the same process; the second run
counts and is checked (`first_s` is the first, while Java still compiles). Exit code 3: a Java
development kit or the jars are not there.

    python benchmarks/peer_flink.py events.npz [parallelism]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from window_job import load, missing, report

RUNS = 2
CORES = str(len(os.sched_getaffinity(0)))
HEAP = "-Xmx2g"
OPEN = ("java.lang", "java.net", "java.io", "java.nio", "java.text", "java.time", "java.util")


def jars() -> str:
    """The class path of Flink."""
    if home := os.environ.get("FLINK_HOME"):
        folder = Path(home)
    else:
        spec = find_spec("pyflink")
        if spec is None or not spec.submodule_search_locations:
            missing("neither FLINK_HOME nor the package apache-flink-libraries is there")
        folder = Path(next(iter(spec.submodule_search_locations)))
    if shutil.which("javac") is None:
        missing("no Java development kit is installed")
    return f"{folder / 'lib'}/*"


def main(path: str, parallelism: str) -> None:
    """Run the job and report."""
    libraries = jars()
    arrays = load(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pl.DataFrame(arrays).select("user", "time", "dwell_ms").write_csv(
            folder / "events.csv", include_header=False
        )
        source = Path(__file__).with_name("FlinkWindows.java")
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPEN]
        options = [HEAP, f"-Djava.io.tmpdir={folder}", *opens, "-cp", libraries]
        arguments = [str(folder / "events.csv"), name, parallelism, str(RUNS)]
        command = ["java", *options, str(source), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        *seconds, peak = map(float, done.stdout.split("\n")[-2].split())
        found = pl.read_csv(
            [part for part in (folder / str(RUNS - 1)).iterdir() if part.is_file()],
            has_header=False,
            new_columns=["user", "end", "events", "dwell_ms"],
        )
    end = pl.col("end").str.to_datetime("%Y-%m-%d %H:%M:%S%.fZ", time_unit="us")
    found = found.with_columns(end.cast(pl.Int64))
    report(found, arrays, seconds[-1], peak, first_s=seconds[0], parallelism=int(parallelism))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else CORES)
