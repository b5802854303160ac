"""Facts of items: snapshots, what is unknown, what is read from a log; limits of their own at their borders."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.errors import DataError, SchemaError, UnknownIdError
from muma.events.vocabulary import Vocabulary
from muma.serving.catalogue import CatalogueConfig, item_facts
from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.ragged import Ragged
from muma.serving.recommending import Ask
from muma.serving.rules.ruleset import RuleSet
from muma.testing.logs import tiny_log
from muma.testing.rule_suite import NOW, some_item

TEXT = st.one_of(st.none(), st.text(min_size=1, max_size=4))
TIME = st.one_of(st.none(), st.integers(-(2**62) + 1, 2**62 - 1))
FACT = st.builds(
    ItemFact,
    id=st.text(min_size=1, max_size=2),
    title=TEXT, domain=TEXT, category=TEXT, author=TEXT, owner=TEXT,
    tags=st.lists(st.text(max_size=2), max_size=3, unique=True).map(tuple),
    published_at=TIME, rights_from=TIME, rights_until=TIME, embargo_until=TIME, expires_at=TIME,
    least_age=st.integers(0, 2**15 - 1),
    regions=st.lists(st.sampled_from(["DE", "FR"]), unique=True).map(lambda r: tuple(sorted(r))),
)  # fmt: skip


def same(a, b):
    return replace(a, tags=tuple(sorted(a.tags))) == replace(b, tags=tuple(sorted(b.tags)))


@given(st.lists(st.lists(FACT, max_size=4), max_size=5))
def test_a_snapshot_holds_the_last_of_each_item_and_never_changes(batches):
    facts, latest, kept = ItemFacts.empty(), {}, []
    for batch in batches:
        facts = facts.with_items(batch)
        latest |= {fact.id: fact for fact in batch}
        kept.append((facts, dict(latest)))
    for snapshot, want in kept:
        assert snapshot.ids == list(want)
        for n, (name, fact) in enumerate(want.items()):
            assert snapshot.find(name) == n
            assert same(snapshot.one(n), fact)


def test_unknown_and_wrong_items():
    facts = ItemFacts.empty()
    later = facts.with_item(ItemFact("a"))
    assert (facts.find("a"), later.find("a"), later.find("b")) == (-1, 0, -1)
    with pytest.raises(UnknownIdError, match="no item 'b' among 1"):
        later.dense("b")
    for wrong in ({"id": ""}, {"least_age": -1}, {"least_age": 2**15}, {"expires_at": 2**62}):
        with pytest.raises(DataError):
            ItemFact(**{"id": "a"} | wrong)
    with pytest.raises(ValueError, match="read-only"):
        later.time_IT[0] = 0
    with pytest.raises(DataError, match="item 1 is not of the catalogue of 1"):
        RuleSet().allowed(Ask("r", time=0), later, item_N=np.array([1]))


def test_ragged_waste_is_packed():
    rows = Ragged.of([[1, 2], [3]])
    for k in range(3000):
        rows = rows.replaced(np.array([k % 2]), [[k]], 2)
    assert len(rows.pool) < 1200
    assert (rows.row(0), rows.row(1)) == ([2998], [2999])


def allowed(fact, **ask):
    facts = ItemFacts.empty().with_item(fact)
    return bool(RuleSet().allowed(Ask("r", **{"time": NOW} | ask), facts)[0])


@pytest.mark.parametrize(
    ("fields", "open_at"),
    [
        ({"rights_from": NOW}, {-1: False, 0: True}),
        ({"rights_until": NOW}, {-1: True, 0: False}),
        ({"embargo_until": NOW}, {-1: False, 0: True}),
        ({"expires_at": NOW}, {-1: True, 0: False}),
        ({"rights_from": NOW, "rights_until": NOW + 1}, {-1: False, 0: True, 1: False}),
        ({}, {-1: True, 0: True}),
    ],
)
def test_dates_of_an_item_turn_at_their_very_microsecond(fields, open_at):
    for shift, want in open_at.items():
        assert allowed(ItemFact("a", **fields), time=NOW + shift) is want


def test_what_is_missing_binds_nothing_and_silence_opens_nothing():
    assert allowed(ItemFact("a"))
    assert not allowed(ItemFact("a", least_age=1))
    assert not allowed(ItemFact("a", least_age=12), age=11)
    assert allowed(ItemFact("a", least_age=12), age=12)
    assert not allowed(ItemFact("a", regions=("DE",)))
    assert not allowed(ItemFact("a", regions=("DE",)), region="FR")
    assert allowed(ItemFact("a", regions=("DE", "AT")), region="AT")


def test_facts_of_a_log():
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    items = pl.LazyFrame(
        {
            "item_id": pl.Series([2, 0], dtype=pl.UInt32),
            "title": ["two", None],
            "tags": [["x", None, "y"], None],
            "category": ["c", None],
            "published_at": [7, None],
            "attr_least_age": [16.0, float("nan")],
            "attr_regions": [["DE"], []],
            "attr_expires_at": [moment, None],
            "station": ["ARD", "ZDF"],
        }
    )
    log = replace(
        tiny_log({0: [0, 1, 2]}), items=items, item_ids=Vocabulary(pl.Series(["a", "b", "c"]))
    )
    facts = item_facts(log, CatalogueConfig(author="station"))
    assert facts.ids == ["a", "b", "c"]
    assert facts.one(2) == ItemFact(
        "c", title="two", tags=("x", "y"), category="c", author="ARD", published_at=7, least_age=16,
        regions=("DE",), expires_at=1_714_521_600_000_000,
    )  # fmt: skip
    assert facts.one(0) == ItemFact("a", author="ZDF")
    assert facts.one(1) == ItemFact("b")
    with pytest.raises(
        SchemaError, match="'station' is String, which cannot be read as expires_at"
    ):
        item_facts(log, CatalogueConfig(expires_at="station"))
    with pytest.raises(SchemaError, match="'tags' is List"):
        item_facts(log, CatalogueConfig(owner="tags"))


def test_a_changed_item_is_seen_by_rules_at_once():
    rng = np.random.default_rng(0)
    rules = RuleSet.parse([{"kind": "without", "id": "x", "select": {"tags_any": ["new"]}}])
    facts = ItemFacts.empty().with_items(some_item(rng, f"i{k}") for k in range(5))
    ask = Ask("r", time=NOW)
    rules.allowed(ask, facts)
    free = facts.with_items([ItemFact("i3"), ItemFact("z")])
    assert rules.allowed(ask, free)[[3, 5]].tolist() == [True, True]
    marked = free.with_items([ItemFact("i3", tags=("new",)), ItemFact("z", tags=("new",))])
    assert rules.allowed(ask, marked)[[3, 5]].tolist() == [False, False]
    assert rules.allowed(ask, free)[[3, 5]].tolist() == [True, True]


def test_a_snapshot_that_was_passed_over_is_not_forgotten():
    rules = RuleSet.parse([{"kind": "without", "id": "x", "select": {"tags_any": ["new"]}}])
    facts = ItemFacts.empty().with_items(ItemFact(f"i{k}") for k in range(3))
    ask = Ask("r", time=NOW)
    rules.allowed(ask, facts)
    later = facts.with_item(ItemFact("i0", tags=("new",))).with_item(ItemFact("i1", tags=("new",)))
    assert rules.allowed(ask, later).tolist() == [False, False, True]
    other = facts.with_item(ItemFact("i2", tags=("new",)))
    assert rules.allowed(ask, other).tolist() == [True, True, False]
