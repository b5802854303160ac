"""Item indexes against brute force."""

import multiprocessing as mp
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from muma.candidates.retrieval import IndexConfig, ItemIndex, LiveIndex
from muma.errors import ArtifactError, DataError
from muma.rng import derive


def vectors(n, width=8, seed=1):
    return derive(seed, "vectors").standard_normal((n, width)).astype(np.float32)


def brute(user_BKD, item_ID, n, exclude=None):
    score_BI = np.einsum("bkd,id->bki", user_BKD, item_ID).max(axis=1)
    if exclude is not None:
        score_BI[exclude.toarray()] = -np.inf
    item_BN = np.argsort(-score_BI, axis=1, kind="stable")[:, :n]
    score_BN = np.take_along_axis(score_BI, item_BN, axis=1)
    return np.where(np.isfinite(score_BN), item_BN, -1), score_BN


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 4), st.integers(1, 3), st.integers(1, 70), st.integers(0, 9)
)
def test_exact_search_is_brute_force(items, users, interests, n, seed):
    rng = derive(seed, "case")
    item_ID = vectors(items, seed=seed)
    user_BKD = rng.standard_normal((users, interests, 8)).astype(np.float32)
    exclude = csr_array(rng.random((users, items)) < 0.3)
    found, score = ItemIndex.build(item_ID).search(user_BKD, n, exclude=exclude)
    wanted, wanted_score = brute(user_BKD, item_ID, n, exclude)
    pad = n - wanted.shape[1]
    assert np.array_equal(found, np.pad(wanted, ((0, 0), (0, max(pad, 0))), constant_values=-1))
    np.testing.assert_allclose(score[:, : wanted.shape[1]], wanted_score, rtol=1e-4, atol=1e-5)
    assert np.isneginf(score[found < 0]).all()


def test_lists_find_nearly_all_and_say_how_many():
    item_ID = vectors(5_000, 16)
    config = IndexConfig(exact_items=100, probes=24, depth=20)
    index = ItemIndex.build(item_ID, config, user_QD=vectors(200, 16, seed=2))
    found, _ = index.search(vectors(200, 16, seed=2), 20)
    truth, _ = ItemIndex.build(item_ID).search(vectors(200, 16, seed=2), 20)
    share = np.mean([len(np.intersect1d(f, t)) / 20 for f, t in zip(found, truth, strict=True)])
    assert index.recall == pytest.approx(share)
    assert 0.5 < index.recall < 1
    whole = ItemIndex.build(item_ID, config.model_copy(update={"probes": 10_000}))
    assert whole.recall == 1.0


def test_equal_seeds_make_equal_indexes():
    config = IndexConfig(exact_items=0, lists=8, probes=2)
    one, two = (ItemIndex.build(vectors(500), config).search(vectors(9, seed=3), 50) for _ in "ab")
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


def test_equal_scores_go_to_the_lower_index():
    found, _ = ItemIndex.build(np.ones((5, 2), np.float32)).search(np.ones((1, 2)), 5)
    assert found.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ItemIndex.build(np.empty((0, 3))), "must be a matrix that is not empty"),
        (lambda: ItemIndex.build(np.array([[1.0], [np.nan]])), "not finite (row 1)"),
        (lambda: ItemIndex.build(np.eye(3)).search(np.ones((1, 2)), 2), "width is 3"),
        (lambda: ItemIndex.build(np.eye(3)).search(np.full((1, 3), np.inf), 2), "not finite"),
        (
            lambda: ItemIndex.build(np.eye(3)).search(
                np.ones((1, 3)), 2, exclude=csr_array((1, 2))
            ),
            "not (1, 3)",
        ),
    ],
)
def test_wrong_input_is_said(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert message in str(caught.value)


def test_nobody_and_nothing():
    index = ItemIndex.build(np.eye(3))
    assert index.search(np.empty((0, 3)), 2)[0].shape == (0, 2)
    assert index.search(np.ones((2, 3)), 0)[0].shape == (2, 0)


@pytest.mark.parametrize("exact", [0, 1_000])
def test_an_index_survives_the_disk(tmp_path, exact):
    live = LiveIndex(tmp_path / "index", IndexConfig(exact_items=exact, lists=4, probes=2))
    with pytest.raises(ArtifactError, match="rebuild first"):
        _ = live.index
    made = live.rebuild(vectors(300))
    again = LiveIndex(tmp_path / "index").index
    assert again.recall == made.recall
    assert np.array_equal(again.search(vectors(5), 9)[0], made.search(vectors(5), 9)[0])


def test_readers_see_one_table_or_the_other(tmp_path):
    one, two = vectors(400, seed=1), -vectors(400, seed=1)
    live = LiveIndex(tmp_path / "index")
    live.rebuild(one)
    user = vectors(1, seed=7)
    answers = {tuple(brute(user[:, None], table, 5)[0][0]) for table in (one, two)}
    seen, stop = set(), threading.Event()

    def read():
        other = LiveIndex(tmp_path / "index")
        while not stop.is_set():
            seen.add(tuple(live.index.search(user, 5)[0][0]))
            seen.add(tuple(other.refresh().search(user, 5)[0][0]))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(10):
        live.rebuild(two if turn % 2 == 0 else one)
    stop.set()
    reader.join()
    assert seen <= answers
    assert len(seen) == 2


def _dies(folder):
    live = LiveIndex(folder)
    save = ItemIndex.save
    ItemIndex.save = lambda self, writer: (save(self, writer), os._exit(1))
    live.rebuild(-vectors(300))


def test_a_kill_while_rebuilding_leaves_the_old_index(tmp_path):
    old = LiveIndex(tmp_path / "index").rebuild(vectors(300))
    process = mp.get_context("spawn").Process(target=_dies, args=(tmp_path / "index",))
    process.start()
    process.join()
    assert process.exitcode == 1
    found = LiveIndex(tmp_path / "index").index
    assert np.array_equal(found.search(vectors(5), 9)[0], old.search(vectors(5), 9)[0])


def test_a_damaged_index_is_said(tmp_path):
    live = LiveIndex(tmp_path / "index")
    live.rebuild(vectors(50))
    path = next((tmp_path / "index").rglob("items.faiss"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError):
        live.refresh()
