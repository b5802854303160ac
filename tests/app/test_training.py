"""Training on a feed whose truth is known: stages, time, labels, verdicts."""

import numpy as np
import pytest

from muma.app.config import read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.app.folds import Fold
from muma.app.judged import impressions
from muma.app.judgement import judge_training
from muma.app.ranking_evaluation import PIPELINE
from muma.app.training import train_recipe
from muma.errors import ConfigError, DataError
from muma.events.interactions import Signal
from muma.testing.logs import log_of
from ranked_support import feed_rows, write_feed

ALL = ("rows", "sources", "features", "rankers")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_feed(tmp_path_factory.mktemp("feed"))


@pytest.fixture(scope="module")
def trained(place):
    return train_recipe(read_recipe(place))


def test_a_second_run_reuses_every_stage(place, trained):
    again = train_recipe(read_recipe(place))
    assert trained.reused == ()
    assert again.reused == ALL
    for table, matrix in trained.matrices.items():
        np.testing.assert_array_equal(matrix.value_NF, again.matrices[table].value_NF)
        value_NF = np.ascontiguousarray(matrix.value_NF[:200])
        np.testing.assert_allclose(
            trained.rankers[table].score(value_NF), again.rankers[table].score(value_NF), atol=1e-6
        )


def test_weights_of_labels_refit_rankers_only(place, trained):
    del trained
    other = ["ranking.labels.long_view.weight=2.0"]
    changed = train_recipe(read_recipe(place, overrides=other))
    assert changed.reused == ("rows", "sources", "features")
    ranker, matrix = changed.rankers["impressions"], changed.matrices["impressions"]
    value_NF = np.ascontiguousarray(matrix.value_NF[:50])
    margins = {label: pair.margin(value_NF) for label, pair in ranker.pairs.items()}
    np.testing.assert_allclose(
        ranker.score(value_NF), margins["click"] + 2.0 * margins["long_view"], atol=1e-9
    )
    train_recipe(read_recipe(place))  # as the other tests expect it


@pytest.mark.parametrize("stage", ["_features", "fit_rankers"])
def test_a_stopped_training_goes_on(place, trained, tmp_path, monkeypatch, stage):
    config = read_recipe(place, overrides=[f"runs='{tmp_path}'"])

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"muma.app.training.{stage}", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_recipe(config)
    resumed = train_recipe(config)
    assert resumed.reused == ALL[: 2 if stage == "_features" else 3]
    for table, matrix in trained.matrices.items():
        np.testing.assert_array_equal(matrix.value_NF, resumed.matrices[table].value_NF)


def test_a_damaged_stage_is_made_again(place, tmp_path):
    config = read_recipe(place, overrides=[f"runs='{tmp_path}'"])
    train_recipe(config)
    (arrays,) = (config.folder / "ranking" / "features").glob("data-*/arrays.npz")
    arrays.write_bytes(arrays.read_bytes()[:-10])
    assert train_recipe(config).reused == ("rows", "sources", "rankers")


@pytest.mark.parametrize("number", [1, 3, 5])
def test_no_score_depends_on_what_came_after_it_was_known(tmp_path, number):
    """Two logs that differ only from the begin of a fold on: other kinds of acts."""
    rows = feed_rows()
    before = train_recipe(read_recipe(write_feed(tmp_path / "a", rows)))
    cut = before.folds[number].known_before
    turned = {"click": "long_view", "long_view": "click"}
    late = [
        (*row[:3], turned.get(row[3], row[3]), row[4]) if row[2] * 1_000_000 >= cut else row
        for row in rows
    ]
    after = train_recipe(read_recipe(write_feed(tmp_path / "b", late)))
    assert before.folds == after.folds
    one, two = before.matrices["impressions"], after.matrices["impressions"]
    np.testing.assert_array_equal(one.rows.at_N, two.rows.at_N)
    scores = [at for at, name in enumerate(one.columns) if name.startswith("candidate.")]
    same_N = one.rows.fold_N <= number
    np.testing.assert_array_equal(one.value_NF[same_N][:, scores], two.value_NF[same_N][:, scores])
    early_N = one.rows.at_N <= cut
    np.testing.assert_array_equal(one.value_NF[early_N], two.value_NF[early_N])
    here_N = one.rows.fold_N == number
    assert (one.rows.labels["click"][here_N] != two.rows.labels["click"][here_N]).any()
    if number == 1:  # what is learned later does depend on it
        later_N = one.rows.fold_N > number
        assert (one.value_NF[later_N][:, scores] != two.value_NF[later_N][:, scores]).any()
    by_pair = [
        {
            (user, item): row.tolist()
            for user, item, row in zip(
                m.rows.user_N[keep], m.rows.item_N[keep], m.value_NF[keep], strict=True
            )
        }
        for m in (before.matrices["lists"], after.matrices["lists"])
        for keep in [m.rows.fold_N == number]
    ]
    both = by_pair[0].keys() & by_pair[1].keys()
    assert len(both) > 50
    assert all(by_pair[0][pair] == by_pair[1][pair] for pair in both)


