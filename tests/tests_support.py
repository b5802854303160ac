"""A small world in files, and the recipe that reads it."""

import numpy as np

RECIPE = """
name = "small"
seed = 3
runs = {runs!r}

[events.source]
use = "muma.events.sources.files.Files"

[events.source.events]
files = [{log!r}]
columns = {{ user_id = "uid", item_id = "article", timestamp = "ts", kind = "what" }}
constants = {{ domain = "news" }}
time_unit = "s"

[events.source.items]
files = [{items!r}]
columns = {{ item_id = "article", title = "title", tags = "tags" }}
constants = {{ domain = "news" }}

[candidates.models.popularity]
use = "muma.candidates.popularity.Popularity"
tune.half_life_days = [0.5, 5.0]

[candidates.models.markov]
use = "muma.candidates.markov.Markov"

[candidates.models.knn]
use = "muma.candidates.item_knn.ItemKNN"

[candidates.models.blend]
use = "muma.candidates.blend.Blend"
members = ["markov", "popularity"]
tune = {{ markov = [0.3, 1.0], popularity = [0.1] }}

[evaluation]
baseline = "popularity"
mask_seen = false
resamples = 200
"""


def write_small_log(folder, *, users=40, items=25, seed=0):
    """A chain world: after article i mostly comes article i + 1. Two CSV files."""
    rng = np.random.default_rng(seed)
    lines = ["uid,article,ts,what"]
    rows = []
    for user in range(users):
        at, time = int(rng.integers(items)), 1_700_000_000 + int(rng.integers(500_000))
        for _ in range(25):
            at = (at + 1) % items if rng.random() < 0.8 else int(rng.integers(items))
            time += int(rng.integers(20_000, 60_000))
            rows.append((time, f"u{user},a{at},{time},click"))
    lines += [line for _, line in sorted(rows)]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    titles = [f"a{i},Story {i},tag{i % 4}|common" for i in range(items)]
    (folder / "items.csv").write_text("\n".join(["article,title,tags", *titles]) + "\n")
