"""A small log of decisions in files, from a world of known truth."""

import numpy as np
import polars as pl

from muma.rng import derive
from muma.testing.choice_world import ChoiceWorld

WORLD = ChoiceWorld(actions=4, features=2, seed=11)


def frame(n=1200, seed=1):
    """Rows with every column that a log may have; answers have one slot."""
    log = WORLD.log(n, derive(seed, "ope"), per_unit=2)
    return pl.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(n)],
            "user": log.unit_B,
            "time": np.arange(n) * 1_000_000,
            "item": [f"item {a}" for a in log.action_B],
            "propensity": log.propensity_B,
            "reward": log.reward_B,
            "ctx_a": log.context_BF[:, 0],
            "ctx_b": log.context_BF[:, 1],
            "country": np.array(["de", "fr"])[log.unit_B % 2],
        }
    )


def ranked(n=600, seed=2):
    """Answers of two slots out of four items, drawn evenly without replacement; item 3 is the good one."""
    rng = derive(seed, "ranked")
    order_N4 = rng.permuted(np.tile(np.arange(4), (n, 1)), axis=1)
    item_B = order_N4[:, :2].ravel()
    return pl.DataFrame(
        {
            "request_id": np.repeat(np.arange(n), 2),
            "slot": np.tile([1, 2], n),
            "item": item_B,
            "propensity": np.tile([1 / 4, 1 / 3], n),
            "reward": (rng.random(2 * n) < np.where(item_B == 3, 0.7, 0.2)).astype(float),
        }
    )


def write(table, path):
    """Write a table as Parquet or CSV, and return its path as text."""
    table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)
    return str(path)
