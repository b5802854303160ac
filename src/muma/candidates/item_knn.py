"""Items like the ones the user took: shrunk cosine over users, k neighbours an item.

    c_ij = sum_u x_ui x_uj / (|x_i| |x_j| + shrink),  c_ii = 0
    score_uj = sum over i in the history of u:  x_ui c_ij, for j among the k nearest of i

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001. Equal
similarities prefer the more popular neighbour. Rows of C are made in blocks and cut to k at once,
so that no dense F x F matrix exists.

Shape: B users, U users of the vocabulary, F fitted items.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array, vstack

from muma.candidates.base import CatalogueModel, ModelConfig
from muma.candidates.live import History, greatest
from muma.candidates.rows import summed_rows
from muma.candidates.storage import pack, unpack
from muma.events.interactions import Interactions

BLOCK = 512  # rows of the similarity matrix made at once


class ItemKNNConfig(ModelConfig):
    """Parameters of `ItemKNN`.

    Attributes:
        neighbours: how many similar items each item keeps.
        shrink: added to the cosine's denominator, in units of the product of norms.
    """

    name: str = "item_knn"
    neighbours: int = Field(default=100, ge=1)
    shrink: float = Field(default=10.0, ge=0)


class ItemKNN(CatalogueModel):
    """Item-based nearest neighbours.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> log = tiny_log({0: [0, 1], 1: [0, 1], 2: [0, 2], 3: [1]})
        >>> ItemKNN().fit(log).propose(np.array([3]), 1).item_BN.tolist()
        [[0]]
    """

    config: ItemKNNConfig

    def __init__(self, config: ItemKNNConfig | None = None) -> None:
        super().__init__(config or ItemKNNConfig())

    def _learn(self, history: Interactions) -> Mapping[str, np.ndarray]:
        taken_UF = history.matrix(binary=False)
        by_item_FU = taken_UF.T.tocsr()
        norm_F = np.sqrt(taken_UF.multiply(taken_UF).sum(axis=0))
        blocks = []
        for start in range(0, history.n_items, BLOCK):
            rows = slice(start, min(start + BLOCK, history.n_items))
            overlap = (by_item_FU[rows] @ taken_UF).tocoo()
            row, column = overlap.row, overlap.col
            scale = norm_F[rows][row] * norm_F[column] + self.config.shrink
            other = row + start != column
            cells = (row[other], column[other], (overlap.data / scale)[other])
            blocks.append(_nearest(*cells, self.config.neighbours, overlap.shape))
        return pack(csr_array(vstack(blocks, format="csr")))

    def _ready(self, learned: Mapping[str, np.ndarray], history: Interactions) -> None:
        self._similar_FF = unpack(learned)
        self._taken_UF = history.matrix(binary=False)

    def _score(self, user_B: np.ndarray) -> np.ndarray:
        return (self._taken_UF[user_B] @ self._similar_FF).toarray()

    def _score_history(self, history: History) -> np.ndarray:
        return summed_rows(self._similar_FF, *greatest(history.item_L, history.weight_L))


def _nearest(
    row: np.ndarray, column: np.ndarray, value: np.ndarray, k: int, shape: tuple[int, int]
) -> csr_array:
    """Keep the k greatest cells of each row, the lower column first among equals."""
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    keep = np.arange(len(row)) - np.searchsorted(row, row) < k
    cells = (value[keep].astype(np.float32), (row[keep], column[keep]))
    return csr_array(cells, shape=shape)
