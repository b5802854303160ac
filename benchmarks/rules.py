"""The editors' rules: 30 rules put to requests of 200 candidates and 20 slots, on 10,000 items.

`allowed`, `boosts` and `slots` are the three uses in an answer; `slots` is the list from its first slot to
its last under five caps and quotas, one minimum of fresh items and a pin, the search among them. Each
request differs. `easy` is the same with two caps and no minimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import common
from muma.rng import derive
from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask
from muma.serving.rules.recheck import recheck
from muma.serving.rules.rule import UserState
from muma.serving.rules.ruleset import RuleSet
from muma.serving.rules.ruling import Ruling

HOUR = 3_600_000_000
NOW = 400_000 * HOUR
CANDIDATES, SLOTS = 200, 20

LIMITS = [
    {"kind": "author_cap", "id": "author", "most": 2},
    {"kind": "topic_cap", "id": "category", "most": 4},
    {"kind": "topic_cap", "id": "tag", "by": "tag", "most": 5},
    {"kind": "quota", "id": "news", "select": {"domains": ["news"]}, "min_share": 0.3, "max_share": 0.6},
    {"kind": "quota", "id": "ads", "select": {"domains": ["ad"]}, "max_count": 2, "within": 10},
    {"kind": "freshness", "id": "fresh", "select": {"younger_than_hours": 24}, "least": 4, "within": 10},
    {"kind": "pin", "id": "pin", "item": "i5", "slot": 3},
]  # fmt: skip
RULES = [
    *LIMITS,
    {"kind": "seen", "id": "seen", "horizon_hours": 24},
    {"kind": "own_items", "id": "own"},
    {"kind": "too_old", "id": "old", "age_hours": 400},
    {"kind": "too_old", "id": "old-news", "age_hours": 300, "select": {"domains": ["news"]}},
    {"kind": "age_rating", "id": "adult", "select": {"categories": ["c9"]}, "least_age": 18},
    {"kind": "region", "id": "local", "select": {"categories": ["c10"]}, "regions": ["DE"]},
    {"kind": "window", "id": "gone", "select": {"categories": ["c11"]}, "shown_until": "1975-01-01"},
    {"kind": "blocked", "id": "blocked", "items": ["i7"]},
    {"kind": "only", "id": "only", "select": {"domains": ["news", "video", "ad"]}},
    *({"kind": "without", "id": f"w{n}", "select": {"tags_any": [f"t{n}"]}} for n in range(8)),
    *(
        {"kind": "boost", "id": f"b{n}", "select": {"categories": [f"c{n}"]}, "log_odds": 0.1 * n + 0.1}
        for n in range(6)
    ),
]  # fmt: skip


def catalogue(n: int) -> ItemFacts:
    """Items with an author, a category and three tags each."""
    rng = derive(0, "rules", n)
    return ItemFacts.empty().with_items(
        ItemFact(
            f"i{k}",
            domain=("news", "video", "ad")[k % 3],
            category=f"c{rng.integers(30)}",
            author=f"a{rng.integers(500)}",
            tags=tuple(f"t{tag}" for tag in rng.integers(0, 200, 3)),
            published_at=int(NOW - rng.exponential(72) * HOUR),
            least_age=int(rng.choice([0, 0, 0, 16])),
            regions=() if rng.random() < 0.8 else ("DE", "AT"),
            expires_at=NOW + int(rng.integers(-10, 100)) * HOUR,
        )
        for k in range(n)
    )


def times(work: Callable[[int], Any], repeats: int) -> np.ndarray:
    """Microseconds of every run; run `k` is given `k`."""
    work(0)
    found = []
    for k in range(repeats):
        start = time.perf_counter()
        work(k)
        found.append((time.perf_counter() - start) * 1e6)
    return np.array(found)


def walk(ruling: Ruling, item_N: np.ndarray, seed: int) -> list[int]:
    """Fill the list with any of the open candidates."""
    slots, places = ruling.slots(item_N), []
    for slot, u in enumerate(np.random.default_rng(seed).random(SLOTS)):
        open_n = np.flatnonzero(slots.open_for(slot, places))
        if not len(open_n):
            break
        places.append(int(open_n[int(u * len(open_n))]))
    return places


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    repeats = 100 if args.quick else 2_000
    facts, rules = catalogue(10_000), RuleSet.parse(RULES)
    easy = RuleSet.parse([*LIMITS[:2], *RULES[len(LIMITS) :]])
    rng = derive(1, "rules", "requests")
    bind_s, _ = common.seconds(lambda: RuleSet.parse(RULES).prepare(facts), repeats=3)
    pools, rulings, easy_rulings = [], [], []
    for k in range(repeats):
        user = UserState(rng.integers(0, len(facts), 500), NOW - rng.integers(0, 100, 500) * HOUR)
        ask = Ask(f"r{k}", time=NOW, count=SLOTS, user="u", region="DE", age=20, exclude=("i1",))
        ruling = rules.ruling(ask, facts, user)
        open_I = np.flatnonzero(ruling.allowed())
        pool = rng.choice(open_I, CANDIDATES, replace=False)
        pools.append(np.unique(np.concatenate([pool, ruling.pinned()])))
        rulings.append(ruling)
        easy_rulings.append(easy.ruling(ask, facts, user))
    start = time.perf_counter()
    walk(rulings[0], pools[0], 0)
    first_s = time.perf_counter() - start
    lists = [pools[k][walk(rulings[k], pools[k], k)] for k in range(repeats)]
    changing = [facts]

    def change(k: int) -> None:
        changing[0] = changing[0].with_item(ItemFact(f"i{k}", author="a1"))

    def look_again(k: int) -> None:
        recheck(lists[k].tolist(), rulings[k].case.ask, facts, rules.rules, rulings[k].case.user)

    measured = {
        "ruling": times(lambda k: rules.ruling(rulings[k].case.ask, facts), repeats),
        "allowed_10k_items": times(lambda k: rulings[k].allowed(), repeats),
        "allowed_200": times(lambda k: rulings[k].allowed(pools[k]), repeats),
        "boosts_200": times(lambda k: rulings[k].boosts(pools[k]), repeats),
        "slots_20": times(lambda k: walk(rulings[k], pools[k], k), repeats),
        "easy_slots_20": times(lambda k: walk(easy_rulings[k], pools[k], k), repeats),
        "hits": times(lambda k: rulings[k].hits(), repeats),
        "recheck_20": times(look_again, repeats),
        "replace_item": times(change, min(repeats, 200)),
    }
    result: dict[str, Any] = {"rules": len(rules), "requests": repeats}
    for name, found in measured.items():
        result[f"{name}_p50_us"] = float(np.median(found))
        result[f"{name}_p99_us"] = float(np.quantile(found, 0.99))
    result |= {"bind_ms": bind_s * 1e3, "first_list_s": first_s}
    result["filled"] = float(np.mean([len(shown) for shown in lists]))
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
