"""`kill -9` of a real service under load: what was acknowledged is kept, and counted once."""

import sys
from pathlib import Path

import pytest

from muma.client.load.load import LoadConfig
from trained_support import trained

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from kills import WRONG, killed


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return trained(tmp_path_factory)


def kill(recipe, kills, seed):
    config = LoadConfig(
        rps=60, events_per_s=600, batch=20, seconds=60, warm_s=0, timeout_s=5, count=5
    )
    users, items = [f"u{n}" for n in range(24)], [f"a{n}" for n in range(24)]
    log = recipe.parent / "service.log"
    return killed(
        recipe, [], kills=kills, config=config, users=users, items=items, log=log, seed=seed
    )


def check(found, kills):
    assert {name: found[name] for name in WRONG} == dict.fromkeys(WRONG, 0), str(found)
    assert found["kills"] == kills
    assert found["events_acknowledged"] > 100 * kills
    assert found["users_counted"] > 0
    assert found["decisions_looked_for"] > 10 * kills


def test_two_kills(recipe):
    check(kill(recipe, 2, seed=1), 2)


@pytest.mark.slow
def test_twenty_kills(recipe):
    check(kill(recipe, 20, seed=2), 20)
