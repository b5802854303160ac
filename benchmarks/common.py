"""What the benchmarks share: the machine's description and how results are printed."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any


def machine() -> str:
    """Processor, usable cores, memory and Python of this machine, in one line."""
    model = platform.processor() or "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def emit(result: dict[str, Any], *, as_json: bool) -> None:
    """Print a flat result, as one JSON object or as a readable list."""
    if as_json:
        print(json.dumps(result))
        return
    width = max(map(len, result))
    for key, value in result.items():
        print(
            f"{key:<{width}}  {value:,}"
            if isinstance(value, int | float)
            else f"{key:<{width}}  {value}"
        )
