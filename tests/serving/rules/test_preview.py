"""Preview with a small real engine: popular first, under the rules."""

import numpy as np

from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Answer, Ask, Evidence, ServedItem
from muma.serving.rules.preview import Move, preview
from muma.serving.rules.ruleset import RuleSet

FACTS = ItemFacts.empty().with_items(ItemFact(f"i{k}", author=f"a{k // 2}") for k in range(8))


class Popular:
    """Items in the order of the catalogue, as far as the rules let them."""

    def __init__(self, rules):
        self.rules = rules

    def answer(self, ask):
        ruling = self.rules.ruling(ask, FACTS)
        item_N = np.flatnonzero(ruling.allowed())
        slots, places = ruling.slots(item_N), []
        while len(places) < ask.count and (open_N := slots.open_for(len(places), places)).any():
            places.append(int(np.flatnonzero(open_N)[0]))
        served = tuple(
            ServedItem(name, None, None, 0.0, 1.0, False, {}, ())
            for name in FACTS.names(item_N[places])
        )
        return Evidence(
            ask, Answer(ask.request_id, served, (), {}, -1, {}), item_N, np.empty((len(item_N), 0)),
            (), np.ones(len(served)), np.ones(len(served), int), 0.0, ruling.hits(),
        )  # fmt: skip


def test_what_would_change():
    new = RuleSet.parse(
        [
            {"kind": "blocked", "id": "out", "items": ["i0"], "users": ["u1"]},
            {"kind": "author_cap", "id": "one", "most": 1, "audience": {"users": ["u1"]}},
        ]
    )
    asks = [Ask(f"r-{user}", time=0, user=user, count=3) for user in ("u1", "u2")]
    told = preview(Popular, RuleSet(), new, asks)
    changed, same = told.changes
    assert (told.changed, same.before, same.after) == (1, ("i0", "i1", "i2"), ("i0", "i1", "i2"))
    assert changed.after == ("i1", "i2", "i4")
    assert (changed.entered, changed.left) == (("i4",), ("i0",))
    assert changed.moved == (Move("i1", 1, 0), Move("i2", 2, 1))
    assert told.touched["out", "removed"] == (0, 1)
    assert told.touched["one", "capped"] == (0, 1)
    assert preview(Popular, new, new, asks).changed == 0
    assert preview(Popular, new, new, []).changes == ()
