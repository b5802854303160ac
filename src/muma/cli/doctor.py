"""`muma doctor`: is this machine ready?"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from muma import __version__
from muma.artifact import library_versions
from muma.cli.demo import project_home
from muma.cli.terminal import Json, friendly, out, print_json
from muma.errors import ConfigError, MissingExtraError
from muma.optional import require

LIBRARIES = ("numpy", "scipy", "polars", "pyarrow", "dataframely", "pydantic", "typer", "rich")
EXTRAS = {"mf": "implicit", "plot": "matplotlib"}


@friendly
def doctor(json: Json = False) -> None:
    """Check Python, libraries, extras, memory, the bundled data and where runs are written.

    Exit code 2 when runs cannot be written here; a missing extra or data set is only said.

    Example: muma doctor --json

    Python: muma.cli.doctor.findings()
    """
    found = findings()
    failed = found["working folder"] != "ready"
    if json:
        print_json(found)
        raise typer.Exit(2 if failed else 0)
    table = Table(title="muma doctor", title_justify="left", show_header=False)
    for name, value in found.items():
        table.add_row(name, str(value))
    out.print(table)
    raise typer.Exit(2 if failed else 0)


def findings() -> dict[str, Any]:
    """What `doctor` prints, as plain data."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found: dict[str, Any] = {
        "muma": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(memory, 1),
        **library_versions(*LIBRARIES),
    }
    for extra, module in EXTRAS.items():
        found[f"extra {extra}"] = _said(
            lambda module=module, extra=extra: require(module, extra=extra)
        )
    found["bundled data"] = _said(project_home)
    found["working folder"] = _said(lambda: _writable(Path.cwd()))
    return found


def _said(check: Callable[[], Any]) -> str:
    try:
        result = check()
    except (MissingExtraError, ConfigError, OSError) as error:
        return f"missing: {error}"
    return str(result) if isinstance(result, Path) else "ready"


def _writable(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass
