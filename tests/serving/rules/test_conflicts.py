"""Rules that cannot all be kept are named, and rules that can are left alone."""

import pytest

from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.rules.conflicts import conflicts
from muma.serving.rules.ruleset import RuleSet

NEWS, AD, A1 = {"domains": ["news"]}, {"domains": ["ad"]}, {"authors": ["a1"]}
FACTS = ItemFacts.empty().with_items(
    [ItemFact(f"n{k}", domain="news", author="a1", tags=("war",)) for k in range(4)]
    + [ItemFact("old", domain="ad", expires_at=5), ItemFact("soon", domain="ad", embargo_until=50)]
)


def pin(item, slot=0, **more):
    return {"kind": "pin", "item": item, "slot": slot, **more}


def quota(select, **more):
    return {"kind": "quota", "select": select, **more}


def found(*tables, facts=None, count=10):
    rules = RuleSet.parse([{"id": f"r{n}", **table} for n, table in enumerate(tables)])
    return [(one.rules, one.text) for one in conflicts(rules.rules, facts, count=count)]


WAR = {"kind": "without", "select": {"tags_any": ["war"]}}
CAP = {"kind": "author_cap", "most": 1}
TWO_ADS = quota(AD, min_count=2)


@pytest.mark.parametrize(
    ("tables", "facts", "said"),
    [
        ([pin("x", 1), pin("y", 1)], None, "both pin an item to slot 1"),
        ([pin("x", 1), pin("x", 2)], None, "both pin item 'x'"),
        ([pin("x"), {"kind": "blocked", "items": ["x"]}], None, "'x' is pinned, and forbidden"),
        ([pin("x"), {"kind": "without", "select": {"items": ["x"]}}], None, "pinned, and forbidden"),
        ([pin("n1"), WAR], FACTS, "'n1' is pinned, and forbidden"),
        ([pin("n1"), {"kind": "only", "select": AD}], FACTS, "'n1' is pinned, and forbidden"),
        ([pin("n1", 1), pin("n2", 2), CAP], FACTS, "2 pins of 'a1', and at most 1"),
        ([pin("n1", 1), quota(NEWS, max_count=0)], FACTS, "1 pins, and at most 0"),
        ([pin("old", valid_from=6)], FACTS, "it expires before the pin begins"),
        ([pin("soon", valid_until=50)], FACTS, "embargo ends after the pin ends"),
        ([pin("none")], FACTS, "there is no item 'none'"),
        ([quota(NEWS, min_share=0.5), quota(NEWS, max_share=0.4)], None, "at least 5 of 10 slots, and at most 4"),
        ([quota(NEWS, min_count=3, max_share=0.2)], None, "at least 3 of 10 slots, and at most 2"),
        ([quota(NEWS, min_count=6), quota(AD, min_count=5)], None, "together they need 11 of 10"),
        ([quota(A1, min_count=2), CAP], None, "at least 2 of 10 slots, and at most 1"),
        ([quota(NEWS, min_count=2), CAP], FACTS, "at least 2, and the maximum leaves 1"),
        ([quota(NEWS, min_count=5)], FACTS, "at least 5, and the catalogue has 4"),
        ([quota(NEWS, min_count=1), {"kind": "without", "select": NEWS}], None, "all forbidden"),
    ],
)  # fmt: skip
def test_a_conflict_is_named(tables, facts, said):
    told = found(*tables, facts=facts)
    assert any(said in text for _, text in told), told


@pytest.mark.parametrize(
    "tables",
    [
        [pin("x", 1), pin("y", 2)],
        [pin("x", 1, valid_until=5), pin("y", 1, valid_from=5)],
        [pin("x", 1, audience={"regions": ["DE"]}), pin("y", 1, audience={"regions": ["FR"]})],
        [pin("x", 1, enabled=False), pin("y", 1)],
        [pin("x", valid_until=5), {"kind": "blocked", "items": ["x"], "valid_from": 5}],
        [pin("x"), {"kind": "only", "select": NEWS}],
        [quota(NEWS, min_share=0.5), quota(AD, max_share=0.4)],
        [quota(NEWS, min_count=3, within=5), quota(NEWS, max_count=2, within=2)],
        [quota(NEWS, min_count=5), quota(AD, min_count=5)],
        [quota(NEWS, min_count=6), quota(A1, min_count=5)],
        [quota({"authors": ["a1", "a2"]}, min_count=2), CAP],
        [quota(NEWS, min_count=2), WAR],
    ],
)
def test_what_can_be_kept_is_no_conflict(tables):
    assert found(*tables) == []


def test_rules_that_agree_with_the_catalogue():
    tables = [TWO_ADS, quota(NEWS, min_count=1), CAP, pin("n1", 1), pin("soon", 2, valid_until=51)]
    assert found(*tables, facts=FACTS) == []
