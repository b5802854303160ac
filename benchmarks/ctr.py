"""Click and long view of shown videos: the pipeline against peers, with equal effort of tuning.

    python benchmarks/ctr.py --json                     # recipes/ranked.toml on KuaiRand
    python benchmarks/ctr.py --recipe kuairand --json   # another recipe with labels
    python benchmarks/ctr.py --quick --json             # a slice, one trial each: not a result

Global time. Everyone learns from the pieces of the training window, is tuned and stopped early on
`valid`, is calibrated (Platt) on `later`, and the test window is read once, for the figures. Each
boosted engine, the logistic regression and the neural network get the same number of trials; a
trial's loss is the sum over the labels. Peers:

    logistic       scikit-learn, all features of the pipeline: long tails as logarithms, standardised,
                   indicators of missing values, one-hot categories
    lightgbm_raw   one LightGBM on what an event carries: every attribute of user and item, and the hour
    lightgbm_raw_context  ... and the event's own context, which the pipeline does not see
    lightgbm_full  one LightGBM on all features of the pipeline (its own second engine, alone)
    xgboost_full   the first engine, alone
    dcnv2          DCN-V2 of DeepCTR-Torch on the inputs of `logistic`, the best of its seeds on `valid`
    dcnv2_seeds    the mean log-odds of its seeds: an ensemble

then the pipeline without parts of its features. Intervals are 95 % bootstrap percentiles over users;
differences are the pipeline minus the other, paired (a negative one of log losses is a gain). NDCG@10
is over each user's impressions of the test window. There, what is known of a user at a later impression
holds the outcome of the earlier ones, which turns the order of that list around: who has had his clicks
has fewer left (Miller and Sanjurjo, "Surprised by the hot hand fallacy?", Econometrica 2018).
`ndcg10_at_once` is the same with `user.` and `clock.` features as they were at the
list's first impression, as in serving, where one moment orders all.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_array, hstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

import common
from muma.app.attributes import item_attributes, user_attributes
from muma.app.config import read_recipe
from muma.app.ranking_evaluation import PIPELINE, ablations, judge, pipeline_probabilities
from muma.app.training import TABLES, Matrix, Trained, fit_rankers, ranking_of, train_recipe
from muma.config import Spec, build
from muma.evaluation.clustered import weighted_auc
from muma.ranking.calibration import log_loss, platt
from muma.rng import derive

HOME = Path(__file__).parents[1]
PEER = HOME / "benchmarks" / "peer_ctr.py"
SEED = 1
TRIALS, SEEDS = 6, 3
TREES = 1000  # at most; early stopping ends before
ROLES = ("train", "valid", "later", "test", "once")
JUDGED = ("later", "test", "once")
ENGINES = ("XGBoost", "LightGBM")
TEXTS = ("title", "text", "tags")
TAIL = 50.0  # a column that reaches beyond is given as its logarithm
Scores = dict[str, dict[str, np.ndarray]]


def trained_on(recipe: str, runs: str, *, quick: bool) -> Trained:
    """A finished training; the quick one has few sources and an eighth of the users."""
    data = HOME / "data" / "kuairand-pure"
    sets = [f"runs={runs!r}", f"events.source.path={str(data)!r}"]
    if quick:
        sets += ["ranking.slices=1", "ranking.pool=20", "ranking.list_users=300"]
        sets += ["ranking.sources=['popularity']", "evaluation.tuning_users=100"]
        engines = [f"{table}.{side}" for table in TABLES for side in ("first", "second")]
        sets += [
            f"ranking.{engine}.{key}" for engine in engines for key in ("trees=3", "threads=1")
        ]
    place = Path(recipe) if recipe.endswith(".toml") else HOME / "recipes" / f"{recipe}.toml"
    found = train_recipe(read_recipe(place, overrides=sets))
    if not quick:
        return found
    matrix = found.matrices["impressions"]
    keep_N = matrix.rows.user_N % 8 == 0
    few = Matrix(matrix.rows.rows(keep_N), matrix.columns, matrix.value_NF[keep_N])
    return dataclasses.replace(found, matrices={**found.matrices, "impressions": few})


def part(matrix: Matrix, trained: Trained, role: str) -> Matrix:
    """Rows of a role; `once` are the test rows with what was known at their list's first row."""
    if role != "once":
        return matrix.part(trained.folds, role)
    found = matrix.part(trained.folds, "test")
    first_N = np.unique(found.rows.group_N, return_index=True, return_inverse=True)[1:]
    moment_F = np.array([name.startswith(("user.", "clock.")) for name in matrix.columns])
    value_NF = np.where(moment_F, found.value_NF[first_N[0][first_N[1]]], found.value_NF)
    return Matrix(found.rows, found.columns, value_NF)


