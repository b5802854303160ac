"""The pipeline on a world whose truth is known: a chain that only the Markov model can see."""

import json

import numpy as np
import polars as pl
import pytest

from muma import artifact
from muma.app.config import AppConfig, read_recipe
from muma.app.evaluation import KIND, VERSION, evaluate_recipe
from muma.app.ingestion import prepare
from muma.app.models import Tuner
from muma.app.recommendation import Recommender
from muma.app.truth import tag_features, task_of
from muma.candidates.storage import artifact_within
from muma.config import build, locate, parse
from muma.errors import ArtifactError, ConfigError, DataError
from muma.evaluation.full_ranking import evaluate_lists
from muma.evaluation.metrics.ndcg import NDCG
from muma.events.interactions import Signal, interactions
from muma.events.log_folder import open_log
from muma.events.split import GlobalTime
from muma.testing.logs import tiny_log


def test_finds_the_chain_and_says_how_sure(small_recipe):
    config = read_recipe(small_recipe)
    report = evaluate_recipe(config)
    markov, popularity = report.models["markov"], report.models["popularity"]
    assert popularity.comparison is None
    assert markov.comparison.separable
    assert markov.comparison.p_holm < 0.01
    result = markov.views["all"]["ndcg@10"]
    assert result.low < result.value < result.high
    assert result.value > 1.3 * popularity.views["all"]["ndcg@10"].value
    assert popularity.parameters.keys() == {"half_life_days"}
    assert len(popularity.tried) == 2
    assert report.models["blend"].parameters.keys() == {"markov", "popularity"}
    assert sum(n for n, _, _ in report.parts.values()) == report.ingest["events"]["kept"] == 1000
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["baseline"] == "popularity"


def test_a_rerun_gives_the_same_numbers(small_recipe, tmp_path):
    first = evaluate_recipe(read_recipe(small_recipe)).as_json()
    elsewhere = read_recipe(small_recipe, overrides=[f"runs='{tmp_path}/other'"])
    again = evaluate_recipe(elsewhere).as_json()
    for report in (first, again):
        for model in report["models"].values():
            model.pop("seconds")
    assert first == again


def test_the_run_folder_says_what_it_rests_on(small_recipe):
    config = read_recipe(small_recipe)
    evaluate_recipe(config)
    run = artifact.read(config.folder / "results", kind=KIND, version=VERSION)
    assert run.meta["seed"] == 3
    assert run.meta["fingerprint"] == open_log(config.folder / "log").fingerprint
    assert run.meta["libraries"]["polars"] != "absent"
    assert run.config["candidates"]["models"]["knn"]["use"].endswith("ItemKNN")


def test_ingestion_is_reused_until_data_or_cleaning_change(small_recipe, tmp_path):
    config = read_recipe(small_recipe)
    folder = config.folder / "log"
    assert not prepare(config.events, folder).reused
    assert prepare(config.events, folder).reused
    log = tmp_path / "log.csv"
    log.write_text(log.read_text() + "u1,a1,1700000001,click\n")
    assert not prepare(config.events, folder).reused
    changed = read_recipe(small_recipe, overrides=["events.cleaning.bots.enabled=false"])
    assert not prepare(changed.events, folder).reused


def test_ids_keep_their_indices_when_a_log_grows(small_recipe, tmp_path):
    config = read_recipe(small_recipe)
    first = prepare(config.events, tmp_path / "first").log
    log = tmp_path / "log.csv"
    lines = log.read_text().splitlines()
    earliest = "zoe,a99,1600000000,click"  # would come first in a vocabulary of its own
    log.write_text("\n".join([lines[0], earliest, *lines[1:]]) + "\n")
    grown = prepare(config.events, tmp_path / "grown", ids_from=tmp_path / "first")
    fresh = prepare(config.events, tmp_path / "fresh").log
    assert grown.log.user_ids.ids[: first.n_users].equals(first.user_ids.ids)
    assert grown.log.item_ids.ids[: first.n_items].equals(first.item_ids.ids)
    assert grown.log.user_ids.decode([first.n_users]) == ["zoe"]
    assert fresh.user_ids.decode([0]) == ["zoe"]
    assert prepare(config.events, tmp_path / "grown", ids_from=tmp_path / "first").reused
    assert not prepare(config.events, tmp_path / "grown").reused


