"""Every model of the room keeps the contract, and none is left out."""

import numpy as np
import pytest
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

import muma.candidates
from muma.candidates.als import ALS, ALSConfig
from muma.candidates.blend import Blend
from muma.candidates.bpr import BPR, BPRConfig
from muma.candidates.ease import EASE, EASEConfig
from muma.candidates.interest import InterestSource
from muma.candidates.item_knn import ItemKNN
from muma.candidates.live import History, history_of
from muma.candidates.markov import Markov
from muma.candidates.popularity import Popularity
from muma.errors import ConfigError
from muma.events.event import KINDS
from muma.events.interactions import interactions
from muma.features.feature import Sequences
from muma.testing.candidate_suite import CandidateSuite, models
from muma.testing.logs import random_log


class TestPopularity(CandidateSuite):
    def make(self):
        return Popularity()


class TestItemKNN(CandidateSuite):
    def make(self):
        return ItemKNN()


class TestEASE(CandidateSuite):
    def make(self):
        return EASE()


class TestRecencyEASE(CandidateSuite):
    def make(self):
        return EASE(EASEConfig(history_half_life=3, dtype="float32"))


class TestMarkov(CandidateSuite):
    def make(self):
        return Markov()


class TestALS(CandidateSuite):
    live = None  # the users' factors are half a sweep older than the items': see below

    def make(self):
        return ALS(ALSConfig(factors=6))


class TestBPR(CandidateSuite):
    live = None

    def make(self):
        return BPR(BPRConfig(factors=6, iterations=20))


class TestBlend(CandidateSuite):
    live = None

    def make(self):
        return Blend()


def test_every_model_of_the_room_has_a_suite():
    elsewhere = {InterestSource}  # test_interest_source.py
    tried = {
        type(suite().make())
        for suite in globals().values()
        if isinstance(suite, type)
        and issubclass(suite, CandidateSuite)
        and suite is not CandidateSuite
    }
    assert tried | elsewhere == set(models(muma.candidates))


def test_a_history_is_folded_in_as_implicit_does():
    log = random_log(2)
    model = ALS(ALSConfig(factors=6, alpha=3.0, l2=2.0)).fit(log)
    taken = interactions(log).within(model._item_F)
    peer = AlternatingLeastSquares(factors=6, alpha=3.0, regularization=2.0, use_cg=False)
    peer.item_factors = model._item_FD.copy()
    matrix = csr_matrix(taken.matrix(binary=False))
    for user in (0, 3):
        mine = slice(taken.indptr[user], taken.indptr[user + 1])
        history = History(model._item_F[taken.item_E[mine]], taken.weight_E[mine])
        expected = peer.recalculate_user(0, matrix[user]) @ model._item_FD.T
        found = model.score_history(history)[model._item_F]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_what_only_knows_its_own_users_says_so():
    model = BPR(BPRConfig(factors=4, iterations=2)).fit(random_log(2))
    with pytest.raises(ConfigError, match="users of its log only"):
        model.score_history(History(np.zeros(0, np.int64), np.zeros(0, np.float32)))


def test_one_act_is_one_interaction_of_a_live_history():
    sequence = Sequences(
        item_BL=np.array([[-1, 4, 4, 2, 4, 4]]), time_BL=np.arange(6)[None],
        kind_BL=np.array([[-1, *(KINDS.index(k) for k in ("click", "like", "click", "impression", "like"))]]),
        domain_BL=np.zeros((1, 6), int), dwell_BL=np.full((1, 6), -1),
        mask_BL=np.array([[False, True, True, True, True, True]]),
    )  # fmt: skip
    found = history_of(sequence, {"click": 1.0, "like": 2.0})
    assert found.item_L.tolist() == [4, 2, 4]
    assert found.weight_L.tolist() == [2.0, 1.0, 2.0]
