"""A Markov chain that looks several steps ahead and several steps back.

    T_ij = sum over pairs (i, then j k interactions later, k <= window):  weight_j / k
    T'_i = T_i / (sum_j T_ij + alpha)
    score_u = sum over ages a < window of u's history:  weight * T'_{item of age a} / (a + 1)

`alpha` shrinks rows with little evidence. Repetition counts: T_ii is kept. In the spirit of
Rendle et al., "Factorizing personalized Markov chains", WWW 2010, without factorising.

Shape: B users, U users of the vocabulary, F fitted items.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array, diags_array

from muma.candidates.base import CatalogueModel, ModelConfig
from muma.candidates.live import History
from muma.candidates.rows import summed_rows
from muma.candidates.storage import pack, unpack
from muma.events.interactions import Interactions


class MarkovConfig(ModelConfig):
    """Parameters of `Markov`.

    Attributes:
        window: interactions to look ahead in fitting and back in scoring.
        alpha: pseudo-count added to each row's sum.
    """

    name: str = "markov"
    window: int = Field(default=10, ge=1)
    alpha: float = Field(default=20.0, ge=0)


class Markov(CatalogueModel):
    """Decayed multi-step Markov chain over each user's sequence.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> log = tiny_log({0: [0, 1, 2], 1: [1, 2], 2: [1]})
        >>> Markov().fit(log).propose(np.array([2]), 1).item_BN.tolist()
        [[2]]
    """

    config: MarkovConfig

    def __init__(self, config: MarkovConfig | None = None) -> None:
        super().__init__(config or MarkovConfig())

    def _learn(self, history: Interactions) -> Mapping[str, np.ndarray]:
        shape = (history.n_items, history.n_items)
        user_E, item_E = history.user_E, history.item_E
        weight_E = history.weight_E.astype(np.float64)
        count_FF = csr_array(shape, dtype=np.float64)
        for k in range(1, self.config.window + 1):
            same = user_E[:-k] == user_E[k:]
            cells = (weight_E[k:][same] / k, (item_E[:-k][same], item_E[k:][same]))
            count_FF = count_FF + csr_array(cells, shape=shape)
        total_F = count_FF.sum(axis=1) + self.config.alpha
        inverse_F = np.divide(1.0, total_F, out=np.zeros_like(total_F), where=total_F > 0)
        chance_FF = csr_array(diags_array(inverse_F) @ count_FF, dtype=np.float32)
        return pack(chance_FF)

    def _ready(self, learned: Mapping[str, np.ndarray], history: Interactions) -> None:
        self._next_FF = unpack(learned)
        recent = history.ages < self.config.window
        weight = history.weight_E[recent] / (history.ages[recent] + 1)
        cells = (weight.astype(np.float32), (history.user_E[recent], history.item_E[recent]))
        self._recent_UF = csr_array(cells, shape=(history.n_users, history.n_items))

    def _score(self, user_B: np.ndarray) -> np.ndarray:
        return (self._recent_UF[user_B] @ self._next_FF).toarray()

    def _score_history(self, history: History) -> np.ndarray:
        recent_L = history.ages < self.config.window
        weight_L = history.weight_L[recent_L] / (history.ages[recent_L] + 1)
        return summed_rows(self._next_FF, history.item_L[recent_L], weight_L)
