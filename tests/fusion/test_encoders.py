"""Encoders of categories, durations, histories and vectors, against plain loops."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from muma.config import parse
from muma.errors import ConfigError, DataError, MissingExtraError
from muma.events.event import Domain
from muma.fusion.encoders.behaviour import BehaviourConfig, BehaviourEncoder
from muma.fusion.encoders.dense import DenseConfig, DenseEncoder
from muma.fusion.encoders.duration import DurationConfig, DurationEncoder
from muma.fusion.encoders.history import HistoryConfig, HistoryEncoder
from muma.fusion.encoders.sentence import SentenceConfig, SentenceEncoder
from muma.testing.fusion_logs import media_log
from muma.testing.logs import SECOND, log_of, tiny_log


def with_items(log, **columns):
    """The log with item columns, one row an item from 0 on."""
    n = len(next(iter(columns.values())))
    frame = pl.DataFrame(
        {"item_id": range(n), "domain": ["video"] * n, **columns},
        schema_overrides={"item_id": pl.UInt32, "domain": Domain},
    )
    return replace(log, items=frame.lazy())


# ---- behaviour


def test_items_filed_alike_are_encoded_alike():
    log = with_items(
        tiny_log({0: [0, 1, 2, 3, 4]}),
        category=["news", "news", "sport", None, None],
        author=["ann", "ann", "ann", "ann", None],
    )
    encoder = BehaviourEncoder(BehaviourConfig(width=6)).fit(log)
    z_ND = encoder(torch.arange(5))
    assert encoder.present(torch.arange(5)).tolist() == [True] * 4 + [False]
    assert torch.equal(z_ND[0], z_ND[1])
    assert not torch.equal(z_ND[0], z_ND[2])
    assert not torch.equal(z_ND[0], z_ND[3])


def test_a_text_means_something_else_in_another_field():
    columns = {"category": ["x", None], "author": [None, "x"]}
    log = with_items(tiny_log({0: [0, 1]}), **columns)
    encoder = BehaviourEncoder(BehaviourConfig(width=6)).fit(log)
    bucket_RFH = encoder.get_buffer("bucket_RFH")
    assert set(bucket_RFH[0, 0].tolist()).isdisjoint(bucket_RFH[1, 1].tolist())


def test_a_new_author_has_a_vector_at_once():
    log = with_items(tiny_log({0: [0, 1]}), author=["ann", "bob"])
    encoder = BehaviourEncoder(BehaviourConfig(width=6)).fit(log)
    old_ND = encoder(torch.arange(2))
    grown = with_items(tiny_log({0: [0, 1, 2]}), author=["ann", "bob", "cyd"])
    encoder.update(grown)
    new_ND = encoder(torch.arange(3))
    assert torch.equal(new_ND[:2], old_ND)
    assert bool(encoder.present(torch.tensor([2]))[0])
    assert not torch.equal(new_ND[2], old_ND[0])


def test_the_id_is_a_field_of_its_own():
    log = with_items(tiny_log({0: [0, 1]}), category=["a", "a"])
    plain = BehaviourEncoder(BehaviourConfig(width=6, fields=("category",))).fit(log)
    named = BehaviourEncoder(BehaviourConfig(width=6, fields=("category", "id"))).fit(log)
    assert torch.equal(plain(torch.tensor([0])), plain(torch.tensor([1])))
    assert not torch.equal(named(torch.tensor([0])), named(torch.tensor([1])))


# ---- duration


def plays(seconds, durations, users=None):
    """Plays of one item each row group: lists of (item, dwell seconds)."""
    rows = [(item, dwell) for item, dwells in enumerate(seconds) for dwell in dwells]
    items = [item for item, _ in rows]
    return log_of(
        {
            "user_id": users or [0] * len(rows),
            "item_id": items,
            "timestamp": [at * SECOND for at in range(len(rows))],
            "kind": ["play"] * len(rows),
            "dwell_ms": [int(1000 * dwell) for _, dwell in rows],
            "item_duration_ms": [int(1000 * durations[item]) for item in items],
        }
    )


def test_short_videos_get_no_free_ride():
    # item 0 and 1 are short, 2 and 3 long; 0 and 2 are watched better than their like
    short = np.linspace(1, 10, 40)
    long = 30 * short
    log = plays([short[20:], short[:20], long[20:], long[:20]], [10, 10, 300, 300])
    encoder = DurationEncoder(DurationConfig(width=5, groups=2)).fit(log)
    z_ND = encoder(torch.arange(4))
    assert torch.equal(z_ND[0], z_ND[2])
    assert torch.equal(z_ND[1], z_ND[3])
    assert not torch.equal(z_ND[0], z_ND[1])


def test_completion_alone_would_have_favoured_the_short_one():
    # everybody finishes short videos and half of long ones: both are average for their length
    log = plays([[10] * 20, [10] * 20, [150] * 20, [150] * 20], [10, 10, 300, 300])
    encoder = DurationEncoder(DurationConfig(width=5, groups=2)).fit(log)
    q_P = encoder.quantiles(np.array([10.0, 150.0]), np.array([10.0, 300.0]))
    assert q_P.tolist() == [0.5, 0.5]
    z_ND = encoder(torch.arange(4))
    torch.testing.assert_close(z_ND[0], z_ND[2])


def test_ranks_follow_the_group_not_the_whole():
    rng = np.random.Generator(np.random.PCG64(1))
    dwell, length = rng.gamma(2, 5, 4000), np.repeat([10.0, 20.0, 40.0, 80.0], 1000)
    dwell = dwell * length
    log = plays(list(dwell[:, None]), dict(enumerate(length)))
    encoder = DurationEncoder(DurationConfig(width=5, groups=4, knots=201)).fit(log)
    q_P = encoder.quantiles(np.floor(dwell * 1000) / 1000, length)
    for group in range(4):
        mine = slice(1000 * group, 1000 * group + 1000)
        rank = dwell[mine].argsort().argsort() / 1000
        np.testing.assert_allclose(q_P[mine], rank, atol=0.006)


def test_bins_are_frozen_and_few_plays_are_shrunk():
    base = plays([np.linspace(1, 100, 50), [100.0], [100.0] * 30], [100, 100, 100])
    encoder = DurationEncoder(DurationConfig(width=5, groups=1)).fit(base)
    knots = encoder.knot_GK.clone()
    watched = encoder.get_buffer("watched_RC").clone()
    assert watched[1, 0] < watched[2, 0] / 2  # one full play says less than thirty
    encoder.update(plays([[1.0], [1.0], [1.0]], [100, 100, 100]))
    assert torch.equal(encoder.knot_GK, knots)
    assert bool((encoder.get_buffer("watched_RC")[:, 0] < 0).all())


def test_the_catalogues_duration_stands_in_for_the_events():
    log = plays([[1.0, 5.0], [3.0]], [10, 10])
    bare = log.with_events(log.events.with_columns(item_duration_ms=pl.lit(None, pl.Int32)))
    with pytest.raises(DataError, match="no event has both"):
        DurationEncoder(DurationConfig(groups=1)).fit(bare)
    told = with_items(bare, duration_ms=[10_000, 10_000])
    one, two = (DurationEncoder(DurationConfig(groups=1)).fit(x) for x in (log, told))
    assert torch.equal(one(torch.arange(2)), two(torch.arange(2)))


# ---- history


def test_history_is_the_weighted_mean_of_item_rows():
    log = log_of(
        {
            "user_id": [0, 0, 0, 1, 1],
            "item_id": [2, 0, 2, 1, 0],
            "timestamp": [0, 1, 2, 3, 4],
            "kind": ["play", "play", "play", "play", "impression"],
            "value": [3.0, 8.0, 5.0, None, 1.0],
        }
    )
    encoder = HistoryEncoder(HistoryConfig(width=3)).fit(log)
    table, out = encoder.item_ID, encoder.out
    heavy, light = np.log1p(5.0), np.log1p(8.0)  # the greatest value of a pair counts
    expected = (heavy * table[2] + light * table[0]) / (heavy + light)
    torch.testing.assert_close(encoder(torch.tensor([0]))[0], out(expected))
    torch.testing.assert_close(encoder(torch.tensor([1]))[0], out(table[1]))
    summed = HistoryEncoder(HistoryConfig(width=3, pull=0)).fit(log)
    total = heavy * summed.item_ID[2] + light * summed.item_ID[0]
    torch.testing.assert_close(summed(torch.tensor([0]))[0], summed.out(total))


def test_new_items_take_reserved_rows():
    encoder = HistoryEncoder(HistoryConfig(width=3, reserve=0.5)).fit(tiny_log({0: [0, 1, 2, 3]}))
    assert encoder.item_ID.shape == (6, 3)
    encoder.update(tiny_log({0: [0, 1, 2, 3], 1: [4], 2: [5], 3: [6]}))
    z_ND = encoder(torch.tensor([1, 2, 3]))
    torch.testing.assert_close(z_ND, encoder.out(encoder.item_ID[[4, 5, 4]]))


def test_a_history_of_vectors_skips_items_without_one():
    log = with_items(tiny_log({0: [0, 1], 1: [1]}), attr_v=[[1.0, 2.0], None])
    items = {
        "use": "muma.fusion.encoders.dense.DenseEncoder",
        "column": "attr_v",
        "inputs": 2,
        "epochs": 0,
    }
    encoder = HistoryEncoder(parse(HistoryConfig, {"width": 3, "items": items})).fit(log)
    z_ND = encoder(torch.tensor([0, 1]))
    torch.testing.assert_close(z_ND[0], encoder.out(encoder.items(torch.tensor([0])))[0])


def test_unknown_kinds_are_refused():
    with pytest.raises(ConfigError, match="unknown kinds"):
        parse(HistoryConfig, {"kinds": ["listen"]})


# ---- dense vectors


def vectors(n, rank=2, width=8):
    rng = np.random.Generator(np.random.PCG64(2))
    return rng.normal(size=(n, rank)) @ rng.normal(size=(rank, width)) + 5


def test_pretraining_learns_to_reconstruct():
    log = with_items(tiny_log({0: [0]}, n_items=200), attr_v=vectors(200).tolist())
    index_N, error = torch.arange(200), {}
    for epochs in (0, 100):
        config = DenseConfig(column="attr_v", inputs=8, width=2, epochs=epochs, learning_rate=1e-2)
        x_NK, again_NK = DenseEncoder(config).fit(log).reconstruct(index_N)
        error[epochs] = float((x_NK - again_NK).square().mean().detach())
    assert error[100] < 0.05 < 0.5 < error[0]
    torch.testing.assert_close(x_NK.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(x_NK.std(dim=0, correction=0), torch.ones(8))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_auto_encoder_is_not_trained_by_the_task(frozen):
    log = with_items(tiny_log({0: [0]}, n_items=9), attr_v=vectors(9).tolist())
    config = DenseConfig(column="attr_v", inputs=8, width=2, epochs=1, frozen=frozen)
    encoder = DenseEncoder(config).fit(log)
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert bool(trained) != frozen
    assert not any(name.startswith("decoder") for name in trained)


def test_constant_columns_and_wrong_vectors():
    flat = with_items(tiny_log({0: [0]}, n_items=2), attr_v=[[1.0, 3.0], [2.0, 3.0]])
    config = DenseConfig(column="attr_v", inputs=2, epochs=1)
    assert bool(torch.isfinite(DenseEncoder(config).fit(flat)(torch.arange(2))).all())
    for wrong in ([1.0], [1.0, float("nan")]):
        log = with_items(tiny_log({0: [0]}, n_items=2), attr_v=[[1.0, 2.0], wrong])
        with pytest.raises(DataError, match="1 rows of 'attr_v' are no list of 2 finite"):
            DenseEncoder(config).fit(log)
    with pytest.raises(DataError, match="no column 'attr_v'"):
        DenseEncoder(config).fit(media_log())


# ---- sentences


def test_sentences_need_their_extra_only_to_fit(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    encoder = SentenceEncoder(SentenceConfig(inputs=3))
    with pytest.raises(MissingExtraError, match=r"muma\[sentences\]"):
        encoder.fit(media_log())


def test_sentences_of_the_stated_width_are_kept_frozen(monkeypatch):
    class SentenceTransformer:
        def __init__(self, name):
            assert name == "some/model"

        def encode(self, texts, **_):
            return np.array([[len(text), text.count(","), 1.0] for text in texts])

    library = SimpleNamespace(SentenceTransformer=SentenceTransformer)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    log = with_items(tiny_log({0: [0]}, n_items=3), title=["ab", None, None],
                     tags=[["x", "y"], ["z"], None])  # fmt: skip
    config = SentenceConfig(model="some/model", inputs=3, width=4)
    encoder = SentenceEncoder(config).fit(log)
    assert encoder.present(torch.arange(3)).tolist() == [True, True, False]
    expected = encoder.out(torch.tensor([[8.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))  # "ab. x, y" and "z"
    torch.testing.assert_close(encoder(torch.arange(2)), expected)
    assert {name for name, _ in encoder.named_parameters()} == {"out.weight", "out.bias"}
    with pytest.raises(DataError, match="gives vectors of 3, the config says inputs = 5"):
        SentenceEncoder(SentenceConfig(model="some/model", inputs=5)).fit(log)
    with pytest.raises(DataError, match="none of the columns title"):
        SentenceEncoder(SentenceConfig(columns=("title",))).fit(
            replace(log, items=log.items.select("item_id"))
        )
