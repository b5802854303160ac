"""When not to trust an estimate, and why, in words.

The rules are rules of thumb; their thresholds are in `VerdictConfig` and their reasons name the number.
An estimate that is trusted may still be wrong (a propensity that was logged falsely shows nowhere);
one that is not trusted should not decide anything.
"""

from __future__ import annotations

import math

from pydantic import Field

from muma.config import Config
from muma.evaluation.off_policy.diagnostics import Diagnostics, WeightTail


class VerdictConfig(Config):
    """Thresholds.

    Attributes:
        effective_n: least effective sample size.
        effective_share: least effective sample size as a share of the units.
        rewarded_n: least effective number of rewarded rounds.
        top_share: most of the weight that 1 % of the rounds may carry.
        pareto_k: largest shape of the weights' tail.
        mean_weight_z: largest distance of the mean weight from 1, in standard errors.
        unsupported: most target probability where the log cannot judge.
        bias_z: largest distance of the direct method from doubly robust, in standard errors.
    """

    effective_n: float = Field(default=100, ge=0)
    effective_share: float = Field(default=0.01, ge=0, le=1)
    rewarded_n: float = Field(default=10, ge=0)
    top_share: float = Field(default=0.5, gt=0, le=1)
    pareto_k: float = Field(default=0.7, gt=0)
    mean_weight_z: float = Field(default=3.3, gt=0)
    unsupported: float = Field(default=0.005, ge=0, le=1)
    bias_z: float = Field(default=3.3, gt=0)


def overlap_reasons(found: Diagnostics, config: VerdictConfig = VerdictConfig()) -> list[str]:
    """What speaks against every estimate from this pair of policies."""
    reasons = []
    if found.unsupported_mass > config.unsupported:
        reasons.append(
            f"{found.unsupported_mass:.1%} of the target's choices could not happen in the log"
        )
    elif found.unseen_mass > config.unsupported:
        reasons.append(
            f"{found.unseen_mass:.1%} of the target's choices are actions the log never shows"
        )
    if abs(found.mean_weight_z) > config.mean_weight_z:
        how_far = (
            f"{found.mean_weight_z:+.1f} standard errors"
            if math.isfinite(found.mean_weight_z)
            else "in every unit alike"
        )
        reasons.append(
            f"the mean weight is {found.mean_weight:.3f} instead of 1 ({how_far}): propensities or "
            "support are not as stated"
        )
    return reasons


def weight_reasons(
    tail: WeightTail, units: int, config: VerdictConfig = VerdictConfig()
) -> list[str]:
    """What speaks against an estimate made with such weights."""
    reasons = []
    if tail.effective_n < max(config.effective_n, config.effective_share * units):
        reasons.append(f"the {units:,} units weigh as much as {tail.effective_n:,.0f}")
    # a NaN fails these comparisons: what could not be measured is no reason
    if tail.rewarded_n < config.rewarded_n:
        reasons.append(f"it rests on the weight of {tail.rewarded_n:.1f} rewarded rounds")
    if tail.top_share > config.top_share:
        reasons.append(f"1 % of the rounds carry {tail.top_share:.0%} of the weight")
    if tail.pareto_k > config.pareto_k:
        reasons.append(f"the weights' tail is too heavy (Pareto k {tail.pareto_k:.2f})")
    return reasons


def model_reasons(bias: float, bias_z: float, config: VerdictConfig = VerdictConfig()) -> list[str]:
    """What speaks against the direct method: the weighted residuals.

    Args:
        bias: direct method less doubly robust.
        bias_z: the same in standard errors.
        config: thresholds.
    """
    if abs(bias_z) > config.bias_z:
        return [
            f"the weighted residuals show the model {bias:+.3g} off ({bias_z:+.1f} standard errors)"
        ]
    return []
