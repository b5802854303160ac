"""Attention and its position encodings against plain loops."""

import math

import numpy as np
import pytest
import torch

from muma.errors import ConfigError, DataError
from muma.interest.transformer import Transformer, TransformerConfig
from muma.interest.transformer_positions.learned import LearnedPosition
from muma.interest.transformer_positions.position import PositionConfig
from muma.interest.transformer_positions.relative_time import RelativeTime, RelativeTimeConfig
from muma.rng import derive
from muma.testing.encoder_suite import TEN_YEARS

GAPS = [0.0, 0.0, 1.0, 3.0, 86_400.0, TEN_YEARS, 2.0]


def filled(module):
    """The module with random weights."""
    for name, weight in module.named_parameters():
        weight.data = torch.from_numpy(derive(1, name).normal(size=weight.shape)).float()
    return module


@pytest.mark.parametrize(("distances", "buckets"), [(None, 32), (3, 0), (0, 32), (2, 5)])
def test_relative_time_by_a_loop(distances, buckets):
    config = RelativeTimeConfig(width=4, heads=2, length=9, distances=distances, buckets=buckets)
    encoding = filled(RelativeTime(config))
    x_BTD = torch.zeros(1, len(GAPS), 4)
    same_BTD, bias = encoding(x_BTD, torch.tensor([GAPS]))
    assert same_BTD is x_BTD
    moment = np.cumsum(np.array(GAPS, dtype=np.float32).astype(np.float64))
    for head in range(2):
        for i in range(len(GAPS)):
            for j in range(len(GAPS)):
                found = bias[0, head, i, j].item()
                if j > i:
                    assert found == -math.inf
                    continue
                expected = 0.0
                if distances != 0:
                    expected += encoding.place[head, min(i - j, encoding.distances - 1)].item()
                if buckets:
                    bucket = math.floor(math.log2(1.0 + moment[i] - moment[j]))
                    expected += encoding.time[head, min(bucket, buckets - 1)].item()
                assert found == pytest.approx(expected, abs=1e-6)


def test_time_before_the_first_event_does_not_matter():
    encoding = filled(RelativeTime(RelativeTimeConfig(width=4, length=9)))
    later = [TEN_YEARS, *GAPS[1:]]
    one, two = (encoding(torch.zeros(1, 7, 4), torch.tensor([gaps]))[1] for gaps in (GAPS, later))
    assert torch.equal(one, two)


def test_learned_positions_count_from_the_first_event():
    encoding = filled(LearnedPosition(PositionConfig(width=4, length=5)))
    x_BTD = torch.randn(2, 3, 4)
    found, bias = encoding(x_BTD, torch.zeros(2, 3))
    assert bias is None
    assert torch.equal(found, x_BTD + encoding.place.weight[:3])
    with pytest.raises(DataError, match="6 events"):
        encoding(torch.zeros(1, 6, 4), torch.zeros(1, 6))


@pytest.mark.parametrize("timed", [False, True])
def test_one_block_by_a_loop(timed):
    position = {"use": "muma.interest.transformer_positions.relative_time.RelativeTime"}
    config = {"width": 6, "heads": 3, "blocks": 1, "length": 9, "feedforward": 1.5}
    model = filled(
        Transformer(TransformerConfig.model_validate(
            {**config, "position": position if timed else None}
        ))
    ).eval()  # fmt: skip
    x_TD, gap_T = torch.from_numpy(derive(2, "x").normal(size=(7, 6))).float(), torch.tensor(GAPS)
    block = model.blocks[0]
    bias = torch.zeros(1, 3, 7, 7)
    if timed:
        bias = model.position(x_TD[None], gap_T[None])[1]
    query, key, value = block.qkv(block.norm_attention(x_TD)).view(7, 3, 3, 2).unbind(1)
    mixed = torch.zeros(7, 3, 2)
    for head in range(3):
        for i in range(7):
            logit = torch.stack([
                query[i, head] @ key[j, head] / 2**0.5 + bias[0, head, i, j] for j in range(i + 1)
            ])  # fmt: skip
            mixed[i, head] = torch.softmax(logit, 0) @ value[: i + 1, head]
    y_TD = x_TD + block.out(mixed.flatten(1))
    y_TD = y_TD + block.inner(block.norm_inner(y_TD))
    found = model(x_TD[None], gap_T[None])[0]
    torch.testing.assert_close(found, model.norm(y_TD), rtol=1e-4, atol=1e-5)


def test_feedforward_is_a_multiple_of_the_width():
    model = Transformer(TransformerConfig(width=6, heads=1, feedforward=1.5))
    assert model.blocks[0].inner[0].out_features == 9
    with pytest.raises(ConfigError, match="multiple of heads"):
        Transformer(TransformerConfig(width=6, heads=4))
