"""The parameter search: seeded, pruned, resumable, within its budget."""

import polars as pl
import pytest

from muma.config import Spec, build
from muma.errors import ConfigError
from muma.ranking.calibration import log_loss
from muma.ranking.search import Range, SearchConfig, search
from muma.testing.engine_suite import engine_examples

SPEC = Spec(use="muma.ranking.engines.lightgbm.LightGBMEngine", trees=12)
SPACE = {
    "learning_rate": Range(low=0.01, high=0.5, log=True),
    "leaves": Range(low=2, high=32, whole=True),
}


def config(**changes):
    return SearchConfig(**{"trials": 12, "startup": 3, "space": SPACE, "rungs": 3, **changes})


@pytest.fixture(scope="module")
def folds():
    return engine_examples(1, 800), engine_examples(2, 800)


def test_finds_a_better_engine_than_the_worst_and_tells_the_truth(folds):
    found = search(SPEC, *folds, config())
    complete = found.trials.filter(pl.col("state") == "complete")
    assert found.trials.height == 12
    assert found.trials["state"].is_in(["pruned"]).any()
    assert found.loss == complete["loss"].min()
    assert found.loss < complete["loss"].max()
    engine = build(found.spec).fit(folds[0])
    assert engine.config.trees == 12
    again = log_loss(engine.margin(folds[1].value_NF), folds[1].label_N).mean()
    assert again == pytest.approx(found.loss, abs=0.02)  # grown in rungs, not in one go


def test_same_seed_same_trials(folds):
    one, two = (search(SPEC, *folds, config(trials=5)) for _ in range(2))
    assert one.trials.drop("seconds").equals(two.trials.drop("seconds"))
    other = search(SPEC, *folds, config(trials=5, seed=1))
    assert (one.trials["learning_rate"] != other.trials["learning_rate"]).any()


def test_goes_on_from_its_folder(folds, tmp_path):
    first = search(SPEC, *folds, config(trials=3), folder=tmp_path)
    whole = search(SPEC, *folds, config(trials=5), folder=tmp_path)
    assert whole.trials.height == 5
    assert whole.trials.head(3).drop("seconds").equals(first.trials.drop("seconds"))
    assert search(SPEC, *folds, config(trials=5), folder=tmp_path).trials.equals(whole.trials)
    with pytest.raises(ConfigError, match="another search"):
        search(SPEC, *folds, config(seed=9), folder=tmp_path)


def test_budget_of_time(folds):
    found = search(SPEC, *folds, config(trials=10_000, seconds=0.3))
    assert 1 <= found.trials.height < 200


def test_rank_loss_is_judged_by_order(folds):
    spec = Spec(use=SPEC.use, trees=6, objective="lambdarank")
    assert 0 < search(spec, *folds, config(trials=3)).loss < 0.5


def test_unknown_parameter(folds):
    with pytest.raises(ConfigError, match="leafs"):
        search(SPEC, *folds, config(space={"leafs": Range(low=1, high=2)}))
