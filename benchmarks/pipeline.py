"""The whole pipeline over the full catalogue: candidates, then the ranker of lists, against each source.

    python benchmarks/pipeline.py --json                    # KuaiRand with the network, and Globo
    python benchmarks/pipeline.py --recipes ranked --json   # one recipe
    python benchmarks/pipeline.py --quick --json            # few lists, no network: not a result

Global-time splits. On KuaiRand recipes/ranked.toml as it stands: five sources are ranked, the interest
network among them, their scores out of fold in time. On Globo recipes/globo.toml. Parameters of the
models are chosen on validation; differences are the pipeline minus the other, paired over the test users.
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
LISTS = 6_000  # of Globo, to learn from
LEFT_OUT = ("als", "bpr", "ease")  # of Globo: far behind in benchmarks/globo.py, and slow
DATA = {"ranked": "kuairand", "globo": "globo"}


def compared(name: str, runs: str, *, quick: bool) -> AppConfig:
    """A recipe with the models to compare, and the pipeline as what they are compared with."""
    sets = [f"runs={runs!r}"]
    if name == "ranked":
        sets.append(f"events.source.path={str(HOME / 'data' / 'kuairand-pure')!r}")
    plain = read_recipe(HOME / "recipes" / f"{name}.toml", overrides=sets).model_dump(mode="json")
    models = plain["candidates"]["models"]
    if name == "globo":
        plain["candidates"]["models"] = {k: v for k, v in models.items() if k not in LEFT_OUT}
        plain["ranking"]["list_users"] = LISTS
    if quick:
        plain["ranking"] |= {"list_users": 100, "slices": 1, "pool": 10, "labels": {}}
        kept = ("popularity", "markov")
        plain["candidates"]["models"] = {k: {**models[k], "tune": {}} for k in kept}
        plain["ranking"]["sources"] = kept
    plain["evaluation"]["baseline"] = "pipeline"
    return parse(AppConfig, plain)


def one(name: str, *, runs: str | None, quick: bool) -> dict[str, object]:
    """NDCG@10 of every model and the pipeline's lead over it."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        report = evaluate_recipe(compared(name, runs or scratch, quick=quick))
    data = DATA[name]
    result: dict[str, object] = {f"{data}_users": report.users["all"]}
    for model, found in report.models.items():
        ndcg = found.views["all"]["ndcg@10"]
        result[f"{data}_{model}_ndcg10"] = round(ndcg.value, 4)
        if found.comparison is not None:  # told as the other minus the pipeline
            gap, key = found.comparison.difference, f"{data}_pipeline_minus_{model}_ndcg10"
            result |= {key: round(-gap.value, 4), f"{key}_low": round(-gap.high, 4)}
            result[f"{key}_high"] = round(-gap.low, 4)
    result[f"{data}_seconds"] = round(time.perf_counter() - began, 1)
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="few lists: not a result")
    parser.add_argument("--recipes", nargs="*", choices=list(DATA), default=list(DATA))
    parser.add_argument("--runs", help="folder of runs, to use trainings of the network again")
    args = parser.parse_args()
    result: dict[str, object] = {"quick": "not a result" if args.quick else False}
    for name in ["ranked"] if args.quick else args.recipes:
        result |= one(name, runs=args.runs, quick=args.quick)
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
