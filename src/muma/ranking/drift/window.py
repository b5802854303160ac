"""A window of events, as drift checks see it.

Shape: N events, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from muma.errors import DataError


@dataclass(frozen=True)
class Window:
    """Rows of one stretch of time.

    Attributes:
        columns: names of the F features.
        value_NF: features, float [N, F]; NaN is a missing value, a category is a number.
        cluster_N: what rows hang together by, int [N]: the user, or the user and day. None: each row
            stands alone, which raises false alarms when it does not.
        part_NF: attributions of the frozen model without the base, float [N, F]; None: not checked.
        probability_N: what the frozen model said, float [N]; None: calibration is not checked.
        label_N: what happened, 0 or 1, float [N]; needed where there is `probability_N`.
    """

    columns: tuple[str, ...]
    value_NF: np.ndarray
    cluster_N: np.ndarray | None = None
    part_NF: np.ndarray | None = None
    probability_N: np.ndarray | None = None
    label_N: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            DataError: there is no row, or a shape, label or probability is wrong.
        """
        shape = (len(self.value_NF), len(self.columns))
        if self.value_NF.shape != shape or not shape[0]:
            raise DataError(
                f"value_NF has shape {self.value_NF.shape}; it must be [N, {shape[1]}] with N >= 1"
            )
        if self.part_NF is not None and self.part_NF.shape != shape:
            raise DataError(
                f"part_NF has shape {self.part_NF.shape}, value_NF {shape}; leave the base value out"
            )
        if self.part_NF is not None and not np.isfinite(self.part_NF).all():
            raise DataError("part_NF holds values that are not finite; attributions never are")
        for name in ("cluster_N", "probability_N", "label_N"):
            array = getattr(self, name)
            if array is not None and array.shape != shape[:1]:
                raise DataError(f"{name} has shape {array.shape}; it must be [{shape[0]}]")
        if (self.probability_N is None) != (self.label_N is None):
            raise DataError("probability_N and label_N come together; give both or neither")
        if self.label_N is not None and not np.isin(self.label_N, (0, 1)).all():
            raise DataError("label_N must be 0 or 1")
        if (
            self.probability_N is not None
            and not ((self.probability_N >= 0) & (self.probability_N <= 1)).all()
        ):
            raise DataError("probability_N must lie in 0 ... 1, without NaN")

    def __len__(self) -> int:
        """Number of events."""
        return len(self.value_NF)

    def cluster(self) -> np.ndarray:
        """Dense cluster of each row: int64 [N]."""
        if self.cluster_N is None:
            return np.arange(len(self))
        return np.unique(self.cluster_N, return_inverse=True)[1].reshape(-1)

    def rows(self, keep_N: np.ndarray) -> Window:
        """Some of the rows; `keep_N` is a mask, an index or a slice."""

        def cut(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[keep_N]

        return replace(
            self,
            value_NF=self.value_NF[keep_N],
            cluster_N=cut(self.cluster_N),
            part_NF=cut(self.part_NF),
            probability_N=cut(self.probability_N),
            label_N=cut(self.label_N),
        )
