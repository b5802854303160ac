"""Globo.com news on a global-time split: the comparison of recipes/globo.toml as one JSON object.

    python benchmarks/globo.py --json            # the whole grid
    python benchmarks/globo.py --quick --json    # few settings, no EASE, under 50 s

Needs the data set: set MUMA_DATA to the folder that holds `globo-news-clicks/`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import common
from muma.app.config import read_recipe
from muma.app.evaluation import evaluate_recipe

HOME = Path(__file__).parents[1]
SLOW = ("ease", "recency_ease", "bpr", "als")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="the cheap models only")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        config = read_recipe(HOME / "recipes" / "globo.toml", overrides=[f"runs={runs!r}"])
        config = config.model_copy(update={"ranking": None})  # benchmarks/pipeline.py has it
        if args.quick:
            config = cheap(config)
        began = time.perf_counter()
        report = evaluate_recipe(config)
    result: dict[str, object] = {"machine": common.machine(), "users": report.users["all"]}
    for name, model in report.models.items():
        ndcg = model.views["all"]["ndcg@10"]
        result[f"{name}_ndcg10"] = round(ndcg.value, 4)
        result[f"{name}_ndcg10_low"] = round(ndcg.low, 4)
        result[f"{name}_ndcg10_high"] = round(ndcg.high, 4)
        result[f"{name}_recall10"] = round(model.views["all"]["recall@10"].value, 4)
        result[f"{name}_coverage10"] = round(model.views["all"]["coverage@10"].value, 4)
        if model.comparison is not None:
            result[f"{name}_vs_popularity_p_holm"] = model.comparison.p_holm
    result["seconds"] = round(time.perf_counter() - began, 1)
    common.emit(result, as_json=args.json)


def cheap(config):
    """The recipe with the cheap models and one setting each."""
    models = {}
    for name, model in config.candidates.models.items():
        if name in SLOW:
            continue
        fewer = {key: values[:2] for key, values in model.tune.items() if key not in SLOW}
        members = tuple(m for m in model.members if m not in SLOW)
        models[name] = model.model_copy(update={"tune": fewer, "members": members})
    candidates = config.candidates.model_copy(update={"models": models})
    return config.model_copy(update={"candidates": candidates})


if __name__ == "__main__":
    main()
