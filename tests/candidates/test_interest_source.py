"""The interest network keeps the contract of candidate models, and is one in recipes and blends."""

import sys
import tomllib

import numpy as np
import pytest

from muma.app.config import AppConfig
from muma.app.evaluation import evaluate_recipe
from muma.candidates.blend import Blend, BlendConfig
from muma.candidates.interest import InterestSource, InterestSourceConfig, shift_of_shares
from muma.config import build, parse
from muma.errors import ConfigError, MissingExtraError
from muma.interest.histories import histories
from muma.testing.candidate_suite import CandidateSuite
from muma.testing.fusion_logs import media_log
from muma.testing.logs import random_log, tiny_log
from tests_support import RECIPE, write_small_log

TINY = {
    "network": {"max_length": 8, "attention": {"use": "muma.interest.transformer.Transformer",
                                               "blocks": 1, "heads": 1}},
    "training": {"batching": {"length": 8, "size": 16}, "threads": 1},
    "width": 8, "epochs": 1,
}  # fmt: skip


def source(**changes):
    return InterestSource(parse(InterestSourceConfig, {**TINY, **changes}))


class TestInterestSource(CandidateSuite):
    def make(self):
        return source()


class TestShiftedSource(CandidateSuite):
    def make(self):
        return source(prior_half_life_days=1.0)


class TestLSTMSource(CandidateSuite):
    def make(self):
        return source(network={"max_length": 8, "attention": None})


def test_a_chain_is_learned():
    chain = {user: [(user + step) % 7 for step in range(6)] for user in range(70)}
    model = source(epochs=30, learning_rate=0.02, network={"max_length": 8, "attention": None})
    best_B = model.fit(tiny_log(chain)).propose(np.arange(70), 1).item_BN[:, 0]
    assert (best_B == (np.arange(70) + 6) % 7).mean() > 0.95


def test_a_fit_is_kept_and_gone_on_with(tmp_path):
    log = random_log(4)
    one, two, plain = source(epochs=2), source(epochs=2), source(epochs=2)
    one.work_in(tmp_path)
    one.fit(log)
    (place,) = tmp_path.iterdir()
    assert len((place / "curve.jsonl").read_text().splitlines()) == 2
    before = (place / "curve.jsonl").stat().st_mtime_ns
    two.work_in(tmp_path)
    users = np.arange(log.n_users)
    np.testing.assert_array_equal(two.fit(log).score(users), one.score(users))
    assert (place / "curve.jsonl").stat().st_mtime_ns == before  # nothing was trained again
    np.testing.assert_array_equal(plain.fit(log).score(users), one.score(users))
    other = source(epochs=2, learning_rate=0.5)
    other.work_in(tmp_path)
    other.fit(log)
    two.fit(random_log(5))
    assert len(list(tmp_path.iterdir())) == 3  # other parameters or data, another folder


def test_it_is_a_member_of_a_blend():
    log = random_log(4)
    use = {"use": "muma.candidates.interest.InterestSource", **TINY}
    markov = {"use": "muma.candidates.markov.Markov"}
    blend = Blend(parse(BlendConfig, {"members": {"net": use, "markov": markov}, "weights": {}}))
    found = blend.fit(log).propose(np.arange(30), 5)
    assert list(found.scores) == ["blend", "net", "markov"]
    alone = build({**use, "name": "net"}).fit(log).score(np.arange(30))
    listed = np.take_along_axis(alone, found.item_BN, axis=1)
    np.testing.assert_array_equal(found.scores["net"], listed)


def test_it_stands_in_recipes_with_tuning(tmp_path):
    write_small_log(tmp_path)
    text = RECIPE.format(
        runs=str(tmp_path), log=str(tmp_path / "log.csv"), items=str(tmp_path / "items.csv")
    ).replace('members = ["markov", "popularity"]', 'members = ["markov", "popularity", "net"]')
    recipe = tomllib.loads(text)
    net = {"use": "muma.candidates.interest.InterestSource", **TINY, "tune": {"epochs": [1, 2]}}
    models = recipe["candidates"]["models"]
    recipe["candidates"]["models"] = {"net": net, **models}
    report = evaluate_recipe(parse(AppConfig, recipe))
    assert report.models["net"].parameters["epochs"] in (1, 2)
    assert report.models["blend"].views["all"]["ndcg@10"].value > 0


