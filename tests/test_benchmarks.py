"""The benchmarks answer for their flags, and `--quick` prints one flat JSON object (slow)."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
NAMES = [
    "events",
    "evaluation",
    "movielens",
    "globo",
    "features",
    "as_of",
    "interest_speed",
    "interest",
    "interest_recipes",
    "fusion",
    "ranking",
    "drift",
    "pipeline",
    "door",
    "serving",
    "kills",
    "soak",
    "ctr",
    "causal",
    "policy",
    "policy_cycle",
    "off_policy_learning",
    "coat",
    "rules",
    "evidence",
    "off_policy",
    "interval_coverage",
]


def run(name, *flags):
    return subprocess.run(
        [sys.executable, str(HOME / "benchmarks" / f"{name}.py"), *flags],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_flags(name):
    shown = run(name, "--help")
    assert "--json" in shown
    assert "--quick" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_quick_is_flat_json(name, request):
    if name in {"globo", "fusion", "causal", "coat", "off_policy_learning"}:
        request.getfixturevalue("published")
    began = time.perf_counter()
    found = json.loads(run(name, "--quick", "--json"))
    assert time.perf_counter() - began < 100  # 50 s on an idle machine
    assert found["machine"]
    assert not any(isinstance(value, dict | list) for value in found.values())
