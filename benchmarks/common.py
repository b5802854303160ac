"""What every benchmark shares: the machine, peak memory, flags and output."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parent.parent / ".venv-peers" / "bin" / "python"


def machine() -> str:
    """CPU model, usable cores, memory and Python, as one line of text."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model or platform.machine()}, {len(os.sched_getaffinity(0))} cores, {gib:.0f} GiB, "
        f"Python {platform.python_version()}"
    )


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB.

    Linux's `ru_maxrss` also remembers the parent's size from before exec; `VmHWM` does not.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    own = [line for line in lines if line.startswith("VmHWM:")]
    kib = int(own[0].split()[1]) if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024


def seconds(work: Callable[[], Any], *, repeats: int = 1) -> tuple[float, Any]:
    """Shortest wall time of `repeats` runs, and what the last one returned."""
    best, answer = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        answer = work()
        best = min(best, time.perf_counter() - start)
    return best, answer


def core_ms() -> float:
    """Processor milliseconds of three million additions in plain Python: how fast a core is right now.

    A shared machine's changes by a factor of four within minutes, and every time with it.
    """
    began, total = time.thread_time(), 0
    for number in range(3_000_000):
        total += number
    return 1e3 * (time.thread_time() - began)


def in_fresh_process(
    script: str | Path, *arguments: str, python: str | Path = sys.executable
) -> dict[str, Any]:
    """Run a script in a process of its own and read the JSON object on its last line."""
    done = subprocess.run(
        [str(python), str(script), *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def parser(description: str | None) -> argparse.ArgumentParser:
    """Flags of every benchmark: `--json` and `--quick`."""
    flags = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    flags.add_argument("--json", action="store_true", help="one flat JSON object on stdout")
    flags.add_argument("--quick", action="store_true", help="a smaller run, under a minute")
    return flags


def emit(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a flat result, with the machine, as JSON or as a table."""
    result = {**result, "machine": machine()}
    if as_json:
        print(json.dumps(result))
        return
    width = max(map(len, result))
    for key, value in result.items():
        print(
            f"{key:<{width}}  {value:.4g}"
            if isinstance(value, float)
            else f"{key:<{width}}  {value}"
        )