def test_a_source_may_be_removed_from_a_fitted_model():
    log = media_log()
    encoders = {"text": {"use": "muma.fusion.encoders.text.TextEncoder"}}
    model = source(fusion={"encoders": encoders}).fit(log)
    before = model.score(np.arange(8))
    fewer = model.without("text")
    assert (fewer.score(np.arange(8)) != before).any()
    np.testing.assert_array_equal(model.score(np.arange(8)), before)
    with pytest.raises(ConfigError, match="gaze"):
        model.without("gaze")


def test_keys_at_the_top_win_and_wrong_ones_are_named():
    config = parse(InterestSourceConfig, {"training": {"epochs": 3}, "epochs": 5})
    assert InterestSource(config)._model.config.training.epochs == 5
    with pytest.raises(ConfigError, match=r"interest\.training\.epoch: .*did you mean 'epochs'"):
        source(training={"epoch": 3})


def test_a_later_log_gives_later_wishes():
    model = source(epochs=3).fit(tiny_log({0: [0, 1], 1: [1, 2], 2: [2, 0]}))
    before = model.score(np.array([0]))
    model.adopt(model._model, tiny_log({0: [0, 1, 2], 1: [1, 2], 2: [2, 0]}))
    assert (model.score(np.array([0])) != before).any()


def test_new_items_are_proposed_after_fit_more():
    old = tiny_log({user: [0, 1, 2, 3] for user in range(20)}, n_items=5)
    later = tiny_log({user: [4] for user in range(20)}, n_items=5)
    model = source(epochs=5).fit(old)
    assert np.isneginf(model.score(np.arange(20))[:, 4]).all()
    model.fit_more(later)
    assert np.isfinite(model.score(np.arange(20))).all()


def test_a_missing_library_shows_when_the_source_is_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"muma\[neural\]"):
        InterestSource()


def test_shares_of_today_are_those_of_fading_counts():
    log = random_log(5)
    events = histories(log)
    (half_life, last) = 0.7, events.time_E.max()
    faded, count = np.zeros(log.n_items), np.zeros(log.n_items)
    for item, at in zip(events.item_E.tolist(), events.time_E.tolist(), strict=True):
        faded[item] += 2.0 ** (-((last - at) / 86_400e6) / half_life)
        count[item] += 1
    old = count / count.sum()
    with np.errstate(all="ignore"):
        expected = np.log((faded + old) / (faded.sum() + 1) / old)
    expected[count == 0] = 0.0
    found = shift_of_shares(events, half_life)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    shares = old * np.exp(found)
    assert shares.sum() == pytest.approx(1.0)  # today's shares are shares


def test_a_dead_item_falls_and_nothing_is_trained_again(tmp_path):
    old = {user: [0] * 5 for user in range(20)}
    log = tiny_log(old | {20 + user: [1] for user in range(4)})
    users = np.array([0])
    one, two = source(), source(prior_half_life_days=1e-5)
    for model in (one, two):
        model.work_in(tmp_path)
        model.fit(log)
    assert len(list(tmp_path.iterdir())) == 1
    shift = shift_of_shares(histories(log), 1e-5)
    np.testing.assert_allclose(two.score(users) - one.score(users), shift[None], atol=1e-6)


def test_the_timed_gate_waits_until_the_log_ends():
    gate = {"use": "muma.interest.gates.timed.TimedFusion"}
    log = random_log(6)
    model = source(network={**TINY["network"], "fusion": gate}).fit(log)
    events = histories(log)
    users = np.flatnonzero(np.diff(events.indptr))[:5]
    sequences = events.sequences(users, 8)
    items = model._model.items()
    for at, same in ((events.time_E.max(), True), (events.time_E.max() + 10**13, False)):
        vector = model._model.users(sequences, user_B=users, at_B=np.full(5, at)).user_BD
        score = vector.astype(np.float64) @ items.vector_ND.T.astype(np.float64)
        close = np.allclose(score, model.score(users)[:, items.item_N], atol=1e-5)
        assert close == same
