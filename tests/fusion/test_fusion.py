"""The whole: sources side by side, removal, growth, saving, and learning from what is there."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.artifact import read, write
from muma.config import parse
from muma.errors import ConfigError, DataError, NotFittedError
from muma.fusion.fusion import Fusion, FusionConfig
from muma.fusion.layers import generator
from muma.fusion.rows import Rows, listed, merged
from muma.testing.fusion_logs import media_log

E = "muma.fusion.encoders"
HISTORY = {"use": f"{E}.history.HistoryEncoder"}
SOURCES = {
    "behaviour": {"use": f"{E}.behaviour.BehaviourEncoder", "buckets": 128},
    "duration": {"use": f"{E}.duration.DurationEncoder", "groups": 3},
    "text": {"use": f"{E}.text.TextEncoder", "buckets": 256, "vector": 8},
    "dense": {
        "use": f"{E}.dense.DenseEncoder", "column": "attr_vector", "inputs": 6, "epochs": 1,
    },
    "gaze": {"use": f"{E}.gaze.GazeEncoder", "side": 8},
    "plays": HISTORY,
    "friends": {"use": f"{E}.social.SocialEncoder", "base": HISTORY},
}  # fmt: skip
FUSERS = ("concat.ConcatFuser", "attention.AttentionFuser", "self_attention.SelfAttentionFuser")


def made(fuser=FUSERS[1], **changes):
    given = {"encoders": SOURCES, "width": 8, "fuser": {"use": f"muma.fusion.fusers.{fuser}"}}
    return Fusion(parse(FusionConfig, given | changes))


@pytest.fixture(scope="module")
def log():
    return media_log()


@pytest.fixture
def pairs():
    return torch.arange(16), torch.arange(16)


@pytest.mark.parametrize("fuser", FUSERS)
def test_sources_stand_in_the_order_of_the_config(log, pairs, fuser):
    fusion = made(fuser).fit(log).eval()
    item_N, user_N = pairs
    fused = fusion(item_N, user_N)
    assert fusion.names == tuple(SOURCES)
    for place, name in enumerate(fusion.names):
        encoder = fusion.encoder(name)
        index_N = item_N if encoder.entity == "item" else user_N
        assert torch.equal(fused.present_NS[:, place], encoder.present(index_N))
    z_NSD = torch.stack([fusion.encoder(n)(item_N) for n in fusion.names], dim=1)
    again = fusion.fuser(z_NSD, fused.present_NS)
    torch.testing.assert_close(again.vector_ND, fused.vector_ND)
    repeated = fusion(item_N.repeat(3), user_N.repeat(3))
    torch.testing.assert_close(repeated.vector_ND, fused.vector_ND.repeat(3, 1))


@pytest.mark.parametrize("fuser", FUSERS)
def test_any_one_source_can_be_removed(log, pairs, fuser):
    fusion = made(fuser).fit(log).eval()
    whole = fusion(*pairs)
    for place, name in enumerate(fusion.names):
        less = fusion.without(name)(*pairs)
        assert not bool(less.present_NS[:, place].any())
        assert bool((less.weight_NS[:, place] == 0).all())
        assert bool(torch.isfinite(less.vector_ND).all())
        had_N = whole.present_NS[:, place]
        assert torch.equal(less.vector_ND[~had_N], whole.vector_ND[~had_N])
        assert not torch.equal(less.vector_ND[had_N], whole.vector_ND[had_N])
    assert torch.equal(fusion(*pairs).vector_ND, whole.vector_ND)
    gone = fusion.without(*fusion.names[:-1]).without(fusion.names[-1])(*pairs)
    assert torch.equal(gone.vector_ND, fusion.fuser.default_D.expand(16, -1))
    assert bool((gone.weight_NS == 0).all())


def test_an_entity_that_is_not_given_is_missing(log, pairs):
    fusion = made().fit(log).eval()
    items = fusion(pairs[0])
    assert not bool(items.present_NS[:, 5:].any())
    users = fusion(None, pairs[1])
    assert not bool(users.present_NS[:, :5].any())
    assert bool(users.present_NS[:, 5:].any())
    with pytest.raises(DataError, match="rows of the same batch"):
        fusion(None, None)
    with pytest.raises(DataError, match="rows of the same batch"):
        fusion(pairs[0], pairs[1][:3])


def test_unknown_items_and_users_get_the_default(log):
    fusion = made().fit(log).eval()
    fused = fusion(torch.tensor([-1, 99]), torch.tensor([10**9, -1]))
    assert torch.equal(fused.vector_ND, fusion.fuser.default_D.expand(2, -1))


@pytest.mark.parametrize("fuser", FUSERS)
def test_saved_and_loaded_gives_the_same(log, pairs, tmp_path, fuser):
    fusion = made(fuser, context=2).fit(log).eval()
    context_NC = torch.randn(16, 2, generator=generator(1))
    with write(tmp_path / "f", kind="fusion", version=1) as writer:
        fusion.save(writer)
    artifact = read(tmp_path / "f", kind="fusion", version=1)
    assert sorted(artifact.files) == ["fusion.json", "fusion.safetensors"]
    assert json.loads(artifact.path("fusion.json").read_text())["width"] == 8
    again = Fusion.load(artifact).eval()
    one, two = fusion(*pairs, context_NC), again(*pairs, context_NC)
    assert torch.equal(one.vector_ND, two.vector_ND)
    assert torch.equal(one.weight_NS, two.weight_NS)
    for module in (fusion, again):
        module.update(media_log(3))
    assert torch.equal(again(*pairs, context_NC).vector_ND, fusion(*pairs, context_NC).vector_ND)


def test_growth_keeps_every_parameter(log):
    fusion = made().fit(log)
    adam = torch.optim.Adam(fusion.parameters(), lr=0.1)
    before = [id(parameter) for parameter in fusion.parameters()]
    fusion.update(media_log(n_users=40, n_items=30))
    assert [id(parameter) for parameter in fusion.parameters()] == before
    fused = fusion(torch.arange(29), torch.arange(29))
    assert bool(fused.present_NS[20:28].any(dim=0)[[0, 1, 2, 3, 5, 6]].all())
    fused.vector_ND.sum().backward()
    adam.step()


def test_equal_seeds_make_equal_fusions_whatever_torch_drew(log, pairs):
    one = made().fit(log).eval()(*pairs)
    torch.rand(7)
    two = made().fit(log).eval()(*pairs)
    assert torch.equal(one.vector_ND, two.vector_ND)
    assert not torch.equal(made(seed=2).fit(log).eval()(*pairs).vector_ND, one.vector_ND)


def test_the_source_that_tells_is_weighed_most(log):
    fusion = made(encoders={k: SOURCES[k] for k in ("behaviour", "duration", "text")}).fit(log)
    item_N = torch.arange(15)
    target_ND = fusion.encoder("text")(item_N).detach().clone() * 3
    for name in fusion.names:
        fusion.encoder(name).requires_grad_(False)
    adam = torch.optim.Adam(fusion.fuser.parameters(), lr=0.05)
    for _ in range(150):
        loss = (3 * fusion(item_N).vector_ND - target_ND)[[0, 1, 2, 4, 5]].square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    weight_NS = fusion.eval()(item_N).weight_NS[[0, 1, 2, 4, 5]]
    assert weight_NS.mean(dim=0)[2] > 0.8


def test_mistakes_are_named(log):
    with pytest.raises(ConfigError, match="did you mean 'buckets'"):
        made(encoders={"text": {"use": f"{E}.text.TextEncoder", "bucket": 2}})
    with pytest.raises(ConfigError, match="at least 1"):
        made(encoders={})
    with pytest.raises(NotFittedError, match="behaviour"):
        made()(torch.arange(2))
    with pytest.raises(ConfigError, match="no source 'smell'"):
        made().without("smell")


rows = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 99), min_size=1, max_size=3))


@settings(max_examples=60)
@given(rows, rows)
def test_merged_rows_are_a_dictionary_update(old, new):
    def as_rows(found):
        entity = np.array([k for k, v in found.items() for _ in v], dtype=np.int64)
        value = np.array([x for v in found.values() for x in v], dtype=np.int64)
        made = listed(entity, value=value)
        first = np.array([found[k][0] for k in made.index_R.tolist()], dtype=np.int64)
        return Rows(made.index_R, {"first": first}, made.length_R, made.ragged)

    both = merged(as_rows(old), as_rows(new))
    expected = {**old, **new}
    assert both.index_R.tolist() == sorted(expected)
    split = np.split(both.ragged["value"], np.cumsum(both.length_R)[:-1]) if expected else []
    assert [part.tolist() for part in split] == [expected[k] for k in sorted(expected)]
    assert both.dense["first"].tolist() == [expected[k][0] for k in sorted(expected)]
