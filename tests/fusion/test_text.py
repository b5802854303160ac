"""Word vectors from hashed pieces, against dense linear algebra and what words mean."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muma.errors import DataError
from muma.events.event import Domain
from muma.fusion.encoders.text import TextConfig, TextEncoder
from muma.fusion.hashing import buckets_of
from muma.fusion.words import (
    SMOOTH,
    incidence,
    piece_matrix,
    piece_vectors,
    pieces,
    tag_words,
    vocabulary,
    words_of,
)
from muma.rng import derive
from muma.testing.logs import log_of, tiny_log

DOCUMENTS = [["cat", "dog"], ["cat", "dog", "bird"], ["sun", "moon"], ["moon", "star"], ["alone"]]


def with_texts(**columns):
    n = len(next(iter(columns.values())))
    items = pl.LazyFrame(
        {"item_id": range(n), "domain": ["news"] * n, **columns},
        schema_overrides={"item_id": pl.UInt32, "domain": Domain},
    )
    return replace(tiny_log({0: [0]}, n_items=n), items=items)


@given(st.text(alphabet="abcdé漢字", min_size=1, max_size=8))
def test_pieces_are_all_n_grams_of_the_marked_word(word):
    marked = f"<{word}>"
    expected = [marked] + [
        marked[i:j]
        for n in (3, 4, 5)
        for i in range(len(marked))
        if (j := i + n) <= len(marked) and n < len(marked)
    ]
    assert pieces(word) == expected


def test_a_piece_matrix_is_a_mean():
    matrix = piece_matrix(["cat", "cats", "#cat"], 64).toarray()
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    for row, word in zip(matrix, ["cat", "cats", "#cat"], strict=True):
        expected = np.bincount(buckets_of(pieces(word), 64), minlength=64) / len(pieces(word))
        np.testing.assert_allclose(row, expected)


def test_vectors_are_the_singular_vectors_of_the_ppmi():
    buckets, words = 256, vocabulary(DOCUMENTS)
    assert words[:3] == ["cat", "dog", "moon"]
    taken = incidence(DOCUMENTS, words).toarray()
    together = taken.T @ taken
    alone = together.sum(axis=1) == np.diag(together)
    assert [w for w, a in zip(words, alone, strict=True) if a] == ["alone"]
    np.fill_diagonal(together, np.where(alone, np.diag(together), 0))
    joint = piece_matrix(words, buckets).toarray().T @ together
    context = joint.sum(axis=0) ** SMOOTH
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(joint / (joint.sum(axis=1)[:, None] * context / context.sum()))
    ppmi = np.where(joint > 0, np.maximum(pmi, 0), 0)
    left, size, _ = np.linalg.svd(ppmi, full_matrices=False)
    full = (left * np.sqrt(size))[:, :12]
    found = piece_vectors(DOCUMENTS, 12, derive(1), buckets=buckets, most_words=99)
    np.testing.assert_allclose(found @ found.T, full @ full.T, atol=1e-4)
    assert found.shape == (buckets, 12)


def test_words_of_the_same_company_lie_near_and_new_words_near_their_kin():
    rng = derive(2, "text")
    groups = [["guitar", "drums", "metal"], ["violin", "cello", "baroque"]]
    texts = [" ".join(rng.permutation(groups[i % 2])[:2]) for i in range(200)]
    encoder = TextEncoder(TextConfig(vector=8)).fit(with_texts(title=texts))

    def near(one, two):
        a, b = encoder.vectors([words_of(one), words_of(two)])
        return float(a @ b)

    assert near("guitar", "metal") > 0.2 > 0.1 > abs(near("guitar", "cello"))
    assert near("guitars", "guitar") > 0.5 > 0.2 > near("guitars", "violin")
    assert near("Violin!", "violin") == pytest.approx(1)
    assert near("xyzzy", "guitar") == 0


def test_tags_count_as_text():
    assert tag_words("Hip-Hop") == ["#hip hop", "hip", "hop"]
    log = with_texts(tags=[["Hip-Hop", "rap"], ["rap", "beats"], None, []])
    encoder = TextEncoder(TextConfig(vector=4, buckets=128)).fit(log)
    assert encoder.present(torch.arange(4)).tolist() == [True, True, False, False]


def test_a_new_item_is_read_with_the_old_vectors():
    encoder = TextEncoder(TextConfig(vector=4, buckets=512)).fit(
        with_texts(title=["red car", "blue car", "red bike"])
    )
    piece_GK, old = encoder.piece_GK.clone(), encoder(torch.arange(3))
    encoder.update(with_texts(title=["red car", "blue car", "red bike", "CAR, red"]))
    assert torch.equal(encoder.piece_GK, piece_GK)
    torch.testing.assert_close(encoder(torch.tensor([0, 3])), old[[0, 0]])


def test_rare_words_weigh_more():
    texts = ["the storm"] + ["the calm", "the calm sea", "the sea"] * 20
    encoder = TextEncoder(TextConfig(vector=8, buckets=4096)).fit(with_texts(title=texts))
    both, rare, common = encoder.vectors([["the", "storm"], ["storm"], ["the"]])
    assert encoder.idf_G[buckets_of(["<the>"], 4096)[0]] < encoder.idf_G.max()
    assert both @ rare > both @ common


def test_a_user_is_the_tags_they_gave():
    events = {
        "user_id": [0, 0, 1, 2],
        "item_id": [0, 1, 0, 1],
        "timestamp": [0, 1, 2, 3],
        "kind": ["tag", "tag", "tag", "click"],
    }
    tags = pl.Series("ctx_tag", ["jazz", "cool jazz", "rock", "jazz"])
    log = log_of(events)
    log = log.with_events(log.events.with_columns(tags))
    config = TextConfig(vector=4, buckets=512, entity="user")
    encoder = TextEncoder(config).fit(log)
    assert encoder.present(torch.arange(3)).tolist() == [True, True, False]
    expected = encoder.vectors([[*tag_words("jazz"), *tag_words("cool jazz")], tag_words("rock")])
    np.testing.assert_allclose(encoder.get_buffer("text_RK").numpy(), expected)


def test_no_text_is_an_error():
    with pytest.raises(DataError, match="no text in title"):
        TextEncoder(TextConfig()).fit(tiny_log({0: [0]}))


def test_buckets_are_even_and_salted():
    texts = [f"word {i}" for i in range(20_000)]
    one, two = buckets_of(texts, 64), buckets_of(texts, 64, salt="b")
    counts = np.bincount(one, minlength=64)
    assert np.square(counts - 312.5).sum() / 312.5 < 110  # chi square, 63 degrees: p about 2e-4
    assert np.mean(one == two) == pytest.approx(1 / 64, abs=0.005)
