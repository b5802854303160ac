"""Propagation over the social graph, against dense matrices and plain loops."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.config import parse
from muma.fusion.encoders.social import SocialConfig, SocialEncoder, adjacency, propagation
from muma.fusion.layers import weighted_rows
from muma.testing.logs import tiny_log

HISTORY = {"use": "muma.fusion.encoders.history.HistoryEncoder"}
EDGES = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (5, 5), (0, 1), (1, 0)]
USERS = 7


def log_with(edges, histories=None, n_users=USERS):
    social = pl.LazyFrame(
        {
            "src": [a for a, _ in edges],
            "dst": [b for _, b in edges],
            "relation": ["friend"] * len(edges),
        },
        schema_overrides={"src": pl.UInt32, "dst": pl.UInt32},
    )
    return replace(tiny_log(histories or {0: [0]}, n_users=n_users), social=social)


def dense(edges, n_users=USERS):
    found = np.zeros((n_users, n_users))
    for a, b in edges:
        if a != b:
            found[a, b] = found[b, a] = 1
    return found


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("own", [False, True])
def test_propagation_is_lightgcn(layers, own):
    config = SocialConfig(layers=layers, own=own, width=4, buckets=4096)
    encoder = SocialEncoder(config).fit(log_with(EDGES))
    adjacent = dense(EDGES)
    degree = np.maximum(adjacent.sum(axis=1), 1)
    step = adjacent / np.sqrt(np.outer(degree, degree))
    total = sum(np.linalg.matrix_power(step, power) for power in range(1, layers + 1))
    if own:
        total = (total + np.eye(USERS)) / (layers + 1)
    else:
        total = (total - np.diag(np.diag(total))) / layers
    own_encoder = SocialEncoder(SocialConfig(layers=1, own=True, width=4, buckets=4096))
    alone = own_encoder.fit(log_with([]))  # z = A e / 2 + b: gives each user's row of the table
    assert torch.equal(alone.user_UD, encoder.user_UD)
    row_UD = (alone(torch.arange(USERS)) - alone.out.bias) * 2  # A e
    expected = torch.from_numpy(total).float() @ row_UD + encoder.out.bias
    some = torch.from_numpy(total.sum(axis=1) > 0)
    found = encoder(torch.arange(USERS))
    assert encoder.present(torch.arange(USERS)).tolist() == some.tolist()
    torch.testing.assert_close(found[some], expected[some], atol=1e-6, rtol=1e-5)


def test_the_friend_mean_is_a_mean_of_friends_with_data():
    histories = {0: [0], 1: [1, 2], 3: [2]}  # user 2 never played anything
    log = log_with([(0, 1), (0, 2), (0, 3), (4, 2)], histories)
    config = parse(SocialConfig, {"layers": 1, "norm": "mean", "width": 4, "base": HISTORY})
    encoder = SocialEncoder(config).fit(log)
    base = encoder.base(torch.arange(USERS))
    found = encoder(torch.arange(USERS))
    torch.testing.assert_close(found[0], encoder.out((base[1] + base[3]) / 2))
    torch.testing.assert_close(found[1], encoder.out(base[0]))
    torch.testing.assert_close(found[2], encoder.out(base[0]))  # 4 is a friend without data
    assert encoder.present(torch.tensor([0, 4, 5])).tolist() == [True, False, False]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("norm", ["lightgcn", "mean"])
def test_a_users_own_data_never_enters(layers, norm):
    histories = {user: [user] for user in range(5)}
    given = {"layers": layers, "norm": norm, "width": 4, "base": HISTORY}
    encoder = SocialEncoder(parse(SocialConfig, given)).fit(log_with(EDGES, histories))
    before = encoder(torch.arange(5))
    with torch.no_grad():
        encoder.base.item_ID[0] += 1  # only user 0 played item 0
    after = encoder(torch.arange(5))
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


@settings(max_examples=30, deadline=None)
@given(st.permutations(EDGES), st.lists(st.booleans(), min_size=8, max_size=8))
def test_order_and_direction_of_edges_do_not_matter(edges, turned):
    config = SocialConfig(width=3, buckets=64)
    plain = SocialEncoder(config).fit(log_with(EDGES))
    swapped = [(b, a) if turn else (a, b) for (a, b), turn in zip(edges, turned, strict=True)]
    mixed = SocialEncoder(config).fit(log_with([*swapped, swapped[0]]))
    assert torch.equal(plain(torch.arange(USERS)), mixed(torch.arange(USERS)))


def test_directed_edges_go_one_way_and_relations_are_chosen():
    encoder = SocialEncoder(SocialConfig(directed=True, layers=1)).fit(log_with([(0, 1)]))
    assert encoder.present(torch.tensor([0, 1])).tolist() == [True, False]
    encoder = SocialEncoder(SocialConfig(relations=("follow",))).fit(log_with(EDGES))
    assert not bool(encoder.present(torch.arange(USERS)).any())


def test_only_the_strongest_neighbours_are_kept():
    edges = [(0, 1), (0, 2), (0, 3), (2, 4), (3, 4), (3, 5)]
    encoder = SocialEncoder(SocialConfig(layers=1, most=1, buckets=4096)).fit(log_with(edges))
    whole = propagation(adjacency(*np.array(edges).T, USERS), SocialConfig(layers=1)).toarray()
    length_R, weight_E = encoder.get_buffer("length_R"), encoder.get_buffer("weight_E")
    assert length_R.tolist() == [1] * 6
    np.testing.assert_allclose(weight_E.numpy(), whole[:6].max(axis=1), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(0, 2**30))
def test_weighted_rows_is_a_loop(lengths, seed):
    rng = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    column_E = torch.randint(5, (total,), generator=rng)
    weight_E = torch.randn(total, generator=rng, dtype=torch.float64)
    vector_CD = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    found = weighted_rows(torch.tensor(lengths), column_E, weight_E, vector_CD)
    at = 0
    for row, length in enumerate(lengths):
        expected = torch.zeros(3, dtype=torch.float64)
        for entry in range(at, at + length):
            expected += weight_E[entry] * vector_CD[column_E[entry]]
        torch.testing.assert_close(found[row], expected)
        at += length