def test_the_order_of_the_file_does_not_matter(trained, tmp_path):
    rows = feed_rows()
    np.random.default_rng(1).shuffle(rows)
    other = train_recipe(read_recipe(write_feed(tmp_path, rows)))

    def told(one):
        judged = one.matrices["impressions"].rows
        ids = one.log.user_ids.decode(judged.user_N), one.log.item_ids.decode(judged.item_N)
        return sorted(zip(*ids, judged.at_N, judged.labels["click"], strict=True))

    assert told(trained) == told(other)


def test_rows_of_a_list_lie_together(trained):
    for matrix in trained.matrices.values():
        group_N = matrix.rows.group_N
        assert np.count_nonzero(np.diff(group_N)) + 1 == len(np.unique(group_N))


def test_labels_go_by_request_user_and_item():
    shown, act = "impression", "click"
    log = log_of(
        {
            "user_id": [0, 0, 0, 1, 1, 1, 0],
            "item_id": [3, 4, 3, 3, 5, 5, 4],
            "timestamp": [10, 10, 15, 20, 21, 21, 22],
            "kind": [shown, shown, act, shown, shown, act, act],
            "request_id": ["r", "r", "r", "s", None, None, "other"],
        }
    )
    judged = impressions(log, [Fold("train", 0, None, 0)], {"click": Signal(kinds={"click": 1.0})})
    found = dict(
        zip(zip(judged.user_N, judged.item_N, strict=True), judged.labels["click"], strict=True)
    )
    assert found == {(0, 3): 1.0, (0, 4): 0.0, (1, 3): 0.0, (1, 5): 1.0}


def test_the_verdict_knows_what_the_world_rests_on(trained):
    """Tastes reach the rankers through the sources' scores alone."""
    verdict = judge_training(trained, ablate=True)
    models = verdict.labels["click"]
    assert 0.7 < models[PIPELINE].auc.value < 0.83  # 0.803 if the tastes were known
    blind = models["without candidate scores"]
    assert blind.auc.low < 0.5 < blind.auc.high
    assert blind.auc_gain.excludes(0.0)
    assert not models["without attributes"].auc_gain.low > 0.0
    weighing = verdict.weighings["impressions"]["click"]
    assert 0.0 <= weighing.alpha.low <= weighing.alpha.value <= weighing.alpha.high <= 1.0
    again = judge_training(trained)  # read, with the ablations that are there
    assert again.as_json() == verdict.as_json()


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("ranking.sources=['als']", ConfigError, "'als' is not a model of the recipe"),
        ("ranking.item_attributes=['length']", ConfigError, "no attribute 'length'"),
        (
            'events.split={use="muma.events.split.LeaveLastOut"}',
            DataError,
            "use muma.events.split.GlobalTime",
        ),
        ("ranking.slises=2", ConfigError, "did you mean 'slices'"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(place, tmp_path, override, error, message):
    with pytest.raises(error, match=message):
        train_recipe(read_recipe(place, overrides=[override, f"runs='{tmp_path}'"]))


def test_a_recipe_without_ranking_is_told(small_recipe):
    with pytest.raises(ConfigError, match=r"no section \[ranking\]"):
        train_recipe(read_recipe(small_recipe))


def test_the_comparison_makes_the_rows_that_training_alone_makes(place, tmp_path):
    rows = []
    for number, whole in enumerate((False, True)):
        config = read_recipe(place, overrides=[f"runs={str(tmp_path / str(number))!r}"])
        if whole:
            evaluate_recipe(config)
        found = train_recipe(config)
        assert ("rows" in found.reused) == whole
        rows.append(found.matrices)
    for table, matrix in rows[0].items():
        np.testing.assert_array_equal(matrix.value_NF, rows[1][table].value_NF)
