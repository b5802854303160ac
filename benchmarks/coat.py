"""Coat: do propensities put right what self-selected ratings get wrong? Judged on random ratings.

    python benchmarks/coat.py --json
    python benchmarks/coat.py --quick --json

290 users rated 24 coats of their own choice (training) and 16 drawn at random (test). Needs the data
set: set MUMA_DATA to the folder that holds `coat/`. Propensities: `published` are those that come with
the data; `logistic` are fitted here on who rated what, by features of user and coat. No test rating is
used but to judge.

1. Training: matrix factorisation with weights 1 / p against without. Width and l2 of both are chosen by
   4-fold cross-validation on the training ratings alone, over one grid, by the criterion that each
   believes in (weighted by 1 / p, or plain); the whole procedure is repeated for several seeds of
   folds and starts. `*_gain` is the fall of the squared (absolute) error on the test, mean over seeds,
   with a paired bootstrap interval over users.
2. Evaluation: recommenders of several kinds, widths and l2, trained on half of the training ratings; their
   error over all pairs is estimated from the other half, plainly and with 1 / p, and compared with that
   on the test. `*_off` is the mean distance from it over recommenders; `*_off_gain` how much nearer the
   weighted estimate is, with a bootstrap interval over users (training and test ratings of a user
   are drawn together).
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import numpy as np

import common
from coat_models import factorise, logistic_propensities, weights
from muma.evaluation.intervals import paired_difference
from muma.evaluation.off_policy.missing_ratings import rating_error
from muma.rng import derive

DATA = Path(os.environ.get("MUMA_DATA") or Path(__file__).parents[2] / "shared" / "data") / "coat"
WIDTHS, L2S = (0, 2, 5, 10, 20), (2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
FOLDS = 4


def read(name):
    """A matrix of the data set."""
    with gzip.open(DATA / f"{name}.ascii.gz", "rt") as stream:
        return np.loadtxt(stream)


def tuned(rating_UI, propensity_UI, grid, seed):
    """Predictions with the setting that cross-validation on the given ratings likes best."""
    given_UI = rating_UI > 0
    fold_UI = derive(seed, "coat-folds").integers(0, FOLDS, rating_UI.shape)
    scores = {}
    for width, l2 in grid:
        held_UI = np.zeros(rating_UI.shape)
        for fold in range(FOLDS):
            weight_UI = weights(given_UI & (fold_UI != fold), propensity_UI)
            guess_UI = factorise(rating_UI, weight_UI, width=width, l2=l2, seed=seed)
            held_UI[fold_UI == fold] = guess_UI[fold_UI == fold]
        loss_UI = (held_UI - rating_UI) ** 2
        chance_N = None if propensity_UI is None else propensity_UI[given_UI]
        scores[width, l2] = rating_error(loss_UI[given_UI], chance_N).value
    width, l2 = min(scores, key=lambda setting: scores[setting])
    weight_UI = weights(given_UI, propensity_UI)
    return factorise(rating_UI, weight_UI, width=width, l2=l2, seed=seed), (width, l2)


def training(train_UI, test_UI, propensities, *, seeds, grid):
    """MF with each kind of propensities against MF without; per-user test errors, mean over seeds."""
    known_UI = test_UI > 0
    n_U = known_UI.sum(axis=1)
    found, errors = {}, {}
    for name, propensity_UI in {"naive": None, **propensities}.items():
        square_U, absolute_U = np.zeros(len(n_U)), np.zeros(len(n_U))
        settings, per_seed = [], []
        for seed in range(seeds):
            guess_UI, setting = tuned(train_UI, propensity_UI, grid, seed)
            off_UI = np.where(known_UI, guess_UI - test_UI, 0.0)
            square_U += (off_UI**2).sum(axis=1) / n_U / seeds
            absolute_U += np.abs(off_UI).sum(axis=1) / n_U / seeds
            per_seed.append((off_UI**2).sum() / n_U.sum())
            settings.append(setting)
            print(name, seed, setting, per_seed[-1], file=sys.stderr)
        errors[name] = {"mse": square_U, "mae": absolute_U}
        found[f"mf_{name}_mse"] = float(square_U.mean())
        found[f"mf_{name}_mse_seed_sd"] = float(np.std(per_seed, ddof=1)) if seeds > 1 else 0.0
        found[f"mf_{name}_mae"] = float(absolute_U.mean())
        found[f"mf_{name}_width_median"] = float(np.median([s[0] for s in settings]))
        found[f"mf_{name}_l2_median"] = float(np.median([s[1] for s in settings]))
    for name in propensities:
        for kind in ("mse", "mae"):
            gain = paired_difference(errors["naive"][kind], errors[name][kind], seed=1)
            found[f"mf_{name}_{kind}_gain"] = gain.value
            found[f"mf_{name}_{kind}_gain_low"] = gain.low
            found[f"mf_{name}_{kind}_gain_high"] = gain.high
    return found


def recommenders(rating_UI, given_UI, propensity_UI, seed):
    """Predictions of many kinds, all learned from the given ratings."""
    rating_UI = np.where(given_UI, rating_UI, 0.0)
    mean = rating_UI.sum() / given_UI.sum()
    user_U = (rating_UI.sum(axis=1) + 5 * mean) / (given_UI.sum(axis=1) + 5)
    item_I = (rating_UI.sum(axis=0) + 5 * mean) / (given_UI.sum(axis=0) + 5)
    shape = rating_UI.shape
    guesses = [np.full(shape, float(r)) for r in (1, 2, 3, 4)]
    guesses += [np.broadcast_to(user_U[:, None], shape), np.broadcast_to(item_I, shape)]
    for chance_UI in (None, propensity_UI):
        weight_UI = weights(given_UI, chance_UI)
        for width in (0, 2, 5, 10):
            for l2 in (1.0, 3.0, 10.0, 30.0):
                guesses.append(factorise(rating_UI, weight_UI, width=width, l2=l2, seed=seed))
    return np.stack(guesses)


def evaluation(train_UI, test_UI, propensities, *, splits, resamples):
    """How far estimates from chosen ratings are from the error on random ones."""
    names = ["naive", *propensities]
    users = len(train_UI)
    off = {name: [] for name in names}
    gains = {name: [] for name in propensities}
    for split in range(splits):
        given_UI = train_UI > 0
        half_UI = derive(split, "coat-half").random(train_UI.shape) < 0.5
        guesses = recommenders(train_UI, given_UI & half_UI, propensities["published"], split)
        judged_UI, known_UI = given_UI & ~half_UI, test_UI > 0
        test_RU = (np.where(known_UI, (guesses - test_UI) ** 2, 0.0)).sum(axis=2)
        loss = np.where(judged_UI, (guesses - train_UI) ** 2, 0.0)
        sums = {}
        for name in names:
            weight_UI = judged_UI / (1.0 if name == "naive" else propensities[name])
            sums[name] = ((loss * weight_UI).sum(axis=2), weight_UI.sum(axis=1))
        rng = derive(split, "coat-bootstrap")
        drawn_NU = rng.multinomial(users, np.full(users, 1 / users), size=resamples)
        for number, count_U in enumerate([np.ones(users), *drawn_NU]):
            truth_R = test_RU @ count_U / (known_UI.sum(axis=1) @ count_U)
            far = {
                name: float(np.abs(top_RU @ count_U / (low_U @ count_U) - truth_R).mean())
                for name, (top_RU, low_U) in sums.items()
            }
            for name in names:
                if number == 0:
                    off[name].append(far[name])
            if number:
                for name in propensities:
                    gains[name].append((split, far["naive"] - far[name]))
    found = {f"evaluation_{name}_off": float(np.mean(off[name])) for name in names}
    for name in propensities:
        by_split = np.array([g for _, g in gains[name]]).reshape(splits, resamples)
        found[f"evaluation_{name}_off_gain"] = float(np.mean(off["naive"]) - np.mean(off[name]))
        low, high = np.quantile(by_split.mean(axis=0), [0.025, 0.975])
        found[f"evaluation_{name}_off_gain_low"] = float(low)
        found[f"evaluation_{name}_off_gain_high"] = float(high)
    return {**found, "evaluation_recommenders": len(guesses)}


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    quick = args.quick
    train_UI, test_UI = read("train"), read("test")
    propensities = {
        "published": read("propensities"),
        "logistic": logistic_propensities(
            train_UI > 0, read("user_features"), read("item_features")
        ),
    }
    grid = [(w, l2) for w in WIDTHS for l2 in L2S]
    if quick:
        grid = [(0, 3.0), (0, 5.0), (10, 3.0), (10, 5.0), (10, 8.0)]
    common.emit(
        {
            **training(train_UI, test_UI, propensities, seeds=2 if quick else 10, grid=grid),
            **evaluation(
                train_UI, test_UI, propensities,
                splits=1 if quick else 10, resamples=300 if quick else 1000,
            ),
        },
        as_json=args.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
