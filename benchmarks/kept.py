"""Kept results as text of the README's table."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent


def load(name: str) -> dict:
    """One benchmark's kept result."""
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def ratio(value: float | None, digits: int = 1) -> str:
    """A ratio, or that there was no peer."""
    return "not measured" if value is None else f"{value:.{digits}f}"


def difference(found: dict, key: str) -> str:
    """A paired difference with its interval."""
    return f"{found[key]:+.4f} [{found[key + '_low']:+.4f}, {found[key + '_high']:+.4f}]"
