"""Run every benchmark one after another and keep its JSON in benchmarks/results/.

python benchmarks/run.py            # in full; what `make bench` does
python benchmarks/run.py --quick    # a smoke run; results are printed, not kept
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = {
    "events": ["events.py"],
    "events_100m": ["events.py", "--rows", "100000000", "--format", "parquet"],
    "evaluation": ["evaluation.py"],
    "movielens": ["movielens.py"],
    "globo": ["globo.py"],
    "features": ["features.py"],
    "as_of": ["as_of.py"],
    "fusion": ["fusion.py"],
    "interest_speed": ["interest_speed.py"],
    "interest": ["interest.py"],
    "interest_rivals": ["interest.py", "--models", "hybrid", "lstm", "sasrec", "--no-blend"],
    "interest_100k": ["interest.py", "--data", "ml-100k", "--models", "hybrid"],
    "interest_ablation": ["interest.py", "--ablation", "--kernel", "cpp"],
    "interest_recipes": ["interest_recipes.py"],
    "ranking": ["ranking.py"],
    "drift": ["drift.py"],
    "pipeline": ["pipeline.py"],
    "door": ["door.py"],
    "serving": ["serving.py"],
    "kills": ["kills.py"],
    "soak": ["soak.py"],
    "ctr": ["ctr.py"],
    "causal": ["causal.py"],
    "policy": ["policy.py"],
    "policy_cycle": ["policy_cycle.py"],
    "coat": ["coat.py"],
    "rules": ["rules.py"],
    "evidence": ["evidence.py"],
    "off_policy": ["off_policy.py"],
    "off_policy_learning": ["off_policy_learning.py"],
    "interval_coverage": ["interval_coverage.py"],
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="every benchmark's --quick, not kept")
    parser.add_argument("only", nargs="*", help=f"some of: {', '.join(BENCHMARKS)}")
    args = parser.parse_args()
    for name, (script, *options) in BENCHMARKS.items():
        if (args.only and name not in args.only) or (args.quick and options):
            continue
        options += ["--json", *(["--quick"] if args.quick else [])]
        print(f"{name} ...", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, str(HERE / script), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr}")
        result = json.loads(done.stdout)
        if args.quick:
            print(json.dumps({name: result}))
            continue
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
