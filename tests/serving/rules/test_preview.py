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


def blocked(name, *items):
    return {"kind": "blocked", "id": name, "items": list(items)}


def test_which_rule_did_it():
    ask = Ask("r", time=0, user="u", count=3)
    old = RuleSet.parse([blocked("stays", "i7"), blocked("goes", "i1"), blocked("grows", "i6")])
    new = RuleSet.parse(
        [
            blocked("stays", "i7"),
            blocked("grows", "i6", "i0"),
            blocked("twin-a", "i2"),
            blocked("twin-b", "i2"),
            {"kind": "pin", "id": "top", "item": "i5", "slot": 0},
        ]
    )
    told = preview(Popular, old, new, [ask])
    (change,) = told.changes
    assert change.before == ("i0", "i2", "i3")
    assert change.after == ("i5", "i1", "i3")
    assert set(told.differ) == set(told.tried) == {"goes", "grows", "twin-a", "twin-b", "top"}
    assert change.causes["i0"] == ("grows",)
    assert change.causes["i2"] == ("twin-a", "twin-b")  # each alone is enough
    assert change.causes["i1"] == ("goes",)
    assert change.causes["i5"] == ("top",)
    assert told.versions == (old.version, new.version)


def test_an_item_that_only_makes_room_has_no_cause_but_the_pin():
    new = RuleSet.parse([{"kind": "pin", "id": "top", "item": "i5", "slot": 0}])
    (change,) = preview(Popular, RuleSet(), new, [Ask("r", time=0, count=3)]).changes
    assert change.left == ("i2",)
    assert change.causes == dict.fromkeys(("i0", "i1", "i2", "i5"), ("top",))


def test_more_changed_rules_than_are_tried_are_said():
    new = RuleSet.parse([blocked(f"r{n}", "i0") for n in range(25)])
    told = preview(Popular, RuleSet(), new, [Ask("r", time=0, count=3)])
    assert len(told.differ) == 25
    assert told.tried == told.differ[:20]


def test_conflicts_of_the_new_rules_are_told():
    pins = [{"kind": "pin", "id": f"p{n}", "item": f"i{n}", "slot": 0} for n in range(2)]
    told = preview(Popular, RuleSet(), RuleSet.parse(pins), [], facts=FACTS)
    assert [one.rules for one in told.conflicts] == [("p0", "p1")]
