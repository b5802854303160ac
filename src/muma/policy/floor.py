"""A floor under every probability, and the support that it can hold.

With n candidates in the support and the policy's own probabilities p0,

    p = least + (1 - n least) p0

so that whoever can take the slot takes it with at least `least`. A floor under ever more candidates
would leave nothing to the policy: at most `mass` of a slot's chance goes to floors, and where more
candidates are left than that pays for, the support is the best `mass / least` of them by the policy's
own index.

Shape: N candidates, n of them in the support.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import Field, model_validator

from muma.config import Config

Chance = Callable[[np.ndarray], np.ndarray]
"""Places of the support, int64 [n], best first -> the policy's own probabilities, float64 [n]."""


class Floor(Config):
    """Least probability of a candidate in the support.

    Attributes:
        least: the floor; 0 for none.
        mass: most of a slot's chance that floors may take, which bounds the support to `mass / least`.
    """

    least: float = Field(default=0.001, ge=0, le=1)
    mass: float = Field(default=0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _holds(self) -> Floor:
        if self.least > self.mass:
            raise ValueError(
                f"a floor of {self.least} under one candidate is more than the mass {self.mass}; lower "
                "'least' or raise 'mass'"
            )
        return self

    def support(self, n: int) -> int:
        """Number of candidates, of `n` left, that can take the slot.

        Example:
            >>> Floor(least=0.01, mass=0.2).support(500), Floor(least=0.01, mass=0.2).support(3)
            (20, 3)
        """
        if self.least == 0:
            return n
        return min(n, max(1, int(self.mass / self.least * (1 + 1e-12))))

    def mix(self, own_n: np.ndarray) -> np.ndarray:
        """Probabilities of the support with the floor under them.

        Example:
            >>> Floor(least=0.1, mass=0.3).mix(np.array([1.0, 0, 0])).round(3).tolist()
            [0.8, 0.1, 0.1]
        """
        if len(own_n) == 1:
            return np.ones(1)
        own_n = own_n / own_n.sum()
        return self.least + max(0.0, 1.0 - len(own_n) * self.least) * own_n


def rank(index_N: np.ndarray, score_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    """Places in falling order of `index_N`; ties go to the ranker's score, then to the lower item.

    Ties are not broken by place, so that the order of candidates in the slate changes nothing.

    Example:
        >>> rank(np.array([0.0, 2, 2]), np.array([1.0, 0, 0]), np.array([4, 9, 7])).tolist()
        [2, 1, 0]
    """
    return np.lexsort((item_N, -score_N, -index_N))


def one_hot(places_n: np.ndarray) -> np.ndarray:
    """All chance to the first, the `Chance` of a policy without any: float64 [n]."""
    own_n = np.zeros(len(places_n))
    own_n[0] = 1.0
    return own_n


def floored(
    chance: Chance, order_N: np.ndarray, floor: Floor
) -> Callable[[np.ndarray], np.ndarray]:
    """Probabilities of the next slot given the places taken: taken_n -> float64 [N].

    Args:
        chance: the policy's own probabilities.
        order_N: all places, best first by the policy's own index; the support is taken from its head.
        floor: the floor.
    """

    def slot(taken_n: np.ndarray) -> np.ndarray:
        left_N = np.ones(len(order_N), dtype=bool)
        left_N[taken_n] = False
        support_n = order_N[left_N[order_N]]
        support_n = support_n[: floor.support(len(support_n))]
        p_N = np.zeros(len(order_N))
        p_N[support_n] = floor.mix(chance(support_n))
        return p_N

    return slot
