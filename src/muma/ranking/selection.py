"""Backward selection by attribution: drop what matters least, fit again, watch the validation loss.

The set to keep is the smallest whose mean loss is within one standard error of the best mean
(Breiman et al., Classification and Regression Trees, 1984, sec. 3.4.3).

Shape: N explained rows, F features of a step, G validation lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import ConfigError, DataError
from muma.progress import track
from muma.rng import derive

Fit = Callable[[tuple[str, ...]], tuple[np.ndarray, np.ndarray]]
"""Columns -> attributions [N, F] without the base, and the loss of each validation list [G].

It must measure the same lists in the same order at each call, and explain training rows: a selection
that looks at the attributions of validation rows has seen them.
"""


class SelectionConfig(Config):
    """Parameters of the selection.

    Attributes:
        drop: share of the features to drop at a step; one at least.
        least: features to stop at.
        level: confidence of the curve's intervals.
        n_resamples: bootstrap resamples of lists.
        seed: of the bootstrap.
    """

    drop: float = Field(default=0.2, gt=0, lt=1)
    least: int = Field(default=1, ge=1)
    level: float = Field(default=0.95, gt=0, lt=1)
    n_resamples: int = Field(default=1000, ge=20)
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """One fit.

    Attributes:
        columns: what it was fitted on, the most important first.
        importance: mean absolute attribution of each, in that order.
        loss: mean over the validation lists.
        error: its standard error over lists; NaN with one list.
        low, high: bootstrap percentile interval of the mean; NaN with one list.
    """

    columns: tuple[str, ...]
    importance: tuple[float, ...]
    loss: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Selection:
    """The whole curve and the choice.

    Attributes:
        curve: from all features to the fewest.
        best: the step of the lowest loss.
        chosen: the smallest set within one standard error of the best.
    """

    curve: tuple[Step, ...]
    best: Step
    chosen: Step


def select_backward(
    fit: Fit, columns: Sequence[str], config: SelectionConfig | None = None
) -> Selection:
    """Drop the least important features step by step.

    The chosen set was picked on the validation lists, so its loss there flatters it: measure it
    again on lists that are later still.

    Args:
        fit: trains on some columns.
        columns: all features, unique.
        config: pace and stop.

    Raises:
        ConfigError: there are no columns, or fewer than `least`, or one comes twice.
        DataError: `fit` returned arrays that do not fit the columns or the lists of the first step.
    """
    config = config or SelectionConfig()
    now = tuple(columns)
    if len(set(now)) < len(now) or len(now) < config.least:
        raise ConfigError(
            f"selection got {len(now)} columns, {len(set(now))} of them different; it needs at least "
            f"{config.least}, each once"
        )
    sizes, curve, n_lists = _sizes(len(now), config), [], None
    count_RG = np.empty((0, 0))
    for size in track(sizes, label="selecting features"):
        now = now[:size]
        phi_NF, loss_G = (np.asarray(array, np.float64) for array in fit(now))
        _check(phi_NF, loss_G, now, n_lists)
        if n_lists is None:
            n_lists = len(loss_G)
            rng = derive(config.seed, "selection")
            even = np.full(n_lists, 1 / n_lists)
            count_RG = rng.multinomial(n_lists, even, config.n_resamples) / n_lists
        step = _step(now, phi_NF, loss_G, count_RG, config.level)
        curve.append(step)
        now = step.columns
    best = min(curve, key=lambda step: step.loss)
    bound = best.loss + (best.error if math.isfinite(best.error) else 0.0)
    chosen = min((s for s in curve if s.loss <= bound), key=lambda step: len(step.columns))
    return Selection(tuple(curve), best, chosen)


def _sizes(n: int, config: SelectionConfig) -> list[int]:
    sizes = [n]
    while sizes[-1] > config.least:
        dropped = max(1, int(config.drop * sizes[-1]))
        sizes.append(max(config.least, sizes[-1] - dropped))
    return sizes


def _step(
    columns: tuple[str, ...],
    phi_NF: np.ndarray,
    loss_G: np.ndarray,
    count_RG: np.ndarray,
    level: float,
) -> Step:
    size_F = np.abs(phi_NF).mean(axis=0)
    order_F = np.argsort(-size_F, kind="stable")
    error = low = high = math.nan
    if len(loss_G) > 1:
        error = float(loss_G.std(ddof=1) / math.sqrt(len(loss_G)))
        low, high = np.quantile(count_RG @ loss_G, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Step(
        tuple(columns[f] for f in order_F), tuple(size_F[order_F].tolist()),
        float(loss_G.mean()), error, low, high,
    )  # fmt: skip


def _check(
    phi_NF: np.ndarray, loss_G: np.ndarray, columns: tuple[str, ...], n_lists: int | None
) -> None:
    if phi_NF.ndim != 2 or phi_NF.shape[1] != len(columns) or not len(phi_NF):
        raise DataError(
            f"fit returned attributions {phi_NF.shape} for {len(columns)} columns; they must be "
            f"[rows, {len(columns)}], without the base"
        )
    if loss_G.ndim != 1 or not len(loss_G) or len(loss_G) != (n_lists or len(loss_G)):
        raise DataError(
            f"fit returned losses {loss_G.shape}; they must be one a validation list, the same "
            f"{'lists' if n_lists is None else n_lists} at each step"
        )
    if not (np.isfinite(phi_NF).all() and np.isfinite(loss_G).all()):
        raise DataError("fit returned attributions or losses that are not finite")
