"""A small feed whose truth is known, in files: what is shown, what of it is clicked, and a recipe."""

import numpy as np

BLOCKS = """
[features.blocks.activity]
use = "muma.features.families.count.Count"
keys = ["user", "item"]
of = ["click", "impression"]
windows = ["1d/2h"]

[features.blocks.age]
use = "muma.features.families.item_age.ItemAge"
"""
WANTED = """
[features.filters.wanted]
kinds = ["click"]

[features.sequences.wanted]
key = "user"
of = "wanted"
length = 300
"""

RECIPE = """
name = "feed"
seed = 5
runs = {runs!r}

[events.source]
use = "muma.events.sources.files.Files"

[events.source.events]
files = [{log!r}]
columns = {{ user_id = "uid", item_id = "article", timestamp = "ts", kind = "what", request_id = "rid" }}
constants = {{ domain = "news" }}
time_unit = "s"

[events.source.items]
files = [{items!r}]
columns = {{ item_id = "article", title = "title", attr_words = "words" }}
constants = {{ domain = "news" }}

[events.cleaning.bots]
enabled = false

{blocks}

[candidates.signal]
kinds = {{ click = 1.0 }}

[candidates.models.popularity]
use = "muma.candidates.popularity.Popularity"
half_life_days = 2.0

[candidates.models.knn]
use = "muma.candidates.item_knn.ItemKNN"

[ranking]
slices = 3
pool = 8
list_users = 60
item_attributes = ["attr_words"]

[ranking.labels.click]
kinds = ["click"]

[ranking.labels.long_view]
kinds = ["long_view"]
weight = 0.5

[ranking.impressions]
resamples = 20
first = {{ use = "muma.ranking.engines.xgboost.XGBoostEngine", trees = 12, learning_rate = 0.2, threads = 1 }}
second = {{ use = "muma.ranking.engines.lightgbm.LightGBMEngine", trees = 12, learning_rate = 0.2, threads = 1 }}

[ranking.lists]
resamples = 20
first = {{ use = "muma.ranking.engines.xgboost.XGBoostEngine", trees = 12, learning_rate = 0.2, threads = 1 }}
second = {{ use = "muma.ranking.engines.lightgbm.LightGBMEngine", trees = 12, learning_rate = 0.2, threads = 1 }}

[evaluation]
baseline = "popularity"
mask_seen = false
resamples = 100

[evaluation.target]
kinds = {{ click = 1.0 }}
"""


def feed_rows(*, users=60, items=24, seed=0):
    """Rows (uid, article, ts, what, rid) in order of time; requests of five items share no id.

    A user likes one half of the items; what he likes is clicked with 0.75, the rest with 0.15, and
    every second click becomes a long view. All times differ.
    """
    rng = np.random.default_rng(seed)
    acts = []
    for user in range(users):
        for _ in range(16):
            begin = int(rng.integers(20 * 86_400))
            for item in rng.choice(items, 5, replace=False):
                chance = 0.75 if item % 2 == user % 2 else 0.15
                acts.append((begin, user, int(item), rng.random() < chance, rng.random() < 0.5))
    acts.sort()
    rows = []
    for number, (begin, user, item, clicked, watched) in enumerate(acts):
        at = 1_700_000_000 + begin + 4 * number
        rows.append((f"u{user}", f"a{item}", at, "impression", f"r{number}"))
        if clicked:
            rows.append((f"u{user}", f"a{item}", at + 1, "click", f"r{number}"))
        if clicked and watched:
            rows.append((f"u{user}", f"a{item}", at + 2, "long_view", f"r{number}"))
    return rows


def write_feed(folder, rows=None, *, blocks=BLOCKS):
    """Write the files and the recipe; returns the recipe's path."""
    rows = feed_rows() if rows is None else rows
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "log.csv").write_text("\n".join(["uid,article,ts,what,rid", *lines]) + "\n")
    items = sorted({row[1] for row in rows})
    known = [f"{item},Story {item},{100 + 7 * int(item[1:])}" for item in items]
    (folder / "items.csv").write_text("\n".join(["article,title,words", *known]) + "\n")
    recipe = folder / "feed.toml"
    places = {"runs": "runs", "log": "log.csv", "items": "items.csv"}
    recipe.write_text(
        RECIPE.format(
            blocks=blocks, **{name: str(folder / place) for name, place in places.items()}
        )
    )
    return recipe
