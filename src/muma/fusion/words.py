"""Words, tags and their pieces, and vectors for the pieces learned from a catalogue.

A word is its character n-grams and itself (Bojanowski et al., "Enriching word vectors with subword
information", TACL 2017), hashed to G buckets, so that a word never seen has a vector. The pieces'
vectors are the left singular vectors of the positive pointwise mutual information between pieces and
the words of the same document (Levy and Goldberg, NeurIPS 2014):

    PPMI_gw = max(0, log p(g, w) - log p(g) - log p_0.75(w)),     v_g = U_g sqrt(Sigma)

Shape: N documents, V words, G buckets, K width of a piece's vector.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
from scipy.sparse import csr_array

from muma.fusion.hashing import buckets_of

_WORD = re.compile(r"[^\W_]+")
TAG = "#"
SMOOTH = 0.75
OVERSAMPLE = 8
ROUNDS = 3


def words_of(text: str) -> list[str]:
    """Lower-case words of a text.

    Example:
        >>> words_of("Kind of Blue!")
        ['kind', 'of', 'blue']
    """
    return _WORD.findall(text.lower())


def tag_words(tag: str) -> list[str]:
    """A tag as one whole and its words, where they say more.

    Example:
        >>> tag_words("Hip Hop"), tag_words("jazz")
        (['#hip hop', 'hip', 'hop'], ['#jazz', 'jazz'])
    """
    return [TAG + " ".join(words_of(tag)), *words_of(tag)]


def pieces(word: str, *, shortest: int = 3, longest: int = 5) -> list[str]:
    """The word itself and its n-grams with `<` and `>` at its ends; a whole tag is one piece.

    Example:
        >>> pieces("folk", longest=3)
        ['<folk>', '<fo', 'fol', 'olk', 'lk>']
    """
    marked = f"<{word}>"
    if word.startswith(TAG):
        return [marked]
    grams = [
        marked[at : at + size]
        for size in range(shortest, longest + 1)
        for at in range(len(marked) - size + 1)
        if size < len(marked)
    ]
    return [marked, *grams]


def piece_matrix(
    words: Sequence[str], buckets: int, *, shortest: int = 3, longest: int = 5
) -> csr_array:
    """Row w is the mean over the word's pieces, [V, G]."""
    split = [pieces(word, shortest=shortest, longest=longest) for word in words]
    length_V = np.array([len(found) for found in split], dtype=np.int64)
    distinct = list(dict.fromkeys(chain.from_iterable(split)))
    bucket_of = dict(zip(distinct, buckets_of(distinct, buckets).tolist(), strict=True))
    column_E = np.array([bucket_of[piece] for found in split for piece in found], dtype=np.int64)
    cells = (np.repeat(1.0 / np.maximum(length_V, 1), length_V), column_E)
    starts = np.concatenate([[0], np.cumsum(length_V)])
    matrix = csr_array((*cells, starts), shape=(len(words), buckets))
    matrix.sum_duplicates()
    return matrix


def vocabulary(documents: Sequence[Sequence[str]], *, most: int | None = None) -> list[str]:
    """Distinct words, those in most documents first, ties in alphabetical order.

    Example:
        >>> vocabulary([["b", "a"], ["b"]])
        ['b', 'a']
    """
    counts = Counter(chain.from_iterable(set(words) for words in documents))
    return [w for w, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))][:most]


def incidence(documents: Sequence[Sequence[str]], words: Sequence[str]) -> csr_array:
    """1 where a document has a word, [N, V]; words outside `words` are left out."""
    column = {word: at for at, word in enumerate(words)}
    found = [sorted({column[w] for w in doc if w in column}) for doc in documents]
    starts = np.concatenate([[0], np.cumsum([len(columns) for columns in found])]).astype(np.int64)
    column_E = np.fromiter(chain.from_iterable(found), np.int64, starts[-1])
    return csr_array((np.ones(len(column_E)), column_E, starts), shape=(len(documents), len(words)))


def piece_vectors(
    documents: Sequence[Sequence[str]],
    width: int,
    rng: np.random.Generator,
    *,
    buckets: int,
    most_words: int,
    shortest: int = 3,
    longest: int = 5,
) -> np.ndarray:
    """Vectors of the buckets, float32 [G, K]; zeros for a bucket no word falls into.

    Args:
        documents: words of each document.
        width: K; directions beyond the rank of the data are zero.
        rng: draws the sketch of the decomposition.
        buckets: G.
        most_words: words that are told apart as context, the most frequent ones.
        shortest: letters of the shortest n-gram, ends included.
        longest: letters of the longest one.
    """
    words = vocabulary(documents, most=most_words)
    taken_NV = incidence(documents, words)
    together_VV = csr_array(taken_NV.T @ taken_NV)
    count_V = together_VV.diagonal()
    alone_V = np.asarray(together_VV.sum(axis=1)) - count_V == 0
    # a word is no context of itself, unless it has no other
    together_VV.setdiag(np.where(alone_V, count_V, 0.0))
    together_VV.eliminate_zeros()
    pieces_VG = piece_matrix(words, buckets, shortest=shortest, longest=longest)
    joint_GV = csr_array(pieces_VG.T @ together_VV)
    shape = (buckets, len(words))
    return _left(_ppmi(joint_GV, shape), shape, width, rng).astype(np.float32)


def _ppmi(joint: csr_array, shape: tuple[int, int]) -> csr_array:
    """Positive pointwise mutual information of the counts, contexts smoothed to the power 0.75."""
    cells = joint.tocoo()
    row_G = np.asarray(joint.sum(axis=1))
    context_V = np.asarray(joint.sum(axis=0)) ** SMOOTH
    expected = row_G[cells.row] * context_V[cells.col] / max(context_V.sum(), 1e-12)
    value = np.maximum(np.log(cells.data / expected), 0)
    matrix = csr_array((value, (cells.row, cells.col)), shape=shape)
    matrix.eliminate_zeros()
    return matrix


def _left(
    matrix: csr_array, shape: tuple[int, int], width: int, rng: np.random.Generator
) -> np.ndarray:
    """U sqrt(S) of the `width` greatest singular values (Halko et al., SIAM Review 2011, 4.4)."""
    rank = min(width, *shape)
    sketch = matrix @ rng.normal(size=(shape[1], min(rank + OVERSAMPLE, *shape)))
    for _ in range(ROUNDS):
        sketch = matrix @ (matrix.T @ np.linalg.qr(sketch)[0])
    basis = np.linalg.qr(sketch)[0]
    left, size, _ = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    found = (basis @ left[:, :rank]) * np.sqrt(size[:rank])
    return np.pad(found, ((0, 0), (0, width - rank)))