def test_nothing_before_the_test_window_depends_on_it(small_recipe, tmp_path):
    """Other clicks in the test window: same parameters, same validation, same lists before it."""
    config = read_recipe(small_recipe, overrides=["candidates.keep='all'"])
    first = evaluate_recipe(config)
    cut = first.parts["test"][1]
    lists = fitted_lists(config)
    log = tmp_path / "log.csv"
    header, *rows = log.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    late = [c for c in cells if int(c[2]) * 1_000_000 >= cut]
    assert len(late) > 50
    for cell in late:
        cell[1] = f"a{(int(cell[1][1:]) + 7) % 25}"
    log.write_text("\n".join([header, *(",".join(c) for c in cells)]) + "\n")
    second = evaluate_recipe(config)
    for name, model in second.models.items():
        assert model.tried == first.models[name].tried
        assert model.validation == first.models[name].validation
        assert dict(model.parameters) == dict(first.models[name].parameters)
    assert first.models["markov"].views["all"] != second.models["markov"].views["all"]
    for name, found in fitted_lists(config).items():
        np.testing.assert_array_equal(found, lists[name])


def fitted_lists(config):
    """Each kept model's lists with the history before the test window."""
    run = artifact.read(config.folder / "results", kind=KIND, version=VERSION)
    log = GlobalTime().split(open_log(config.folder / "log")).before_test
    users = np.arange(log.n_users)
    return {
        name: locate(use)
        .load(artifact_within(run, f"models/{name}"), log)
        .propose(users, 8)
        .item_BN
        for name, use in run.meta["models"].items()
    }


def test_a_blend_is_tuned_on_what_it_returns(small_recipe):
    """Items that only validation knows must not help; the tuner's value is the blend's own."""
    config = read_recipe(small_recipe)
    log = prepare(config.events, config.folder / "log").log
    split = GlobalTime().split(log)
    late = split.train.events.collect().filter(pl.col("item_id") < 15).lazy()  # 10 items unseen
    task = task_of(
        split.train.with_events(late), split.validation, target=Signal(), taken=Signal(),
        mask_seen=False,
    )  # fmt: skip
    tuner = Tuner(config, split.train.with_events(late), task, NDCG())
    for name in config.candidates.models:
        tuner.choose(name)
    chosen = tuner.chosen["blend"]
    again = build(chosen.spec).fit(split.train.with_events(late))
    found = again.propose(task.user_B, 10, exclude=task.exclude)
    value = evaluate_lists(found.item_BN, task.truth, metrics=[NDCG()]).per_user["ndcg@10"].mean()
    assert value == pytest.approx(chosen.value, abs=1e-12)
    assert found.item_BN.max() < 15


def test_gains_of_the_target_are_used():
    history = tiny_log({0: [0]}, n_items=5)
    later = tiny_log({0: [1, 2]}, n_items=5)
    target = Signal(kinds={"click": 3.0})
    task = task_of(history, later, target=target, taken=Signal(), mask_seen=True)
    assert task.truth.toarray().tolist() == [[0, 3, 3, 0, 0]]


def test_a_log_that_changed_is_not_served_with_old_models(small_recipe, tmp_path):
    config = read_recipe(small_recipe)
    evaluate_recipe(config)
    log = tmp_path / "log.csv"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], "u0,a99,1600000000,click", *lines[1:]]) + "\n")
    prepare(config.events, config.folder / "log")
    with pytest.raises(ArtifactError, match="not the one its models were fitted on"):
        Recommender(config)


