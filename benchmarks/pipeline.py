"""The whole pipeline over the full catalogue: candidates, then the ranker of lists, against each source.

    python benchmarks/pipeline.py --json                # KuaiRand with the network, and Globo
    python benchmarks/pipeline.py --recipes demo --json # one recipe
    python benchmarks/pipeline.py --quick --json        # few lists, no network: not a result

Global-time splits. On KuaiRand the models are those of recipes/demo.toml and the interest network; four of
them and the network are ranked, their scores out of fold in time. On Globo all of recipes/globo.toml.
Parameters of the models are chosen on validation; differences are the pipeline minus the other, paired over the test users.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import common
from muma.app.config import AppConfig, read_recipe
from muma.app.evaluation import evaluate_recipe
from muma.config import parse

HOME = Path(__file__).parents[1]
RANKING = {"slices": 5, "pool": 60, "list_users": 6_000}  # the demo takes less, for its time
SOURCES = ["popularity", "recency_ease", "markov", "item_knn", "network"]
ENGINE = {"trees": 150, "learning_rate": 0.08}
NETWORK = {
    "use": "muma.candidates.interest.InterestSource",
    "network": {"max_length": 50, "dropout": 0.3},
    "training": {
        "threads": 1,
        "precision": "bf16-mixed",
        "batching": {"length": 50, "size": 128},
    },
    "epochs": 10,
    "learning_rate": 6e-3,
}
LEFT_OUT = ("als", "bpr", "ease")  # of Globo: far behind in benchmarks/globo.py, and slow


def compared(name: str, runs: str, *, quick: bool) -> AppConfig:
    """A recipe with the models to compare, and the pipeline as what they are compared with."""
    place = HOME / "data" / "kuairand-pure"
    sets = [f"runs={runs!r}"] + ([f"events.source.path={str(place)!r}"] if name == "demo" else [])
    plain = read_recipe(HOME / "recipes" / f"{name}.toml", overrides=sets).model_dump(mode="json")
    models = plain["candidates"]["models"]
    if name == "globo":
        plain["candidates"]["models"] = {k: v for k, v in models.items() if k not in LEFT_OUT}
        plain["ranking"]["list_users"] = RANKING["list_users"]
    elif not quick:
        models["network"] = NETWORK
        models["bpr"]["iterations"] = 30
        plain["ranking"] |= {**RANKING, "sources": SOURCES}
        for table in ("impressions", "lists"):
            for side in ("first", "second"):
                plain["ranking"][table][side] |= ENGINE
    if quick:
        plain["ranking"] |= {"list_users": 100, "slices": 1, "pool": 10, "labels": {}}
        kept = ("popularity", "markov")
        plain["candidates"]["models"] = {k: {**models[k], "tune": {}} for k in kept}
        plain["ranking"]["sources"] = kept
    plain["evaluation"]["baseline"] = "pipeline"
    return parse(AppConfig, plain)


def one(name: str, *, quick: bool) -> dict[str, object]:
    """NDCG@10 of every model and the pipeline's lead over it."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as runs:
        report = evaluate_recipe(compared(name, runs, quick=quick))
    result: dict[str, object] = {f"{name}_users": report.users["all"]}
    for model, found in report.models.items():
        ndcg = found.views["all"]["ndcg@10"]
        result[f"{name}_{model}_ndcg10"] = round(ndcg.value, 4)
        if found.comparison is not None:  # told as the other minus the pipeline
            gap, key = found.comparison.difference, f"{name}_pipeline_minus_{model}_ndcg10"
            result |= {key: round(-gap.value, 4), f"{key}_low": round(-gap.high, 4)}
            result[f"{key}_high"] = round(-gap.low, 4)
    result[f"{name}_seconds"] = round(time.perf_counter() - began, 1)
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="few lists: not a result")
    parser.add_argument("--recipes", nargs="*", default=["demo", "globo"])
    args = parser.parse_args()
    result: dict[str, object] = {"quick": "not a result" if args.quick else False}
    for name in ["demo"] if args.quick else args.recipes:
        result |= one(name, quick=args.quick)
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
