"""Every fuser and encoder of the room keeps its contract, and none is left out."""

import inspect
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from muma.fusion.encoder import Encoder
from muma.fusion.encoders.behaviour import BehaviourConfig, BehaviourEncoder
from muma.fusion.encoders.dense import DenseConfig, DenseEncoder
from muma.fusion.encoders.duration import DurationConfig, DurationEncoder
from muma.fusion.encoders.gaze import GazeConfig, GazeEncoder
from muma.fusion.encoders.history import HistoryConfig, HistoryEncoder
from muma.fusion.encoders.sentence import SentenceConfig, SentenceEncoder
from muma.fusion.encoders.social import SocialConfig, SocialEncoder
from muma.fusion.encoders.text import TextConfig, TextEncoder
from muma.fusion.fuser import Fuser
from muma.fusion.fusers.attention import AttentionConfig, AttentionFuser
from muma.fusion.fusers.concat import ConcatConfig, ConcatFuser
from muma.fusion.fusers.self_attention import SelfAttentionConfig, SelfAttentionFuser
from muma.testing.discovery import classes_in
from muma.testing.fusion_suite import SOURCES, WIDTH, EncoderSuite, FusionSuite

SIZE = {"sources": SOURCES, "width": WIDTH}
HISTORY = "muma.fusion.encoders.history.HistoryEncoder"
TEXT = {"use": "muma.fusion.encoders.text.TextEncoder", "buckets": 512, "vector": 8}


class TestConcat(FusionSuite):
    def make(self, **changes):
        return ConcatFuser(ConcatConfig(**SIZE, **changes))


class TestDeepConcat(FusionSuite):
    def make(self, **changes):
        return ConcatFuser(ConcatConfig(**SIZE, hidden=5, **changes))


class TestAttention(FusionSuite):
    def make(self, **changes):
        return AttentionFuser(AttentionConfig(**SIZE, **changes))


class TestLiteralAttention(FusionSuite):
    def make(self, **changes):
        return AttentionFuser(AttentionConfig(**SIZE, literal=True, **changes))


class TestSelfAttention(FusionSuite):
    def make(self, **changes):
        return SelfAttentionFuser(SelfAttentionConfig(**SIZE, heads=2, **changes))


class TestBehaviour(EncoderSuite):
    n_present = 14

    def make(self):
        return BehaviourEncoder(BehaviourConfig(width=WIDTH, buckets=256))


class TestDuration(EncoderSuite):
    n_present = 15

    def make(self):
        return DurationEncoder(DurationConfig(width=WIDTH, groups=4))


class TestDurationOfUsers(EncoderSuite):
    def make(self):
        return DurationEncoder(DurationConfig(width=WIDTH, groups=4, entity="user"))


class TestText(EncoderSuite):
    n_present = 14

    def make(self):
        return TextEncoder(TextConfig(width=WIDTH, buckets=512, vector=8))


class TestSentence(EncoderSuite):
    n_present = 14

    @pytest.fixture(autouse=True)
    def _library(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sentence_transformers", stub())

    def make(self):
        return SentenceEncoder(SentenceConfig(width=WIDTH, inputs=3))


class TestGaze(EncoderSuite):
    def make(self):
        return GazeEncoder(GazeConfig(width=WIDTH, side=8))


class TestGazeOfUsers(EncoderSuite):
    def make(self):
        return GazeEncoder(GazeConfig(width=WIDTH, side=8, entity="user"))


class TestDense(EncoderSuite):
    n_present = 14

    def make(self):
        config = DenseConfig(column="attr_vector", inputs=6, width=WIDTH, epochs=2)
        return DenseEncoder(config)


class TestHistory(EncoderSuite):
    n_present = 23

    def make(self):
        return HistoryEncoder(HistoryConfig(width=WIDTH))


class TestHistoryOfTexts(EncoderSuite):
    n_present = 23

    def make(self):
        return HistoryEncoder(HistoryConfig.model_validate({"width": WIDTH, "items": TEXT}))


class TestSocial(EncoderSuite):
    def make(self):
        return SocialEncoder(SocialConfig(width=WIDTH, buckets=64))


class TestFriendMean(EncoderSuite):
    def make(self):
        base = {"use": HISTORY, "items": TEXT}
        config = {"width": WIDTH, "layers": 1, "norm": "mean", "base": base}
        return SocialEncoder(SocialConfig.model_validate(config))


def stub():
    """A library whose vectors are the text's length, letters a and letters e."""

    class SentenceTransformer:
        def __init__(self, name):
            self.name = name

        def encode(self, texts, *, batch_size, show_progress_bar):
            assert batch_size > 0
            assert show_progress_bar is False
            return np.array([[len(t), t.count("a"), t.count("e")] for t in texts], dtype=float)

    return SimpleNamespace(SentenceTransformer=SentenceTransformer)


@pytest.mark.parametrize(
    ("package", "kind", "suite"),
    [
        ("muma.fusion.encoders", Encoder, EncoderSuite),
        ("muma.fusion.fusers", Fuser, FusionSuite),
    ],
)
def test_every_class_of_the_room_has_a_suite(package, kind, suite):
    tried = {
        type(found().make())
        for found in globals().values()
        if inspect.isclass(found) and issubclass(found, suite) and found is not suite
    }
    assert tried == {cls for cls in classes_in(package) if issubclass(cls, kind)}
