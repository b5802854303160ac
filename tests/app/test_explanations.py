"""Explanations of a finished training: sums that agree, strangers, what-if, pages."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from muma.app.config import read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.app.explanations import (
    NEW,
    draw_sample,
    explain_user,
    overview,
    some_users,
    unseen,
    write_page,
)
from muma.app.judgement import judge_training
from muma.app.run_report import write_report
from muma.app.serving_lists import PipelineRecommender
from muma.app.training import train_recipe
from muma.errors import ArtifactError, ConfigError
from ranked_support import write_feed


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return read_recipe(write_feed(tmp_path_factory.mktemp("explained")))


@pytest.fixture(scope="module")
def trained(config):
    return train_recipe(config)


@pytest.fixture(scope="module")
def recommender(config, trained):
    del trained
    return PipelineRecommender(config)


def test_groups_add_up_to_the_score(recommender):
    answer = recommender.answer("u3", 6)
    slate = recommender.rank("u3").slate
    base = slate.attributions(1)[0, -1]
    assert answer.known
    assert answer.n_candidates == len(slate) >= 6
    for item in answer.items:
        assert base + sum(item.groups.values()) == pytest.approx(item.score, abs=1e-5)
        assert item.title.startswith("Story")
        assert item.sources
        assert set(item.probability) == {"click", "long_view"}
        assert 0 < item.probability["long_view"] < item.probability["click"] < 1
    assert [item.score for item in answer.items] == sorted(
        (item.score for item in answer.items), reverse=True
    )
    assert answer.items[0].sentence.startswith("Shown first")


def test_lists_fit_tastes(recommender):
    """Users like one half of the items; the sources know it."""
    liked = []
    for user in range(0, 60, 3):
        items = recommender.answer(f"u{user}", 6, explained=False).items
        liked += [int(str(item.item)[1:]) % 2 == user % 2 for item in items]
    assert np.mean(liked) > 0.7


def test_candidates_have_the_columns_of_training(config, trained):
    """As of a test list's own moment, with its own history, the row is the training's row."""
    matrix = trained.matrices["lists"].part(trained.folds, "test")
    at_us = int(matrix.rows.at_N[0])
    there = PipelineRecommender(config, at_us=at_us)
    user = int(matrix.rows.user_N[0])
    mine_N = matrix.rows.user_N == user
    ranked = there.rank(trained.log.user_ids.decode([user])[0])
    order_N = np.argsort(ranked.slate.item_N)
    np.testing.assert_array_equal(ranked.slate.item_N[order_N], matrix.rows.item_N[mine_N])
    np.testing.assert_array_equal(ranked.slate.value_NF[order_N], matrix.value_NF[mine_N])


def test_a_stranger_is_answered(recommender):
    answer = recommender.answer("nobody at all", 4)
    assert not answer.known
    assert answer.n_history == 0
    assert answer.history == ()
    assert len({item.item for item in answer.items}) == 4
    assert all(item.sentence for item in answer.items)
    assert recommender.answer("u1", 4).known
    assert recommender.answer("another", 4).items == answer.items


def test_explain_user_says_why_and_what_if(recommender):
    found = explain_user(recommender, "u3", 5, above=(1, 4), leave_out="candidates")
    items = found.answer.items
    assert found.above.gap == pytest.approx(items[0].score - items[3].score)
    assert found.above.total == pytest.approx(found.above.gap, abs=1e-5)
    assert found.above_told.startswith("It scores higher")
    assert [one.rank_before for one in found.without] == [1, 2, 3, 4, 5]
    for item, one in zip(items, found.without, strict=True):
        assert one.score_before == pytest.approx(item.score)
        assert set(one.changes) == {"candidate.popularity", "candidate.knn"}
    with pytest.raises(ConfigError, match="no place 0"):
        explain_user(recommender, "u3", 5, above=(0, 1))
    with pytest.raises(ConfigError, match=r"no feature is of group 'magic'; there are: history"):
        explain_user(recommender, "u3", 5, leave_out="magic")


def test_overview_finds_what_the_world_rests_on(trained):
    test = unseen(trained, "lists")
    found = overview(trained, "lists", test)
    assert found.importance[0].feature == "candidate.knn"
    sizes = [one.mean for one in found.importance]
    assert sizes == sorted(sizes, reverse=True)
    assert all(one.low <= one.mean <= one.high for one in found.importance)
    assert found.folds == ("train 1", "train 2", "train 3", "valid", "later", "test")
    np.testing.assert_allclose(sizes[0], np.abs(test.phi_NF).mean(axis=0).max())
    few = unseen(trained, "impressions", rows=50)
    assert few.value_NF.shape == (50, 9)
    with pytest.raises(ConfigError, match="no ranker of 'slots'; the training has: impressions"):
        unseen(trained, "slots")


class _Links(HTMLParser):
    """Addresses that a page would fetch, its images, its cells."""

    def __init__(self):
        super().__init__()
        self.fetched, self.links, self.cells = [], [], []
        self._cell = False

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag in ("img", "script", "link") and (place := named.get("src") or named.get("href")):
            self.fetched.append(place)
        if tag == "a":
            self.links.append(named["href"])
        self._cell = tag == "td"

    def handle_data(self, data):
        if self._cell:
            self.cells.append(data)


def test_pages_are_whole_and_need_no_network(trained, recommender):
    folder = trained.config.folder
    test = unseen(trained, "lists")
    users = some_users(trained, 2)
    assert users[-1] == NEW
    page = write_page(trained, recommender, test, users=users, k=4)
    text = page.read_text()
    assert "http" not in text.replace("http://www.w3.org", "")
    pictures = draw_sample(test, folder, title="feed")
    verdict = judge_training(trained)
    report = write_report(trained, verdict, overview(trained, "lists", test))
    parsed = _Links()
    parsed.feed(report.read_text())
    assert len(parsed.fetched) == len(pictures) == 3
    assert all(place.startswith("data:image/png;base64,") for place in parsed.fetched)
    assert "explanation.html" in parsed.links
    auc = verdict.labels["click"]["pipeline"].auc
    assert f"{auc.value:.4f} [{auc.low:.4f}, {auc.high:.4f}]" in parsed.cells
    stored = json.dumps(verdict.as_json(), allow_nan=False)
    assert json.loads(stored)["n_impressions"] == verdict.n_impressions


def test_literal_fusion_serves_but_does_not_explain(config, tmp_path):
    literal = config.model_copy(
        update={
            "runs": str(tmp_path),
            "ranking": config.ranking.model_copy(
                update={"lists": config.ranking.lists.model_copy(update={"fusion": "literal"})}
            ),
        }
    )
    train_recipe(literal)
    recommender = PipelineRecommender(literal)
    assert recommender.answer("u1", 3, explained=False).items[0].sentence is None
    with pytest.raises(ConfigError, match='use fusion = "logit" to explain'):
        recommender.answer("u1", 3)


def test_mistakes_are_told(config, trained, tmp_path):
    with pytest.raises(ConfigError, match="ask for a later one"):
        PipelineRecommender(config, at_us=trained.folds[-1].known_before - 1)
    with pytest.raises(ArtifactError, match="not a MUMA artifact"):
        PipelineRecommender(config.model_copy(update={"runs": str(tmp_path)}))
    other = config.model_copy(update={"seed": 6})
    with pytest.raises(ArtifactError, match="run 'muma train'"):
        PipelineRecommender(other)


def test_the_page_shows_the_comparison_once_there_is_one(config, trained):
    verdict = judge_training(trained)
    assert "Comparison" not in write_report(trained, verdict).read_text()
    report = evaluate_recipe(config)
    text = write_report(trained, verdict).read_text()
    assert "Comparison: ndcg@10 on the test window" in text
    found = report.models["pipeline"].views["all"]["ndcg@10"]
    assert f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]" in text
    assert train_recipe(config).reused == ("rows", "sources", "features", "rankers")