def at_once(trained: Trained) -> Trained:
    """The same training with `once` as its test rows."""
    shown = {"impressions": part(trained.matrices["impressions"], trained, "once")}
    return dataclasses.replace(trained, matrices={**trained.matrices, **shown})


def context(trained: Trained) -> tuple[list[str], np.ndarray]:
    """Columns of the event's own context for the impressions, NaN where there is none."""
    events = trained.log.events.filter(pl.col("kind") == "impression")
    names = [name for name in events.collect_schema() if name.startswith("ctx_")]
    key = ["user_id", "item_id", "timestamp"]
    carried = events.select(*key, *names).unique(key, keep="last").collect()
    shown = trained.matrices["impressions"].rows.frame().cast(dict(carried.select(key).schema))
    found = shown.join(carried, on=key, how="left", maintain_order="left")
    return names, found.select(pl.col(names).cast(pl.Float32)).to_numpy()


def raw(trained: Trained, *, with_context: bool) -> tuple[Matrix, tuple[str, ...]]:
    """What an event carries: attributes and the hour; and which columns are codes."""
    log, rows = trained.log, trained.matrices["impressions"].rows
    users = [name for name in log.users.collect_schema() if name not in ("user_id", *TEXTS)]
    items = [name for name in log.items.collect_schema() if name not in ("item_id", *TEXTS)]
    user, item = user_attributes(log, users), item_attributes(log, items)
    whole = trained.matrices["impressions"]
    clock = [place for place, name in enumerate(whole.columns) if name.startswith("clock.")]
    parts = [whole.value_NF[:, clock], user.of(rows.user_N), item.of(rows.item_N)]
    columns = (*(whole.columns[place] for place in clock), *user.columns, *item.columns)
    if with_context:
        names, value_NC = context(trained)
        parts, columns = [*parts, value_NC], (*columns, *names)
    value_NF = np.concatenate(parts, axis=1, dtype=np.float32)
    return Matrix(rows, columns, value_NF), (*user.categorical, *item.categorical)


def drawn(spec: Spec, trials: int) -> list[Spec]:
    """The recipe's own settings and random ones, the same draws for every engine."""
    spec = spec.model_copy(update={"trees": TREES, "threads": 1})
    rng, found = derive(SEED, "ctr", "trials"), [spec]
    for _ in range(trials - 1):
        values = {
            "learning_rate": round(float(10 ** rng.uniform(-1.6, -0.8)), 4),
            "leaves": round(2 ** rng.uniform(2.8, 6)),
            "l2": round(float(10 ** rng.uniform(-1, 2)), 2),
            "min_hessian": round(float(10 ** rng.uniform(-1, 1.7)), 2),
            "column_share": round(float(rng.uniform(0.3, 1.0)), 2),
            "row_share": round(float(rng.uniform(0.5, 1.0)), 2),
        }
        found.append(spec.model_copy(update=values))
    return found


