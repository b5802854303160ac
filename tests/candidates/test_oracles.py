"""Each model against the plainest form of its equation."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from muma.candidates.als import ALS, ALSConfig
from muma.candidates.blend import Blend, BlendConfig
from muma.candidates.bpr import BPR, BPRConfig
from muma.candidates.ease import EASE, EASEConfig
from muma.candidates.item_knn import ItemKNN, ItemKNNConfig
from muma.candidates.listing import by_popularity
from muma.candidates.markov import Markov, MarkovConfig
from muma.candidates.popularity import DAY, Popularity, PopularityConfig
from muma.config import Spec, build, parse
from muma.errors import ConfigError, DataError
from muma.events.interactions import Signal, interactions
from muma.testing.logs import log_of, random_log

N_USERS, N_ITEMS = 30, 20
LOG = random_log(11, N_USERS, N_ITEMS, 400)
DATA = interactions(LOG)
X = DATA.matrix().toarray().astype(np.float64)
USERS = np.arange(N_USERS)


def scores(model):
    return model.fit(LOG).score(USERS)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_the_log_holds_every_item():
    assert np.all(DATA.counts > 0)


@pytest.mark.parametrize("half_life", [None, 0.5, 7.0])
def test_popularity(half_life):
    wanted = np.zeros(N_ITEMS)
    last = DATA.timestamp_E.max()
    for item, time in zip(DATA.item_E, DATA.timestamp_E, strict=True):
        wanted[item] += 1 if half_life is None else 2 ** (-((last - time) / DAY) / half_life)
    close(
        scores(Popularity(PopularityConfig(half_life_days=half_life))),
        np.tile(wanted, (N_USERS, 1)),
    )


@pytest.mark.parametrize(("neighbours", "shrink"), [(3, 0.0), (5, 10.0), (100, 2.0)])
def test_item_knn(neighbours, shrink, monkeypatch):
    monkeypatch.setattr("muma.candidates.item_knn.BLOCK", 7)
    gram = X.T @ X
    norm = np.sqrt(gram.diagonal())
    cosine = gram / (np.outer(norm, norm) + shrink)
    np.fill_diagonal(cosine, 0)
    popular = by_popularity(DATA.counts)
    for row in cosine:
        # stable over popularity order, so that equal similarities keep the more popular item
        order = popular[np.argsort(-row[popular].astype(np.float32), kind="stable")]
        row[order[neighbours:]] = 0
    close(scores(ItemKNN(ItemKNNConfig(neighbours=neighbours, shrink=shrink))), X @ cosine)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("half_life", [None, 2.0])
def test_ease(dtype, half_life):
    inverse = np.linalg.inv(X.T @ X + 5.0 * np.eye(N_ITEMS))
    weight = -inverse / inverse.diagonal()
    np.fill_diagonal(weight, 0)
    history = X
    if half_life is not None:
        history = np.zeros((N_USERS, N_ITEMS))
        for user, items in enumerate(DATA.histories):
            for age, item in enumerate(items[::-1]):
                history[user, item] = max(history[user, item], 0.5 ** (age / half_life))
    found = scores(EASE(EASEConfig(l2=5.0, history_half_life=half_life, dtype=dtype)))
    np.testing.assert_allclose(found, history @ weight, rtol=1e-3, atol=1e-5)


def test_ease_refuses_too_many_items():
    with pytest.raises(ConfigError, match="max_items = 10"):
        EASE(EASEConfig(max_items=10)).fit(LOG)


@pytest.mark.parametrize(("window", "alpha"), [(1, 0.0), (3, 5.0), (10, 20.0)])
def test_markov(window, alpha):
    count = np.zeros((N_ITEMS, N_ITEMS))
    for items in DATA.histories:
        for k in range(1, window + 1):
            np.add.at(count, (items[:-k], items[k:]), 1.0 / k)
    total = count.sum(axis=1, keepdims=True) + alpha
    chance = np.divide(count, total, out=np.zeros_like(count), where=total > 0)
    wanted = np.zeros((N_USERS, N_ITEMS))
    for user, items in enumerate(DATA.histories):
        for k in range(min(window, len(items))):
            wanted[user] += chance[items[-1 - k]] / (k + 1)
    close(scores(Markov(MarkovConfig(window=window, alpha=alpha))), wanted)


def test_als_is_implicit():
    als = pytest.importorskip("implicit.als")
    popular = by_popularity(DATA.counts)
    direct = als.AlternatingLeastSquares(
        factors=5, regularization=0.1, alpha=3.0, iterations=4, num_threads=1, random_state=7
    )
    direct.fit(csr_matrix(X[:, popular], dtype=np.float32), show_progress=False)
    config = ALSConfig(factors=5, l2=0.1, alpha=3.0, iterations=4, seed=7)
    close(scores(ALS(config))[:, popular], direct.user_factors @ direct.item_factors.T)


def test_als_threads_leave_no_trace():
    one, two = (scores(ALS(ALSConfig(factors=5, threads=n))) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_bpr_is_implicit():
    bpr = pytest.importorskip("implicit.bpr")
    popular = by_popularity(DATA.counts)
    direct = bpr.BayesianPersonalizedRanking(
        factors=5, learning_rate=0.05, regularization=0.1, iterations=9, num_threads=1,
        random_state=7,
    )  # fmt: skip
    direct.fit(csr_matrix(X[:, popular], dtype=np.float32), show_progress=False)
    config = BPRConfig(factors=5, learning_rate=0.05, l2=0.1, iterations=9, seed=7)
    close(scores(BPR(config))[:, popular], direct.user_factors @ direct.item_factors.T)


def test_fitting_is_silent(capfd, recwarn):
    scores(ALS())
    scores(BPR())
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def blend(**weights):
    members = {
        "ease": {"use": "muma.candidates.ease.EASE", "l2": 3.0},
        "markov": {"use": "muma.candidates.markov.Markov"},
    }
    return Blend(parse(BlendConfig, {"members": members, "weights": weights}))


def test_blend():
    model = blend(ease=0.3, markov=2.0).fit(LOG)
    wanted = np.zeros((N_USERS, N_ITEMS))
    for weight, member in ((0.3, EASE(EASEConfig(l2=3.0))), (2.0, Markov())):
        score = scores(member).astype(np.float64)
        wanted += weight * (score - score.mean(1, keepdims=True)) / score.std(1, keepdims=True)
    np.testing.assert_allclose(model.score(USERS), wanted, rtol=1e-4, atol=1e-5)
    found = model.propose(USERS, 4)
    assert list(found.scores) == ["blend", "ease", "markov"]
    own = np.take_along_axis(scores(Markov()), found.item_BN, axis=1)
    np.testing.assert_array_equal(found.scores["markov"], own)


def test_blend_with_other_weights_shares_the_fit():
    model = blend().fit(LOG)
    alone = model.with_weights({"ease": 0, "markov": 5})
    markov = Markov().fit(LOG).propose(USERS, 4).item_BN
    np.testing.assert_array_equal(alone.propose(USERS, 4).item_BN, markov)
    again = blend(ease=1, markov=1).fit(LOG)
    np.testing.assert_array_equal(model.score(USERS), again.score(USERS))
    with pytest.raises(ConfigError, match="not members"):
        model.with_weights({"eas": 1.0})


def test_blend_of_members_that_know_different_items():
    log = log_of(
        {
            "user_id": [0, 0, 1, 1, 1],
            "item_id": [0, 1, 0, 2, 3],
            "timestamp": [1, 2, 3, 4, 5],
            "kind": ["click", "click", "click", "like", "hide"],
        }
    )
    use = "muma.candidates.popularity.Popularity"
    members = {
        "clicks": {"use": use, "signal": {"kinds": {"click": 1}}},
        "likes": {"use": use, "signal": {"kinds": {"like": 1}}},
    }
    model = Blend(parse(BlendConfig, {"members": members, "weights": {}})).fit(log)
    assert np.isneginf(model.score(np.array([0]))[0]).tolist() == [False, False, False, True]
    found = model.propose(np.array([0]), 4)
    assert sorted(found.item_BN[0].tolist()) == [-1, 0, 1, 2]
    assert np.isnan(found.scores["likes"][0]).tolist() == [i != 2 for i in found.item_BN[0]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": {"nobody": 1.0}}, "not members"),
        ({"weights": {"markov": 0, "ease": 0, "popularity": 0}}, "every weight is 0"),
        ({"members": {}, "weights": {}}, "at least one member"),
        ({"name": "ease"}, "both called 'ease'"),
        ({"members": {"../x": {"use": "a.B"}}, "weights": {}}, "may hold only"),
    ],
)
def test_wrong_blends_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        parse(BlendConfig, wrong)


def test_models_are_built_from_their_import_path():
    model = build(Spec.model_validate({"use": "muma.candidates.ease.EASE", "l2": 7.0}))
    assert isinstance(model, EASE)
    assert model.config.l2 == 7.0
    with pytest.raises(ConfigError, match="did you mean 'history_half_life'"):
        build({"use": "muma.candidates.ease.EASE", "history_halflife": 7.0})


def test_a_signal_reaches_the_model():
    log = log_of(
        {
            "user_id": [0, 0],
            "item_id": [0, 1],
            "timestamp": [1, 2],
            "kind": ["click", "impression"],
        }
    )
    config = PopularityConfig(signal=Signal(kinds={"impression": 2.0}))
    assert Popularity(config).fit(log).score(np.array([0])).tolist() == [[-np.inf, 2.0]]
    with pytest.raises(DataError, match="positive kinds are share"):
        Popularity(PopularityConfig(signal=Signal(kinds={"share": 1.0}))).fit(log)
