"""The contract of this room: a `Study`, who was treated and what was known of them before.

A study has no outcome. Designs are made from it and judged on balance; only a frozen design takes an
outcome, and the study keeps the record of every opening, so that a design made after somebody has seen
an effect says so (Rubin, Statistics in Medicine 2007: design without outcomes, as in a trial).

Shape: N units, F covariates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from muma.errors import DataError


@dataclass(frozen=True)
class Opening:
    """One look at an outcome.

    Attributes:
        design: fingerprint of the frozen design that asked.
        outcome: fingerprint of the outcome's values.
        name: what the outcome is called.
    """

    design: str
    outcome: str
    name: str


@dataclass(frozen=True)
class Study:
    """Treatment and covariates of N units; built by `study_of`, which checks them.

    Attributes:
        treated_N: boolean [N], who was treated.
        covariate_NF: float64 [N, F], finite, known before the treatment.
        columns: F names, all different.
        openings: the looks at outcomes so far, in order; shared by every design of this study.
    """

    treated_N: np.ndarray
    covariate_NF: np.ndarray
    columns: tuple[str, ...]
    openings: list[Opening] = field(default_factory=list, compare=False)

    def __len__(self) -> int:
        """Number of units."""
        return len(self.treated_N)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of treatment, covariates and names."""
        return digest(self.treated_N, self.covariate_NF, *self.columns)


def study_of(
    treatment_N: np.ndarray, covariate_NF: np.ndarray, columns: Sequence[str] | None = None
) -> Study:
    """Check treatment and covariates and put them together.

    Args:
        treatment_N: 0 / 1 or booleans [N], with both values present.
        covariate_NF: finite numbers [N, F]; categories as indicator columns.
        columns: F names; `x0, x1, ...` by default. A backtick in a name is refused.

    Raises:
        DataError: shapes differ, a value is missing or infinite, treatment is not 0 / 1, one of the
            two groups is empty, or a name stands twice.

    Example:
        >>> len(study_of(np.array([0, 1, 1]), np.array([[1.0], [2.0], [3.0]]), ["age"]))
        3
    """
    treatment_N = np.asarray(treatment_N)
    try:
        covariate_NF = np.array(covariate_NF, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"covariates must be numbers [N, F], categories as indicators: {error}"
        ) from None
    if covariate_NF.ndim != 2 or treatment_N.ndim != 1 or len(treatment_N) != len(covariate_NF):
        raise DataError(
            f"treatment is {treatment_N.shape} and covariates {covariate_NF.shape}; they must be [N] "
            "and [N, F]"
        )
    names = tuple(columns) if columns is not None else _numbered(covariate_NF.shape[1])
    if len(names) != covariate_NF.shape[1] or len(set(names)) != len(names) or not names:
        raise DataError(
            f"{len(names)} names ({len(set(names))} different) for {covariate_NF.shape[1]} covariates; "
            "there must be one covariate at least, each with its own name"
        )
    if wrong := [name for name in names if not name.strip() or "`" in name]:
        raise DataError(f"covariate name {wrong[0]!r} is empty or has a backtick; rename it")
    if not np.isfinite(covariate_NF).all():
        rows, places = np.nonzero(~np.isfinite(covariate_NF))
        raise DataError(
            f"covariate {names[places[0]]!r} is not finite in row {rows[0]} ({len(rows)} such values in "
            "all); leave out or fill those rows, and add an indicator of what was filled"
        )
    return Study(binary(treatment_N, "treatment"), covariate_NF, names)


def binary(value_N: np.ndarray, what: str) -> np.ndarray:
    """Values that are 0 or 1, both present, as booleans.

    Raises:
        DataError: another value is there, or one of the two is not.
    """
    value_N = np.asarray(value_N)
    if value_N.dtype.kind not in "biuf":
        raise DataError(f"{what} is of type {value_N.dtype}; it must be 0 / 1 or booleans")
    found = np.unique(value_N[:, None]).tolist()
    if not set(found) <= {0, 1}:
        shown = ", ".join(f"{v:g}" for v in found[:5])
        raise DataError(f"{what} must be 0 or 1 in every row; got {shown}")
    if len(found) < 2:
        raise DataError(
            f"{what} is {' and '.join(f'{v:g}' for v in found) or 'empty'} in all {len(value_N)} rows; "
            "both groups are needed"
        )
    return value_N.astype(bool)


def digest(*parts: np.ndarray | str) -> str:
    """Twelve hexadecimal digits of SHA-256 over arrays and texts, shapes and types included.

    Example:
        >>> digest(np.zeros(2), "a") == digest(np.zeros(2), "b")
        False
    """
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            whole.update(f"\x1f{part.dtype.str}{part.shape}\x1f".encode())
            whole.update(np.ascontiguousarray(part).tobytes())
        else:
            whole.update(f"\x1f{part}\x1f".encode())
    return whole.hexdigest()[:12]


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"x{place}" for place in range(count))
