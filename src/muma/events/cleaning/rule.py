"""The contract of cleaning: a rule sees rows in time order, bucket by bucket, and judges each.

A rule either removes rows (they go to the quarantine with the reason) or marks or mends them (they
stay, and are counted). A rule may carry state from a bucket to the next, never backwards, so what
it does to a row depends on earlier rows and on the row's own minute only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from muma.config import Config


class RuleConfig(Config):
    """What every rule's config has: its switch."""

    enabled: bool = True


@dataclass(frozen=True)
class Removal:
    """Rows to take out for one reason.

    Attributes:
        remove_R: the rows, a mask over the bucket.
        column: the column whose value goes into the quarantine beside the row.
        reason: why.
    """

    remove_R: np.ndarray
    column: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What a rule found in a bucket of R rows.

    Attributes:
        frame: the bucket, perhaps with marked or mended values; same rows in the same order.
        removals: rows to take out; a row in several counts for the first.
        changed: rows marked or mended.
    """

    frame: pl.DataFrame
    removals: tuple[Removal, ...] = ()
    changed: int = 0


class Rule(Protocol):
    """One cleaning rule."""

    name: str
    fit_columns: Sequence[str]

    def fit(self, early: pl.DataFrame) -> None:
        """Learn thresholds from `fit_columns` of the earliest share of the rows.

        A rule with no `fit_columns` is never fitted.
        """
        ...

    def apply(self, bucket: pl.DataFrame) -> Verdict:
        """Judge one bucket, in which times do not fall."""
        ...


class Unfitted:
    """Base of rules that learn nothing beforehand."""

    fit_columns: Sequence[str] = ()

    def fit(self, early: pl.DataFrame) -> None:
        """Nothing to learn."""
