"""Every model of the room keeps the contract, and none is left out."""

import muma.candidates
from muma.candidates.als import ALS, ALSConfig
from muma.candidates.blend import Blend
from muma.candidates.bpr import BPR, BPRConfig
from muma.candidates.ease import EASE, EASEConfig
from muma.candidates.interest import InterestSource
from muma.candidates.item_knn import ItemKNN
from muma.candidates.markov import Markov
from muma.candidates.popularity import Popularity
from muma.testing.candidate_suite import CandidateSuite, models


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
    def make(self):
        return ALS(ALSConfig(factors=6))


class TestBPR(CandidateSuite):
    def make(self):
        return BPR(BPRConfig(factors=6, iterations=20))


class TestBlend(CandidateSuite):
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
