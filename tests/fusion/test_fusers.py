"""Fusers against the equations written as loops, and against torch's own attention."""

import math

import pytest
import torch

from muma.config import parse
from muma.errors import ConfigError
from muma.fusion.fuser import drop_sources, masked_softmax
from muma.fusion.fusers.attention import AttentionConfig, AttentionFuser
from muma.fusion.fusers.concat import ConcatConfig, ConcatFuser
from muma.fusion.fusers.self_attention import SelfAttentionConfig, SelfAttentionFuser
from muma.fusion.layers import generator

B, S, D = 6, 3, 4


@pytest.fixture
def batch():
    rng = generator(1, "fusers")
    present_BS = torch.rand(B, S, generator=rng) < 0.7
    present_BS[0] = True
    present_BS[1] = torch.tensor([False, True, False])
    return torch.randn(B, S, D, generator=rng), present_BS


@torch.no_grad()
def test_concatenation_is_equation_3(batch):
    z_BSD, present_BS = batch
    fuser = ConcatFuser(ConcatConfig(sources=S, width=D)).eval()
    fused = fuser(z_BSD, present_BS)
    weight, bias = fuser.joint.weight, fuser.joint.bias
    for row in range(B):
        if not present_BS[row].any():
            continue
        parts = [z_BSD[row, s] if present_BS[row, s] else fuser.missing_SD[s] for s in range(S)]
        expected = weight @ torch.cat(parts) + bias
        torch.testing.assert_close(fused.vector_ND[row], expected)
        sizes = [
            float((weight[:, s * D : (s + 1) * D] @ parts[s]).norm()) if present_BS[row, s] else 0.0
            for s in range(S)
        ]
        shares = torch.tensor(sizes) / sum(sizes)
        torch.testing.assert_close(fused.weight_NS[row], shares)


def test_a_missing_source_is_not_a_source_of_zeros(batch):
    z_BSD, present_BS = batch
    fuser = ConcatFuser(ConcatConfig(sources=S, width=D))
    zeros_BSD = torch.where(present_BS[..., None], z_BSD, 0.0)
    all_BS = torch.ones_like(present_BS)
    masked, filled = fuser(z_BSD, present_BS), fuser(zeros_BSD, all_BS)
    partial_B = present_BS.any(dim=1) & ~present_BS.all(dim=1)
    assert partial_B.any()
    differs_B = (masked.vector_ND - filled.vector_ND).abs().max(dim=1).values > 1e-3
    assert torch.equal(differs_B[present_BS.any(dim=1)], partial_B[present_BS.any(dim=1)])


def test_vectors_of_zeros_share_evenly():
    fuser = ConcatFuser(ConcatConfig(sources=2, width=D))
    weight_NS = fuser(torch.zeros(1, 2, D), torch.ones(1, 2, dtype=torch.bool)).weight_NS
    assert weight_NS.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("literal", [True, False])
@torch.no_grad()
def test_attention_is_equations_4_and_5(batch, literal):
    z_BSD, present_BS = batch
    context_BC = torch.randn(B, 2, generator=generator(2))
    config = AttentionConfig(sources=S, width=D, hidden=5, context=2, literal=literal)
    fuser = AttentionFuser(config).eval()
    fused = fuser(z_BSD, present_BS, context_BC)
    for row in range(B):
        scores = {}
        for s in range(S):
            if present_BS[row, s]:
                hidden = fuser.read(z_BSD[row, s])
                if not literal:
                    hidden = hidden + fuser.source_SH[s]
                    hidden = hidden + fuser.moment(context_BC[row])[s * 5 : (s + 1) * 5]
                scores[s] = math.exp(float(torch.tanh(hidden) @ fuser.score_H))
        if scores:
            share = {s: score / sum(scores.values()) for s, score in scores.items()}
            expected = sum(share[s] * z_BSD[row, s] for s in scores)
            torch.testing.assert_close(fused.vector_ND[row], expected)
            for s in range(S):
                assert float(fused.weight_NS[row, s]) == pytest.approx(share.get(s, 0.0), abs=1e-6)


def test_literal_attention_knows_neither_source_nor_moment():
    fuser = AttentionFuser(AttentionConfig(sources=S, width=D, context=2, literal=True))
    same_BSD = torch.randn(1, 1, D, generator=generator(1)).expand(1, S, D)
    all_BS = torch.ones(1, S, dtype=torch.bool)
    weights = fuser(same_BSD, all_BS, torch.ones(1, 2)).weight_NS
    torch.testing.assert_close(weights, torch.full((1, S), 1 / S))
    told = AttentionFuser(AttentionConfig(sources=S, width=D, context=2))
    one = told(same_BSD, all_BS, torch.ones(1, 2)).weight_NS
    two = told(same_BSD, all_BS, -torch.ones(1, 2)).weight_NS
    assert (one - two).abs().max() > 1e-3
    assert (one - 1 / S).abs().max() > 1e-3


def test_self_attention_is_torchs(batch):
    z_BSD, present_BS = batch
    fuser = SelfAttentionFuser(SelfAttentionConfig(sources=S, width=D, heads=2)).eval()
    fused = fuser(z_BSD, present_BS)
    mix = torch.nn.MultiheadAttention(D, 2, batch_first=True)
    pool = torch.nn.MultiheadAttention(D, 2, batch_first=True)
    with torch.no_grad():
        mix.in_proj_weight.copy_(fuser.mix_in.weight)
        mix.in_proj_bias.copy_(fuser.mix_in.bias)
        mix.out_proj.load_state_dict(fuser.mix_out.state_dict())
        pool.in_proj_weight.copy_(torch.cat([torch.eye(D), fuser.pool_in.weight]))
        pool.in_proj_bias.copy_(torch.cat([torch.zeros(D), fuser.pool_in.bias]))
        pool.out_proj.load_state_dict(fuser.pool_out.state_dict())
    some_B = present_BS.any(dim=1)
    hidden_BS = ~present_BS[some_B]
    token = z_BSD[some_B] + fuser.source_SD
    token = token + mix(token, token, token, key_padding_mask=hidden_BS)[0]
    query = fuser.query_D.expand(len(token), 1, D)
    vector, weight = pool(query, token, token, key_padding_mask=hidden_BS)
    torch.testing.assert_close(fused.vector_ND[some_B], vector[:, 0])
    torch.testing.assert_close(fused.weight_NS[some_B], weight[:, 0])


def test_masked_softmax_is_softmax_of_the_rest():
    score = torch.tensor([[1.0, 1000.0, 2.0], [5.0, 5.0, 5.0]])
    present = torch.tensor([[True, False, True], [False, False, False]])
    found = masked_softmax(score, present)
    torch.testing.assert_close(found[0, [0, 2]], torch.softmax(torch.tensor([1.0, 2.0]), dim=0))
    assert found[0, 1] == 0
    assert found[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.95])
def test_source_dropout_has_the_stated_chance(chance):
    present_BS = torch.tensor([[True, True, True, False]]).expand(20_000, 4)
    kept_BS = drop_sources(present_BS, chance, rng=generator(3))
    assert bool(kept_BS.any(dim=1).all())
    assert not bool(kept_BS[:, 3].any())
    expected = (1 - chance) + chance**3 / 3
    for source in range(3):
        assert float(kept_BS[:, source].float().mean()) == pytest.approx(expected, abs=0.015)


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="does not divide"):
        parse(SelfAttentionConfig, {"sources": 2, "width": 6, "heads": 4})
