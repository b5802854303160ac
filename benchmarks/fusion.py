"""Many sources against one: Last.fm with friends and tags, and gaze.

    python benchmarks/fusion.py --json            # five folds, five seeds
    python benchmarks/fusion.py --quick --json    # one fold, few epochs, under 50 s

Last.fm (HetRec 2011): a user is fused from plays, friends (the mean of their plays), the tags of what
was played, and the tags the user gave; a learned item table scores all artists with two listeners or
more. The rival is the same network on plays alone, with a grid of the same size, tuned on validation
users and plays of fold 0; EASE is the reference, its penalty tuned likewise. NDCG@10 over the whole
catalogue, known plays masked. Every user is warm (four fifths of the plays known) in four folds and
cold in one, with one to four plays known and nothing of theirs in training: the data set holds only 15
users with fewer than five plays, so cold users are simulated by leaving few. A warm value is the mean
over its folds. Removal: the same fused network with one source masked at inference.

Gaze: see `fusion_gaze.py`; people are left out in five folds, the prediction is that of one seed.

Intervals are 95 % bootstrap percentiles over users (trials for gaze), differences are paired; a key
ending in `_holds_zero` says whether the interval does. Needs the data sets: set MUMA_DATA to their folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import common
import fusion_gaze
import fusion_lastfm as lastfm
from muma.evaluation.intervals import bootstrap_means, paired_difference
from muma.fusion.encoders.gaze import GazeConfig

HOME = Path(__file__).parents[1]
DATA = Path(os.environ.get("MUMA_DATA") or HOME.parent / "shared" / "data")
SEED = 1
SETS = {"plays": lastfm.PLAYS_ALONE, "fused": lastfm.FUSED}
L2 = (30.0, 100.0, 300.0)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--quick", action="store_true", help="one fold, few epochs, no tuning")
    args = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    result: dict[str, object] = {"quick": args.quick}
    result |= music(quick=args.quick)
    result |= gaze(quick=args.quick)
    result["seconds"] = round(time.perf_counter() - began, 1)
    common.emit(result, as_json=args.json)


def music(*, quick: bool) -> dict[str, object]:
    """Last.fm: tune, train on each fold, measure warm and cold users."""
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        log = lastfm.load(DATA, Path(folder) / "log")
    folds = [lastfm.fold(log, number) for number in range(1 if quick else lastfm.FOLDS)]
    chosen, l2 = {name: settings[0] for name, settings in SETS.items()}, L2[1]
    if not quick:
        tuning = lastfm.fold(folds[0].log, 0, within=folds[0].warm_U)
        for name, grid in SETS.items():
            score = {s: sum(lastfm.train_and_measure(s, tuning, SEED)) for s in grid}
            chosen[name] = max(grid, key=lambda s: score[s])
            result[f"lastfm_{name}_settings_tried"] = len(grid)
            result[f"lastfm_{name}_settings"] = chosen[name].told()
        l2 = max(L2, key=lambda value: sum(lastfm.ease_means(tuning, value)))
    result["lastfm_ease_l2"] = l2
    warm: dict[str, np.ndarray] = {}
    cold: dict[str, np.ndarray] = {}

    def keep(name: str, measure, fold: lastfm.Fold, number: int) -> None:
        for view, users in ((warm, fold.warm_U), (cold, fold.cold_U)):
            held = view.setdefault(name, np.full((len(folds), log.n_users), np.nan))
            held[number, users] = measure(users)

    for number, fold in enumerate(folds):
        for name, settings in chosen.items():
            asked = replace(settings, epochs=8, episodes=4) if quick else settings
            model = lastfm.train(asked, fold, SEED + number)
            keep(name, lambda users: lastfm.ndcg(model, fold, users), fold, number)  # noqa: B023
            for source in settings.sources if name == "fused" else ():
                keep(
                    f"fused_without_{source}",
                    lambda users: lastfm.ndcg(model, fold, users, source),  # noqa: B023
                    fold,
                    number,
                )
        linear = lastfm.ease(fold, l2)
        keep("ease", lambda users: lastfm.measured(linear.score, fold, users), fold, number)  # noqa: B023
    for view, values in (("all", warm), ("cold", cold)):
        result |= told(f"lastfm_{view}", {name: folded(held) for name, held in values.items()})
    return result | {"lastfm_users": log.n_users, "lastfm_items": log.n_items,
                     "lastfm_folds": len(folds)}  # fmt: skip


def folded(value_FU: np.ndarray) -> np.ndarray:
    """Mean over the folds in which a user has a value, NaN for a user without any."""
    count_U = (~np.isnan(value_FU)).sum(axis=0)
    return np.where(count_U > 0, np.nansum(value_FU, axis=0) / np.maximum(count_U, 1), np.nan)


def told(stem: str, values: dict[str, np.ndarray]) -> dict[str, object]:
    """Every model's mean, and what fused and each removal differ by."""
    result: dict[str, object] = {}
    for name, found in bootstrap_means(values, seed=SEED).items():
        result[f"{stem}_{name}_ndcg10"] = round(found.value, 4)
        result[f"{stem}_{name}_low"] = round(found.low, 4)
        result[f"{stem}_{name}_high"] = round(found.high, 4)
        result[f"{stem}_n"] = found.n
    pairs = [("fused", "plays"), ("fused", "ease"), ("plays", "ease")]
    pairs += [(name, "fused") for name in values if name.startswith("fused_without")]
    for one, two in pairs:
        result |= gap(f"{stem}_{one}_minus_{two}", values[one], values[two])
    return result


def gap(stem: str, one_B: np.ndarray, two_B: np.ndarray) -> dict[str, object]:
    """A paired difference with its interval."""
    found = paired_difference(one_B, two_B, seed=SEED)
    return {
        stem: round(found.value, 4),
        f"{stem}_low": round(found.low, 4),
        f"{stem}_high": round(found.high, 4),
        f"{stem}_holds_zero": bool(found.low <= 0 <= found.high),
    }


def gaze(*, quick: bool) -> dict[str, object]:
    """The chosen item from fixations, and the pages of FiWI."""
    found = fusion_gaze.trials(DATA)
    guess_T = fusion_gaze.predicted(
        found, epochs=3 if quick else 10, seed=SEED, config=GazeConfig(width=16)
    )
    right = {
        "encoder": (guess_T == found.chosen_T).astype(float),
        "last_fixation": (found.last_T == found.chosen_T).astype(float),
        "longest_dwell": (found.longest_T == found.chosen_T).astype(float),
    }
    result: dict[str, object] = {
        "gaze_trials": len(guess_T),
        "gaze_people": len(np.unique(found.person_T)),
        "gaze_fixations": found.fixations,
    }
    result |= {f"gaze_{name}_accuracy": round(float(v.mean()), 4) for name, v in right.items()}
    for other in ("last_fixation", "longest_dwell"):
        result |= gap(f"gaze_encoder_minus_{other}", right["encoder"], right[other])
        person = by_person(right["encoder"] - right[other], found.person_T)
        result |= gap(f"gaze_encoder_minus_{other}_by_person", person, np.zeros_like(person))
    return result | fusion_gaze.pages(DATA)


def by_person(value_T: np.ndarray, person_T: np.ndarray) -> np.ndarray:
    """Mean of each person's trials, so that an interval may resample people."""
    _, row_T = np.unique(person_T, return_inverse=True)
    return np.bincount(row_T, value_T) / np.bincount(row_T)


if __name__ == "__main__":
    main()
