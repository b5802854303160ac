"""Effects from observational data whose truth is known or was measured by experiment.

    python benchmarks/causal.py --json
    python benchmarks/causal.py --quick --json

1. `lalonde_*`: the treated of the NSW experiment against people of two surveys (CPS-1, PSID-1), effect on
   earnings of 1978 in dollars; the experiment says 1,794. Each design's specification is searched by balance
   alone (`*_smd`: the largest standardised mean difference it ends with; the line is 0.1), then the outcome
   is opened once; AIPW takes the specification found for the weights, cross-fitted over 5 splits.
2. `nhefs_*`: quitting smoking and weight, kg, with the specification of Hernan and Robins (What If, ch.
   12), whose weights give 3.4 [2.4, 4.5].
3. `ihdp_*`: absolute error of the average effect over ten replications of known truth, mean and standard
   deviation, main effects only. The replications share covariates and treatment, hence designs.
4. `twins_*`: of each pair of twins one is hidden, more often the lighter of short pregnancies; error of the
   effect of being the heavier on death within a year (points of probability), over draws of who is hidden,
   and the share of 95 % intervals that hold the truth.
5. `match_1m_ms`: nearest neighbours with replacement of 300,000 among 700,000 units.
6. `peer_*`: statsmodels, dowhy and econml on the same columns, where their environment is there
   (benchmarks/peers_causal.txt); their intervals and ours use 95 %.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

import common
from muma.evaluation.causal.design import Design, DesignConfig, make_design
from muma.evaluation.causal.matching import match
from muma.evaluation.causal.search import search_design
from muma.evaluation.causal.study import Study, study_of
from muma.rng import derive

HOME = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MUMA_DATA", HOME.parent / "shared" / "data"))
PEERS = HOME / ".venv-peers-causal" / "bin" / "python"
EARNINGS = ["age", "education", "black", "hispanic", "married", "nodegree", "re74", "re75"]
DESIGNS = {
    "ipw": DesignConfig(method="weighting"),
    "match5": DesignConfig(matches=5),
    "match1": DesignConfig(),
    "match5_bias_corrected": DesignConfig(matches=5, bias_correction=True),
}
QUICK = ("ipw", "match5")


def lalonde(survey: str) -> tuple[Study, np.ndarray]:
    folder = DATA / "causal-lalonde"
    columns = ["treat", *EARNINGS, "re78"]
    trained = pl.read_csv(folder / "nsw_dw.csv.gz").filter(pl.col("treat") == 1)
    others = pl.read_csv(folder / f"{survey}_controls.csv.gz")
    table = pl.concat([trained.select(columns), others.select(columns)])
    study = study_of(table["treat"].to_numpy(), table.select(EARNINGS).to_numpy(), EARNINGS)
    return study, table["re78"].to_numpy()


def told(name: str, design: Design, outcome_N: np.ndarray, unit: str) -> dict[str, float]:
    effect = design.freeze().estimate(outcome_N, name=name)
    one = effect.result
    return {
        f"{name}_{unit}": one.value,
        f"{name}_{unit}_low": one.low,
        f"{name}_{unit}_high": one.high,
        f"{name}_smd": design.balance.largest,
        f"{name}_untreated_effective": design.overlap.untreated_effective,
        f"{name}_e_value": effect.e_value.point,
        f"{name}_blind": float(effect.blind),
    }


def earnings(survey: str, *, quick: bool, peers: dict[str, np.ndarray]) -> dict[str, float | str]:
    study, outcome_N = lalonde(survey)
    chosen = QUICK if quick else tuple(DESIGNS)
    designs = {name: search_design(study, DESIGNS[name]) for name in chosen}
    terms = designs["ipw"].terms.terms
    config = DesignConfig(method="aipw", repeats=5)
    designs["aipw"] = make_design(study, config, terms)
    found: dict[str, float | str] = {
        f"lalonde_{survey}_bare_usd": float(
            outcome_N[study.treated_N].mean() - outcome_N[~study.treated_N].mean()
        ),
        f"lalonde_{survey}_ipw_terms": " + ".join(terms),
    }
    for name, design in designs.items():  # every design is made before the first outcome is opened
        found |= told(f"lalonde_{survey}_{name}", design, outcome_N, "usd")
    hand_over(peers, survey, designs["ipw"], outcome_N)
    return found


def hand_over(
    peers: dict[str, np.ndarray], name: str, design: Design, outcome_N: np.ndarray
) -> None:
    x_NP = design.terms.value_NP
    peers |= {
        f"{name} x": (x_NP - x_NP.mean(axis=0)) / x_NP.std(axis=0),
        f"{name} t": design.study.treated_N.astype(np.int64),
        f"{name} y": outcome_N,
        f"{name} att": np.array(design.config.estimand == "att"),
    }


def smoking(*, peers: dict[str, np.ndarray]) -> dict[str, float]:
    packed = (DATA / "causal-nhefs" / "nhefs_complete.dta.gz").read_bytes()
    table = pd.read_stata(io.BytesIO(gzip.decompress(packed)))
    columns = {
        name: table[name].astype(float)
        for name in ("age", "smokeintensity", "smokeyrs", "wt71", "qsmk", "wt82_71")
    }
    for name in ("sex", "race", "education", "exercise", "active"):
        for level in sorted(table[name].unique())[1:]:
            columns[f"{name}[{level}]"] = (table[name] == level).astype(float)
    treated_N, outcome_N = (columns.pop(n).to_numpy() for n in ("qsmk", "wt82_71"))
    study = study_of(treated_N, np.stack(list(columns.values()), axis=1), list(columns))
    squares = [f"{name}^2" for name in ("age", "smokeintensity", "smokeyrs", "wt71")]
    terms = [*columns, *squares]
    methods = {"ipw": "weighting", "match1": "matching", "aipw": "aipw"}
    designs = {
        name: make_design(study, DesignConfig(method=method, estimand="ate"), terms)
        for name, method in methods.items()
    }
    bare = outcome_N[study.treated_N].mean() - outcome_N[~study.treated_N].mean()
    found = {"nhefs_bare_kg": float(bare)}
    for name, design in designs.items():
        found |= told(f"nhefs_{name}", design, outcome_N, "kg")
    hand_over(peers, "nhefs", designs["ipw"], outcome_N)
    return found


def boosted() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=60, learning_rate=0.05, random_state=0)


def boosted_outcome() -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(max_iter=100, learning_rate=0.1, random_state=0)


def infants(*, quick: bool, peers: dict[str, np.ndarray]) -> dict[str, float]:
    errors: dict[str, list[float]] = {}
    for replication in range(1, 4 if quick else 11):
        path = DATA / "causal-ihdp" / f"ihdp_npci_{replication}.csv.gz"
        value_NF = pl.read_csv(path, has_header=False).to_numpy().astype(np.float64)
        treated_N, outcome_N = value_NF[:, 0], value_NF[:, 1]
        truth = float(np.mean(value_NF[:, 4] - value_NF[:, 3]))
        study = study_of(treated_N, value_NF[:, 5:])
        config = DesignConfig(method="weighting", estimand="ate")
        aipw = DesignConfig(method="aipw", estimand="ate", repeats=1 if quick else 5)
        designs = {
            "match1": make_design(study, DesignConfig(estimand="ate")),
            "match1_bias_corrected": make_design(
                study, DesignConfig(estimand="ate", bias_correction=True)
            ),
            "ipw": make_design(study, config),
            "aipw": make_design(study, aipw),
            "aipw_boosted_outcome": make_design(study, aipw, regressor=boosted_outcome),
            "aipw_boosted": make_design(
                study, aipw.model_copy(update={"calibration": "platt"}), classifier=boosted,
                regressor=boosted_outcome,
            ),
        }  # fmt: skip
        effects = {name: d.freeze().estimate(outcome_N) for name, d in designs.items()}
        for name, effect in effects.items():
            errors.setdefault(name, []).append(abs(effect.result.value - truth))
        errors.setdefault("bare", []).append(abs(effects["ipw"].naive.value - truth))
        hand_over(peers, f"ihdp{replication}", designs["ipw"], outcome_N)
        peers[f"ihdp{replication} truth"] = np.array(truth)
    found = {f"ihdp_{name}_smd": d.balance.largest for name, d in designs.items()}
    for name, list_of in errors.items():
        found[f"ihdp_{name}_error_mean"] = float(np.mean(list_of))
        found[f"ihdp_{name}_error_sd"] = float(np.std(list_of, ddof=1))
    return {**found, "ihdp_replications": len(errors["ipw"])}


def twins(*, draws: int) -> dict[str, float]:
    path = DATA / "causal-twins" / "Twin_data.csv.gz"
    value_NF = pl.read_csv(path, has_header=False, skip_rows=1).to_numpy().astype(np.float64)
    x_NF, died_N2 = value_NF[:, :30], (value_NF[:, 30:32] < 365).astype(np.float64)
    truth = float(np.mean(died_N2[:, 1] - died_N2[:, 0]))
    z_NF = (x_NF - x_NF.mean(axis=0)) / x_NF.std(axis=0)
    gestation, visits = z_NF[:, 22], z_NF[:, 28]
    chance_N = 1 / (1 + np.exp(0.8 * gestation + 0.4 * visits))
    errors: dict[str, list[float]] = {}
    covered: dict[str, list[bool]] = {}
    for draw in range(draws):
        treated_N = derive(draw, "twins").random(len(x_NF)) < chance_N
        outcome_N = np.where(treated_N, died_N2[:, 1], died_N2[:, 0])
        study = study_of(treated_N, x_NF)
        designs = {
            "match1": make_design(study, DesignConfig(estimand="ate")),
            "ipw": make_design(study, DesignConfig(estimand="ate", method="weighting")),
            "aipw": make_design(study, DesignConfig(estimand="ate", method="aipw")),
        }
        effects = {name: d.freeze().estimate(outcome_N) for name, d in designs.items()}
        told_by = {name: effect.result for name, effect in effects.items()}
        told_by["bare"] = effects["ipw"].naive
        for name, one in told_by.items():
            errors.setdefault(name, []).append(one.value - truth)
            covered.setdefault(name, []).append(one.low <= truth <= one.high)
    found = {"twins_truth": truth, "twins_draws": draws}
    for name, list_of in errors.items():
        found[f"twins_{name}_bias"] = float(np.mean(list_of))
        found[f"twins_{name}_bias_se"] = float(np.std(list_of, ddof=1) / np.sqrt(draws))
        found[f"twins_{name}_error_sd"] = float(np.std(list_of, ddof=1))
        found[f"twins_{name}_covered"] = float(np.mean(covered[name]))
    return found


def speed() -> dict[str, float]:
    rng = derive(1, "match speed")
    score_N, treated_N = rng.normal(size=1_000_000), np.arange(1_000_000) < 300_000
    took, _ = common.seconds(lambda: match(score_N, treated_N), repeats=3)
    return {"match_1m_ms": took * 1e3}


def beside(peers: dict[str, np.ndarray]) -> dict[str, float]:
    if not PEERS.exists():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "studies.npz"
        np.savez(path, **peers)
        script = Path(__file__).with_name("peer_causal.py")
        return common.in_fresh_process(script, str(path), python=PEERS)


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    peers: dict[str, np.ndarray] = {}
    result: dict[str, float | str] = {"lalonde_experiment_usd": 1794.34}
    for survey in ("cps", "psid"):
        result |= earnings(survey, quick=args.quick, peers=peers)
    result |= smoking(peers=peers)
    result |= infants(quick=args.quick, peers=peers)
    result |= twins(draws=3 if args.quick else 40)
    result |= speed()
    if not args.quick:
        result |= beside(peers)
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