def test_a_stopped_evaluation_leaves_the_previous_run_whole(small_recipe, monkeypatch):
    config = read_recipe(small_recipe)
    evaluate_recipe(config)
    before = Recommender(config).answer("u1").items
    changed = read_recipe(small_recipe, overrides=["candidates.models.markov.alpha=1.0"])

    def stopped(self, writer):
        raise KeyboardInterrupt

    for model in ("popularity.Popularity", "markov.Markov", "blend.Blend", "item_knn.ItemKNN"):
        monkeypatch.setattr(f"muma.candidates.{model}.save", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate_recipe(changed)
    assert Recommender(config).answer("u1").items == before
    with pytest.raises(ArtifactError, match="another version"):
        Recommender(changed)


def test_mistakes_cost_no_fitting(small_recipe, monkeypatch):
    """A wrong key in the last model, and a wrong column to normalise, show before any fit."""
    monkeypatch.setattr("muma.candidates.base.CatalogueModel.fit", None)
    for override in (
        "candidates.models.knn.shrnk=1",
        'events.normalise={nothing={use="muma.events.normalise.ZScore"}}',
        "candidates.models.blend.tune={markov=['x']}",
        'evaluation.metrics=["muma.evaluation.metrics.auc.AUC"]',
        "evaluation.primary='novelty@10'",
        'events.split={use="muma.candidates.ease.EASE"}',
        'candidates.models.knn={use="muma.evaluation.metrics.ndcg.NDCG"}',
        "evaluation.views=['warm_user']",
        "events.cleaning.fit_share=0.9",
        "name='..'",
    ):
        with pytest.raises((ConfigError, DataError)):
            evaluate_recipe(read_recipe(small_recipe, overrides=[override]))


def test_recommends_to_warm_and_unknown_users(small_recipe):
    config = read_recipe(small_recipe)
    report = evaluate_recipe(config)
    recommender = Recommender(config)
    warm = recommender.answer("u3", k=5)
    cold = recommender.answer("nobody", k=5)
    assert (warm.known, cold.known) == (True, False)
    assert warm.n_history > 0
    assert cold.n_history == 0
    for answer in (warm, cold):
        assert len({item.item for item in answer.items}) == 5
        assert all(item.title.startswith("Story") for item in answer.items)
        assert answer.model == report.served
    counts = interactions(recommender.log).counts
    popular = set(recommender.log.item_ids.decode(np.argsort(-counts)[:8]))
    assert len({item.item for item in cold.items} & popular) >= 3


def test_recommender_refuses_another_recipe(small_recipe):
    config = read_recipe(small_recipe)
    with pytest.raises(ArtifactError, match="not a MUMA artifact"):
        Recommender(config)
    evaluate_recipe(config)
    other = read_recipe(small_recipe, overrides=["seed=4"])
    with pytest.raises(ArtifactError, match="another version of this recipe"):
        Recommender(other)
    with pytest.raises(ConfigError, match="'ease' is not in the run"):
        Recommender(config, model="ease")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.primary='ndgc@10'", "not one of the recipe's per-user metrics"),
        ("evaluation.baseline='als'", "not among the models"),
        ("candidates.serve='als'", "not among the models"),
        ("candidates.models.blend.members=['knn','als']", "not models listed above"),
        ("evaluation.primery='x'", "did you mean 'primary'"),
        ("candidates.models.knn.neighbors=5", "did you mean 'neighbours'"),
        ("candidates.models.knn.use='muma.candidates.item_knn.ItemKnn'", "did you mean 'ItemKNN'"),
        ('events.split={use="muma.events.split.GlobalTime",train=0.9}', "leave something for test"),
        ("seed=-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(small_recipe, override, message):
    with pytest.raises(ConfigError, match=message):
        evaluate_recipe(read_recipe(small_recipe, overrides=[override]))


def test_task_masks_what_was_taken_and_counts_it():
    history = tiny_log({0: [0, 1], 1: [2]}, n_items=5)
    later = tiny_log({0: [1, 3], 1: [2]}, n_items=5)
    masked = task_of(history, later, target=Signal(), taken=Signal(), mask_seen=True)
    assert masked.user_B.tolist() == [0]
    assert masked.truth.toarray().tolist() == [[0, 0, 0, 1, 0]]
    assert masked.masked == 2
    assert masked.exclude.toarray().tolist() == [[True, True, False, False, False]]
    free = task_of(history, later, target=Signal(), taken=Signal(), mask_seen=False)
    assert free.user_B.tolist() == [0, 1]
    assert free.exclude is None
    with pytest.raises(DataError, match="no user has a relevant later event"):
        task_of(
            history, later, target=Signal(kinds={"follow": 1.0}), taken=Signal(), mask_seen=True
        )


def test_items_without_tags_have_no_features():
    assert tag_features(tiny_log({0: [0, 1]})) is None


def test_recipes_of_the_project_parse(home):
    from muma.config import load_recipe

    found = sorted((home / "recipes").glob("*.toml"))
    assert {p.stem for p in found} >= {"demo", "kuairand", "globo", "movielens"}
    for path in found:
        parse(AppConfig, load_recipe(path), where=path.name)
