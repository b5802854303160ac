"""What an arm is believed to be worth before it was shown: so many imagined rewards of some mean.

With a `label`, the mean is the ranker's calibrated probability of that label, so that a new item starts
from its content.

Shape: N candidates.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import DataError
from muma.ranking.ranker import Slate

_LEAST = 1e-6  # a mean of 0 or 1 would make a Beta prior that is not one


class Prior(Config):
    """Imagined rewards of each arm.

    Attributes:
        strength: how many; 0 for none.
        mean: their mean where there is no `label`.
        label: the label whose calibrated probability in the slate is their mean.
    """

    strength: float = Field(default=2.0, ge=0)
    mean: float = Field(default=0.5, ge=0, le=1)
    label: str | None = None

    def means(self, slate: Slate) -> np.ndarray:
        """Mean of the imagined rewards of each candidate, float64 [N].

        Raises:
            DataError: the slate has no probability of `label`, or one that is not in [0, 1].

        Example:
            >>> Prior(mean=0.25).means(Slate.plain(np.arange(2))).tolist()
            [0.25, 0.25]
        """
        if self.label is None:
            return np.full(len(slate), min(max(self.mean, _LEAST), 1 - _LEAST))
        if self.label not in slate.probability:
            known = ", ".join(sorted(slate.probability)) or "none"
            raise DataError(
                f"the prior needs the slate's probability of {self.label!r}; it has: {known}. Rank the "
                "candidates, or name a label of the ranker"
            )
        p_N = np.asarray(slate.probability[self.label], dtype=np.float64)
        if not (fine_N := (p_N >= 0) & (p_N <= 1)).all():
            place = int(np.argmin(fine_N))
            raise DataError(
                f"probability of {self.label!r} of item {slate.item_N[place]} is {p_N[place]}; it must "
                "lie in [0, 1]"
            )
        return np.clip(p_N, _LEAST, 1 - _LEAST)