def tuned(spec: Spec, matrix: Matrix, trained: Trained, codes: tuple[str, ...], trials: int):
    """The best settings by the labels' log losses on `valid`, and its engines by label."""
    train, valid = (matrix.part(trained.folds, role) for role in ("train", "valid"))
    best = None
    for tried in drawn(spec, trials):
        engines, loss = {}, 0.0
        for label in matrix.rows.labels:
            held_out = valid.examples(label)
            engine = build(tried, where="ctr", categorical=codes)
            engines[label] = engine.fit(train.examples(label), held_out)
            loss += float(log_loss(engine.margin(held_out.value_NF), held_out.label_N).mean())
        if best is None or loss < best[0]:
            best = (loss, tried, engines)
    return best


def calibrated(margins: Mapping[str, np.ndarray], label_N: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities of `test` and `once` from log-odds, calibrated on `later`."""
    map_to = platt(margins["later"], label_N)
    return {role: expit(map_to.logit(margins[role])) for role in JUDGED[1:]}


def inputs(trained: Trained) -> dict[str, np.ndarray]:
    """Features of the pipeline as a linear model or a network wants them; see `peer_ctr.py`."""
    matrix = trained.matrices["impressions"]
    code_F = np.array([name in trained.categorical for name in matrix.columns])
    learned_NF = matrix.part(trained.folds, "train").value_NF[:, ~code_F]
    tail_F = np.nanmax(np.abs(learned_NF), axis=0) > TAIL
    missing_F = np.isnan(learned_NF).any(axis=0)

    def numbers(value_NF: np.ndarray) -> np.ndarray:
        return np.where(tail_F, np.sign(value_NF) * np.log1p(np.abs(value_NF)), value_NF)

    shown_NF = numbers(learned_NF)
    mean_F, scale_F = np.nanmean(shown_NF, axis=0), np.nanstd(shown_NF, axis=0)
    scale_F[scale_F == 0] = 1.0
    code_NC = np.nan_to_num(matrix.value_NF[:, code_F], nan=-1).astype(np.int64) + 1
    found = {"sizes": code_NC.max(axis=0) + 1}
    for role in ROLES:
        some = part(matrix, trained, role)
        value_NF = (numbers(some.value_NF[:, ~code_F]) - mean_F) / scale_F
        gone_NF = np.isnan(some.value_NF[:, ~code_F])[:, missing_F]
        full_NF = np.clip(np.nan_to_num(value_NF, nan=0.0), -10, 10)
        found[f"{role} x"] = np.hstack([full_NF, gone_NF]).astype(np.float32)
        codes = np.nan_to_num(some.value_NF[:, code_F], nan=-1).astype(np.int64) + 1
        found[f"{role} c"] = codes
        for label in matrix.rows.labels:
            found[f"{role} y {label}"] = some.rows.labels[label].astype(np.float32)
    return found


def logistic(given: Mapping[str, np.ndarray], labels: list[str], trials: int):
    """Log-odds by label and role with the best penalty, and that penalty."""
    one_hot = OneHotEncoder(handle_unknown="ignore").fit(given["train c"])
    x = {
        role: hstack([csr_array(given[f"{role} x"]), one_hot.transform(given[f"{role} c"])]).tocsr()
        for role in ROLES
    }
    best = None
    for penalty in np.geomspace(1e-4, 10, TRIALS)[-trials:]:
        loss, found = 0.0, {}
        for label in labels:
            model = LogisticRegression(C=penalty, max_iter=1000)
            model.fit(x["train"], given[f"train y {label}"])
            margin_N = model.decision_function(x["valid"])
            loss += float(log_loss(margin_N, given[f"valid y {label}"]).mean())
            found[label] = {role: model.decision_function(x[role]) for role in JUDGED}
        if best is None or loss < best[0]:
            best = (loss, penalty, found)
    return best[2], best[1]


def network(given: Mapping[str, np.ndarray], trials: int, *, quick: bool):
    """What `peer_ctr.py` wrote and chose, in the peers' environment; nothing where there is none."""
    if not common.PEERS.exists():
        return None, None
    with tempfile.TemporaryDirectory() as scratch:
        source, target = f"{scratch}/input.npz", f"{scratch}/output.npz"
        np.savez(source, **given)
        seeds = 1 if quick else SEEDS
        asked = ["DCN", source, target, trials, seeds, *([1] if quick else [])]
        chosen = common.in_fresh_process(PEER, *map(str, asked), python=common.PEERS)
        with np.load(target) as written:
            return dict(written), chosen


def with_engines(trained: Trained, specs: Mapping[str, Spec], seed: int = 0) -> Trained:
    """The pipeline's ranker of impressions fitted anew with the engines given."""
    section = ranking_of(trained.config)
    first, second = (specs[name].model_copy(update={"seed": seed}) for name in ENGINES)
    pair = section.impressions.model_copy(update={"first": first, "second": second})
    section = section.model_copy(update={"impressions": pair})
    shown = {"impressions": trained.matrices["impressions"]}
    ranker = fit_rankers(section, shown, trained.folds, trained.categorical)
    config = trained.config.model_copy(update={"ranking": section})
    return dataclasses.replace(trained, config=config, rankers={**trained.rankers, **ranker})


def told(spec: Spec) -> str:
    """Settings of an engine as one line."""
    values = spec.model_dump(exclude={"use", "threads", "seed", "trees"})
    return ", ".join(f"{name}={value}" for name, value in values.items())


def network_scores(written: Mapping[str, np.ndarray], label: str, label_N: np.ndarray):
    """Model -> role -> probabilities: the best seed, the mean of the seeds; and all seeds' on `test`."""
    margins = {role: written[f"{label} {role}"] for role in JUDGED}
    seeds = [
        calibrated({role: one_SN[seed] for role, one_SN in margins.items()}, label_N)
        for seed in range(len(margins["test"]))
    ]
    mean = {role: one_SN.mean(axis=0) for role, one_SN in margins.items()}
    best = seeds[int(np.argmin(written[f"{label} valid"]))]
    found = {"dcnv2": best, "dcnv2_seeds": calibrated(mean, label_N)}
    return found, np.stack([one["test"] for one in seeds])


def measured(trained: Trained, *, quick: bool) -> dict[str, object]:
    """Everyone's figures on the test impressions."""
    trials = 1 if quick else TRIALS
    section, matrix = ranking_of(trained.config), trained.matrices["impressions"]
    later, test = (part(matrix, trained, role) for role in ("later", "test"))
    labels = list(matrix.rows.labels)
    given = inputs(trained)
    waiting = ThreadPoolExecutor(1).submit(network, given, trials, quick=quick)
    result: dict[str, object] = {
        "train_rows": len(part(matrix, trained, "train").rows),
        "test_rows": len(test.rows),
        "test_users": len(np.unique(test.rows.user_N)),
        "features": len(matrix.columns),
        "trials": trials,
    }

    specs = {}
    pair = section.impressions
    for name, spec in zip(ENGINES, (pair.first, pair.second), strict=True):
        loss, specs[name], _ = tuned(spec, matrix, trained, trained.categorical, trials)
        result[f"{name.lower()}_valid_loss"] = round(loss, 4)
        result[f"{name.lower()}_settings"] = told(specs[name])
    pipeline = with_engines(trained, specs)
    scores: dict[str, Scores] = {"test": own(pipeline), "once": own(at_once(pipeline))}
    for label, found in ({} if quick else ablations(pipeline)).items():
        scores["test"][label] |= {name.replace(" ", "_"): p_N for name, p_N in found.items()}

    others: dict[str, dict[str, dict[str, np.ndarray]]] = {label: {} for label in labels}
    for name in ("lightgbm_raw", "lightgbm_raw_context"):
        plain, codes = raw(trained, with_context=name.endswith("context"))
        loss, spec, engines = tuned(pair.second, plain, trained, codes, trials)
        result |= {f"{name}_valid_loss": round(loss, 4), f"{name}_settings": told(spec)}
        rows = {role: np.ascontiguousarray(part(plain, trained, role).value_NF) for role in JUDGED}
        for label, engine in engines.items():
            margins = {role: engine.margin(value_NF) for role, value_NF in rows.items()}
            others[label][name] = calibrated(margins, later.rows.labels[label])
    linear, penalty = logistic(given, labels, trials)
    result["logistic_C"] = float(penalty)
    for label, margins in linear.items():
        others[label]["logistic"] = calibrated(margins, later.rows.labels[label])
    written, chosen = waiting.result()
    if written is not None and chosen is not None:
        result |= {"dcnv2_settings": str(chosen), "dcnv2_valid_loss": round(chosen["loss"], 4)}
        for label in labels:
            found, p_SN = network_scores(written, label, later.rows.labels[label])
            others[label] |= found
            result[f"{label}_dcnv2_auc_by_seed"] = aucs(test.rows.labels[label], p_SN)

    again = [] if quick else [with_engines(trained, specs, seed) for seed in range(1, SEEDS)]
    by_seed = [scores["test"], *(own(one) for one in again)]
    for label in labels:
        p_SN = np.stack([one[label][PIPELINE] for one in by_seed])
        result[f"{label}_pipeline_auc_by_seed"] = aucs(test.rows.labels[label], p_SN)
        for role, found in scores.items():
            found[label] |= {name: one[role] for name, one in others[label].items()}
        result |= figures(label, test, scores["test"][label])
        once = figures(label, test, scores["once"][label])
        result |= {
            key.replace("_ndcg10", "_ndcg10_at_once"): v
            for key, v in once.items()
            if "_ndcg10" in key
        }
    return result


def own(trained: Trained) -> Scores:
    """Label -> the pipeline and each of its engines alone -> probabilities of the test impressions."""
    return {
        label: {
            name if name == PIPELINE else f"{name.split()[0].lower()}_full": p_N
            for name, p_N in found.items()
        }
        for label, found in pipeline_probabilities(trained).items()
    }


def aucs(label_N: np.ndarray, p_SN: np.ndarray) -> str:
    """AUC of every seed, as text."""
    one_N = np.ones(len(label_N))
    return ", ".join(f"{weighted_auc(label_N, p_N)(one_N):.4f}" for p_N in p_SN)


def figures(label: str, test: Matrix, probabilities: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Flat figures of one label."""
    found: dict[str, float] = {}
    for name, one in judge(test, label, probabilities, seed=SEED).items():
        start = f"{label}_{name}"
        for key, value in (("auc", one.auc), ("log_loss", one.log_loss), ("ndcg10", one.ndcg)):
            found[f"{start}_{key}"] = value.value
            found[f"{start}_{key}_low"], found[f"{start}_{key}_high"] = value.low, value.high
        found[f"{start}_ece"] = one.calibration
        gains = (("auc", one.auc_gain), ("log_loss", one.log_loss_gain), ("ndcg10", one.ndcg_gain))
        for key, gain in gains:
            if gain is not None:
                start = f"{label}_pipeline_minus_{name}_{key}"
                found |= {start: gain.value, f"{start}_low": gain.low, f"{start}_high": gain.high}
    return {key: round(float(value), 4) for key, value in found.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="a slice: not a result")
    parser.add_argument(
        "--recipe", default="ranked", help="a recipe on KuaiRand with labels, or its file"
    )
    parser.add_argument("--runs", help="folder of runs, to use a finished training again")
    args = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        trained = trained_on(args.recipe, args.runs or scratch, quick=args.quick)
        result = {"recipe": args.recipe, "quick": "not a result" if args.quick else False}
        result |= measured(trained, quick=args.quick)
    result["seconds"] = round(time.perf_counter() - began, 1)
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
