"""The demo's last part on a small trained world: started, played to, stopped; a failed start is said."""

import json
import re

import pytest

from muma.app.config import read_recipe
from muma.cli.live import run_live
from muma.errors import ServiceError
from trained_support import trained


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return trained(tmp_path_factory)


def run(recipe, **more):
    config = read_recipe(recipe)
    options = {"user": "u1", "port": None, "speed": 20_000, "seconds": 3}
    run_live(config, str(recipe), [], **{**options, **more})
    return config


def test_the_service_answers_learns_and_stops(recipe, capsys):
    config = run(recipe)
    said = capsys.readouterr().out
    assert re.search(r"page: http://127.0.0.1:\d+/\?key=muma_", said)
    assert re.search(r"u1 watches \S+: \d+ ms later the features know it", said)
    counted = re.search(r"(\d[\d,]*) +[\d,]+ +\d+ +(\d+) +[\d.]+ +[\d.]+ +0", said)
    assert counted, said
    assert int(counted[1].replace(",", "")) > 10
    assert "stopped cleanly" in said
    keys = json.loads((config.folder / "keys.json").read_text())
    assert all(key["revoked_at"] is not None for key in keys["keys"])


def test_a_service_that_cannot_start_is_told_with_its_last_words(recipe):
    with pytest.raises(ServiceError, match="the service failed"):
        run(recipe, speed=-1)
