"""Run ranx in a process of its own, where its functions need not be compiled (45 s otherwise).

Reads `[{"qrels": ..., "run": ..., "metrics": [...]}, ...]` from stdin, writes per-query values.
"""

import json
import sys

import ranx


def main() -> None:
    answers = []
    for case in json.load(sys.stdin):
        run = ranx.Run(case["run"])
        ranx.evaluate(ranx.Qrels(case["qrels"]), run, case["metrics"])
        answers.append(
            {
                metric: {query: float(value) for query, value in values.items()}
                for metric, values in run.scores.items()
            }
        )
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
