"""Recipes with a ranking can be served, and what serving needs of them adds no column."""

import pytest

from muma.app.config import read_recipe
from muma.app.service.checking import TRAINING, check
from muma.features.plan import Plan


def recipes(home):
    found = {path.stem: path for path in sorted((home / "recipes").glob("*.toml"))}
    ranked = {name: path for name, path in found.items() if read_recipe(path).ranking is not None}
    assert {"demo", "ranked", "globo"} <= set(ranked)
    return ranked


def test_nothing_is_wrong_with_them_but_that_they_are_not_trained(home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    for name, path in recipes(home).items():
        found = check(path, [f"runs={str(tmp_path)!r}"])
        data = [fault for fault in found if fault.where == "events.source"]
        if data and name != "demo":
            pytest.skip(f"no published data for {name}: {data[0].text}")
        assert {fault.where for fault in found} == {TRAINING}, name


def test_the_sequence_of_serving_adds_no_column(home):
    for name, path in recipes(home).items():
        config = read_recipe(path)
        features, history = config.features, config.serving.history
        others = {n: s for n, s in features.sequences.items() if n != history}
        without = features.model_copy(update={"sequences": others})
        assert Plan(without).columns == Plan(features).columns, name
        assert len(Plan(features).sequences) == len(others) + 1
        wanted = set(config.candidates.signal.kinds)
        where = Plan(features).filters[features.sequences[history].of]
        assert set(where.kinds) == wanted, name  # a service reads what the models learned from
