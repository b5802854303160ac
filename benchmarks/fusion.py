"""Many sources against one: Last.fm with friends and tags, and gaze.

    python benchmarks/fusion.py --json            # five folds, five seeds
    python benchmarks/fusion.py --quick --json    # one fold, few epochs, under 50 s

Last.fm (HetRec 2011): a user is fused from plays, friends (the mean of their plays), the tags of what
was played, and the tags the user gave, weighed by attention that knows how many plays there are; a
learned table scores all artists with two listeners or more. The rival is the same network on plays
alone, with the same grid, tuned for each view by itself on validation users and plays of fold 0; EASE
is the reference, its penalty tuned likewise. Both networks start from the same spectral item vectors;
friends' plays are read with the same rows as the user's own.

NDCG@10 over the whole catalogue, known plays masked. `all`: every user with four fifths of the plays
known, the mean of the four folds in which the user is trained on. `cold`: the same users in the fifth
fold, with one to four plays known and nothing of theirs in training. The data set holds only 15 users
with fewer than five plays, so cold users are simulated by leaving few. Each fold has a seed of its own.
Removal: the same fused network with one source masked at inference, minus the whole.

Gaze: see `fusion_gaze.py`; people are left out in five folds, the prediction is that of one seed.

Intervals are 95 % bootstrap percentiles over users (trials for gaze), differences are paired; a key
ending in `_holds_zero` says whether the interval does. Needs the data sets: set MUMA_DATA to their folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import common
import fusion_gaze
import fusion_lastfm as lastfm
from muma.candidates.ease import EASE
from muma.evaluation.intervals import bootstrap_means, paired_difference
from muma.fusion.encoders.gaze import GazeConfig

HOME = Path(__file__).parents[1]
DATA = Path(os.environ.get("MUMA_DATA") or HOME.parent / "shared" / "data")
SEED = 1
VIEWS = ("all", "cold")
EPISODES = 20
L2 = (30.0, 100.0, 300.0, 1000.0)


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
    chosen = {view: {name: grid[0] for name, grid in lastfm.SETS.items()} for view in VIEWS}
    l2 = dict.fromkeys(VIEWS, L2[1])
    if not quick:
        chosen, l2 = tuned(lastfm.fold(folds[0].log, 0, within=folds[0].warm_U))
    values: dict[str, dict[str, np.ndarray]] = {view: {} for view in VIEWS}
    for number, fold in enumerate(folds):
        for view, name, value_U in measured(fold, SEED + number, chosen, l2, quick=quick):
            empty = np.full((len(folds), log.n_users), np.nan)
            values[view].setdefault(name, empty)[number] = value_U
    for view in VIEWS:
        means = {name: folded(value_FU) for name, value_FU in values[view].items()}
        result |= told(f"lastfm_{view}", means)
        result |= {f"lastfm_{view}_{n}_decay": s.decay for n, s in chosen[view].items()}
        result[f"lastfm_{view}_ease_l2"] = l2[view]
    return result | {
        "lastfm_users": log.n_users,
        "lastfm_items": log.n_items,
        "lastfm_folds": len(folds),
        "lastfm_settings_tried": 0 if quick else len(lastfm.DECAYS),
    }


def asked(view: str, fold: lastfm.Fold) -> np.ndarray:
    """The users of a view."""
    return fold.warm_U if view == "all" else fold.cold_U


def tuned(fold: lastfm.Fold) -> tuple[dict[str, dict[str, lastfm.Settings]], dict[str, float]]:
    """The settings with the best validation NDCG, for each view by itself."""
    pool = lastfm.episodes(fold, SEED, EPISODES)
    chosen: dict[str, dict[str, lastfm.Settings]] = {view: {} for view in VIEWS}
    for name, grid in lastfm.SETS.items():
        models = [lastfm.train(settings, fold, SEED, pool) for settings in grid]
        for view in VIEWS:
            score = [lastfm.ndcg(model, fold, asked(view, fold)).mean() for model in models]
            chosen[view][name] = grid[int(np.argmax(score))]
    linear = [lastfm.ease(fold, value) for value in L2]
    l2 = {}
    for view in VIEWS:
        users = asked(view, fold)
        score = [lastfm.measured(model.score, fold, users).mean() for model in linear]
        l2[view] = L2[int(np.argmax(score))]
    return chosen, l2


def measured(
    fold: lastfm.Fold,
    seed: int,
    chosen: dict[str, dict[str, lastfm.Settings]],
    l2: dict[str, float],
    *,
    quick: bool,
) -> Iterator[tuple[str, str, np.ndarray]]:
    """View, model and NDCG@10 [U] (NaN for users not asked), for all that is compared."""
    pool = lastfm.episodes(fold, seed, 4 if quick else EPISODES)
    trained: dict[lastfm.Settings, lastfm.Recommender] = {}
    linear: dict[float, EASE] = {}
    for view in VIEWS:
        users = asked(view, fold)

        def spread(value_B: np.ndarray, users: np.ndarray = users) -> np.ndarray:
            value_U = np.full(fold.truth.shape[0], np.nan)
            value_U[users] = value_B
            return value_U

        for name, settings in chosen[view].items():
            if settings not in trained:
                short = replace(settings, epochs=16) if quick else settings
                trained[settings] = lastfm.train(short, fold, seed, pool)
            model = trained[settings]
            yield view, name, spread(lastfm.ndcg(model, fold, users))
            for source in settings.sources if name == "fused" else ():
                value_B = lastfm.ndcg(model, fold, users, source)
                yield view, f"fused_without_{source}", spread(value_B)
        if l2[view] not in linear:
            linear[l2[view]] = lastfm.ease(fold, l2[view])
        yield view, "ease", spread(lastfm.measured(linear[l2[view]].score, fold, users))


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
        found, epochs=2 if quick else 10, seed=SEED, config=GazeConfig(width=16)
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
