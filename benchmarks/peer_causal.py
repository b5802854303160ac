"""statsmodels, dowhy and econml on given studies; runs in an environment of its own only.

    python benchmarks/peer_causal.py studies.npz

The file holds for each study `NAME x` [N, P] standardised terms, `NAME t` 0 / 1, `NAME y`, `NAME att`
(effect on the treated, else on all) and for some `NAME truth`. The environment (benchmarks/peers_causal.txt)
stands apart from .venv-peers because dowhy holds scipy below what is there. Prints one JSON object; studies
`ihdp*` are told as mean and standard deviation of absolute errors.

dowhy's propensity model is given without a penalty, as ours; its own default is a ridge of strength 1. Its
weights clip scores at 0.05 and 0.95 by default; `unclipped` takes that away. econml has no effect on the
treated of its own: its linear effects are averaged over them.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings

import numpy as np
import pandas as pd
import statsmodels.api as sm
from dowhy import CausalModel
from econml.dr import LinearDRLearner
from sklearn.linear_model import LinearRegression, LogisticRegression
from statsmodels.treatment.treatment_effects import TreatmentEffect

warnings.filterwarnings("ignore")  # the last line of the output must be the answer
logging.disable(logging.CRITICAL)


def by_statsmodels(x, t, y, att):
    """Weights, doubly robust where statsmodels has it for the estimand."""
    constant = sm.add_constant(x)
    outcome = sm.OLS(y, constant)
    propensity = sm.Logit(t, constant).fit(disp=0, maxiter=200)
    effect = TreatmentEffect(outcome, t, results_select=propensity)
    group = {"effect_group": 1} if att else {}
    found = {}
    for name in ("ipw", "ipw_ra") if att else ("ipw", "aipw"):
        answer = getattr(effect, name)(return_results=False, **group)
        found[f"statsmodels_{name}"] = (float(np.asarray(answer)[0]), None, None)
        if not att:
            rich = getattr(effect, name)(return_results=True)
            low, high = rich.results_gmm.conf_int()[0]
            found[f"statsmodels_{name}"] = (float(np.asarray(answer)[0]), float(low), float(high))
    return found


def by_dowhy(x, t, y, att):
    """Nearest neighbour with replacement, and weights."""
    names = [f"x{p}" for p in range(x.shape[1])]
    table = pd.DataFrame(x, columns=names)
    table["t"], table["y"] = t.astype(bool), y
    found = {}
    weighting = {"weighting_scheme": "ips_normalized_weight"}
    for name, method, options in (
        ("matching", "matching", {}),
        ("weighting", "weighting", weighting),
        ("weighting_unclipped", "weighting", weighting),
    ):
        # a model of its own each time: the scores, once clipped, stay in its table
        model = CausalModel(table.copy(), treatment="t", outcome="y", common_causes=names)
        estimand = model.identify_effect(proceed_when_unidentifiable=True)
        logistic = {"propensity_score_model": LogisticRegression(C=np.inf, max_iter=5000)}
        if name == "weighting_unclipped":
            logistic |= {"min_ps_score": 1e-9, "max_ps_score": 1 - 1e-9}
        answer = model.estimate_effect(
            estimand,
            method_name=f"backdoor.propensity_score_{method}",
            target_units="att" if att else "ate",
            method_params={"init_params": logistic, **options},
        )
        found[f"dowhy_{name}"] = (float(answer.value), None, None)
    return found


def by_econml(x, t, y, att):
    """Cross-fitted doubly robust learner; its average over the units asked about."""
    learner = LinearDRLearner(
        model_propensity=LogisticRegression(C=np.inf, max_iter=5000),
        model_regression=LinearRegression(),
        min_propensity=1e-6,
        cv=5,
        random_state=0,
    )
    learner.fit(y, t, X=None if not att else x, W=x if not att else None)
    asked = None if not att else x[t == 1]
    answer = learner.ate_inference(X=asked, T0=0, T1=1)
    low, high = answer.conf_int_mean(alpha=0.05)
    return {"econml_dr": (float(answer.mean_point), float(low), float(high))}


def main():
    """Every study by every library."""
    data = np.load(sys.argv[1])
    studies = sorted({name.rsplit(" ", 1)[0] for name in data.files})
    found, errors = {}, {}
    for study in studies:
        x, t, y = (data[f"{study} {part}"] for part in "xty")
        att = bool(data[f"{study} att"])
        for library in (by_statsmodels, by_dowhy, by_econml):
            for name, (value, low, high) in library(x, t, y, att).items():
                if f"{study} truth" in data.files:
                    errors.setdefault(name, []).append(abs(value - float(data[f"{study} truth"])))
                    continue
                unit = "kg" if study == "nhefs" else "usd"
                found[f"peer_{study}_{name}_{unit}"] = value
                if low is not None:
                    found[f"peer_{study}_{name}_{unit}_low"] = low
                    found[f"peer_{study}_{name}_{unit}_high"] = high
    for name, list_of in errors.items():
        found[f"peer_ihdp_{name}_error_mean"] = float(np.mean(list_of))
        found[f"peer_ihdp_{name}_error_sd"] = float(np.std(list_of, ddof=1))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
