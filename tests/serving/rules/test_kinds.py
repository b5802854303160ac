"""Every kind of rule passes the public suite; what is special of one is below."""

import numpy as np
import pytest

from muma.config import locate
from muma.errors import ConfigError
from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask
from muma.serving.rules.kinds import KINDS
from muma.serving.rules.rule import Bounds, Case, Rule, RuleConfig, UserState
from muma.serving.rules.ruleset import RuleSet
from muma.testing.discovery import classes_in
from muma.testing.rule_suite import HOUR, NOW, RuleSuite

NEWS = {"domains": ["news"]}
TABLES = {
    "without": {"select": {"tags_any": ["a", "b"], "categories": ["a", "c"]}},
    "without aging": {"select": {"younger_than_hours": 7, "domains": ["news", "ad"]}},
    "without old": {"select": {"older_than_hours": 20, "tags_all": ["a", "b"]}},
    "without items": {"select": {"items": ["i3", "i41", "later"], "authors": ["a", "b", "c"]}},
    "without audience": {
        "select": NEWS,
        "audience": {"domains": ["news"], "regions": ["DE"], "contexts": {"page": ["kids"]}},
    },
    "only": {"select": {"domains": ["news", "video"]}},
    "only aging": {"select": {"younger_than_hours": 24}},
    "age_rating": {"select": NEWS, "least_age": 18},
    "region": {"select": NEWS, "regions": ["DE", "AT"]},
    "window": {"select": NEWS, "shown_from": NOW},
    "window until": {"select": NEWS, "shown_from": NOW - HOUR, "shown_until": NOW},
    "blocked": {"items": ["i1", "i2", "i17", "later"]},
    "blocked users": {"items": ["i1", "i17"], "users": ["u1"]},
    "seen": {"horizon_hours": 24, "select": {"domains": ["news", "video"]}},
    "seen ever": {"session": False, "audience": {"users": ["u1"]}},
    "own_items": {},
    "too_old": {"age_hours": 10},
    "too_old undated": {"age_hours": 10, "undated": True, "select": NEWS},
    "pin": {"item": "i17", "slot": 2},
    "boost": {"select": {"authors": ["a"], "younger_than_hours": 30}, "log_odds": -0.5},
    "quota": {"select": NEWS, "min_share": 0.2, "max_share": 0.6},
    "quota within": {"select": NEWS, "max_count": 2, "within": 5},
    "freshness": {"select": {"younger_than_hours": 10}, "least": 3, "within": 5},
    "author_cap": {"most": 2},
    "topic_cap": {"most": 2, "within": 5},
    "topic_cap tag": {"most": 3, "by": "tag", "select": {"domains": ["video", "news"]}},
}


class TestKinds(RuleSuite):
    @pytest.fixture(autouse=True, params=TABLES)
    def _table(self, request):
        kind = request.param.partition(" ")[0]
        self.table = {"kind": kind, "id": "mine", **TABLES[request.param]}

    def make(self):
        return RuleSet.parse([self.table]).rules[0]


def test_every_kind_has_a_name_and_is_tried():
    found = {
        f"{cls.__module__}.{cls.__qualname__}"
        for cls in classes_in("muma.serving.rules")
        if issubclass(cls, Rule) and cls is not Rule
    }
    assert found == set(KINDS.values())
    assert {name.partition(" ")[0] for name in TABLES} == set(KINDS)
    assert all(issubclass(locate(use), Rule) for use in KINDS.values())


class OddSlots(Rule):
    """An own kind: at most one item with an odd number of tags in the first half."""

    effect = "limit"

    def __init__(self, config: RuleConfig) -> None:
        super().__init__(config)

    def fixed(self, facts, row_n=None):
        length_n = facts.tag.length_I if row_n is None else facts.tag.length_I[row_n]
        return length_n % 2 == 1

    def touches_one(self, case, item, fact):
        return len(fact.tags) % 2 == 1

    def bounds(self, count):
        return Bounds(-(-count // 2), high=1)


class TestOwn(RuleSuite):
    def make(self):
        return OddSlots(RuleConfig(id="odd"))


def held(table, case):
    rule = RuleSet.parse([{"id": "x", **table}]).rules[0]
    if not rule.holds(case.ask):
        return None
    return rule.touches(case, None, rule.fixed(case.facts)).tolist()


def at(time, *items, user=None, **ask):
    return Case(
        Ask("r", time=time, **ask), ItemFacts.empty().with_items(items), user or UserState()
    )


def test_ages_turn_at_their_very_microsecond():
    new = ItemFact("new", published_at=NOW)
    young = {"kind": "without", "select": {"younger_than_hours": 1}}
    old = {"kind": "too_old", "age_hours": 1}
    for time, touched in ((NOW + HOUR - 1, (True, False)), (NOW + HOUR, (False, True))):
        case = at(time, new)
        assert (held(young, case), held(old, case)) == ([touched[0]], [touched[1]])


def test_what_was_seen_comes_back_at_the_horizon():
    table = {"kind": "seen", "horizon_hours": 2}
    user = UserState(np.array([0, 0]), np.array([NOW - 9 * HOUR, NOW]))
    items = ItemFact("a"), ItemFact("b")
    assert held(table, at(NOW + 2 * HOUR - 1, *items, user=user)) == [True, False]
    assert held(table, at(NOW + 2 * HOUR, *items, user=user)) == [False, False]
    unknown = UserState(np.array([1]))
    assert held(table, at(NOW, *items, user=unknown)) == [False, True]
    assert held(table, at(NOW, *items, session=("a", "no such"))) == [True, False]
    assert held(table | {"session": False}, at(NOW, *items, session=("a",))) == [False, False]


def test_silence_about_age_and_region_opens_nothing():
    item = ItemFact("a", domain="news")
    rated = {"kind": "age_rating", "least_age": 12, "select": NEWS}
    local = {"kind": "region", "regions": ["DE"], "select": NEWS}
    assert held(rated, at(NOW, item)) == [True]
    assert held(rated, at(NOW, item, age=11)) == [True]
    assert held(rated, at(NOW, item, age=12)) is None
    assert held(local, at(NOW, item)) == [True]
    assert held(local, at(NOW, item, region="FR")) == [True]
    assert held(local, at(NOW, item, region="DE")) is None


def test_forbidding_audiences_take_the_unknown_for_theirs_and_others_do_not():
    audience = {"regions": ["DE"], "domains": ["news"], "contexts": {"page": ["kids"]}}
    boost = {"kind": "boost", "log_odds": 1.0, "audience": audience}
    without = {"kind": "without", "select": {"items": ["a"]}, "audience": audience}
    silent = at(NOW, ItemFact("a"))
    assert held(boost, silent) is None
    assert held(without, silent) == [True]
    elsewhere = at(NOW, ItemFact("a"), region="FR")
    assert held(without, elsewhere) is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "without"}, "select is empty"),
        ({"kind": "only"}, "select is empty"),
        ({"kind": "window"}, "neither shown_from nor shown_until"),
        ({"kind": "quota"}, "no bound"),
        ({"kind": "quota", "min_count": 3, "max_count": 2}, "above the maximum"),
        ({"kind": "quota", "min_share": 0.5, "max_share": 0.4}, "above the maximum"),
        ({"kind": "freshness", "least": 2}, "younger_than_hours is missing"),
        ({"kind": "pin", "item": "a", "slot": 0, "select": NEWS}, "leave select out"),
        ({"kind": "blocked", "items": ["a"], "select": NEWS}, "leave select out"),
        ({"kind": "blocked", "items": []}, "at least 1 item"),
        ({"kind": "boost", "log_odds": float("nan")}, "finite"),
        ({"kind": "author_cap", "most": 0}, "greater than or equal to 1"),
        ({"kind": "seen", "valid_from": "soon"}, "no moment"),
        ({"kind": "seen", "valid_from": 5, "valid_until": 5}, "never hold"),
        ({"kind": "author_cap", "mots": 2, "most": 1}, "did you mean 'most'"),
    ],
)
def test_wrong_settings_are_refused(table, said):
    with pytest.raises(ConfigError, match=said):
        RuleSet.parse([{"id": "x", **table}])


@pytest.mark.parametrize(
    ("table", "count", "wanted"),
    [
        ({"min_share": 0.3}, 10, Bounds(10, 3)),
        ({"min_share": 0.31}, 10, Bounds(10, 4)),
        ({"max_share": 0.39}, 10, Bounds(10, 0, 3)),
        ({"max_share": 1 / 3}, 3, Bounds(3, 0, 1)),
        ({"min_count": 5, "within": 3}, 10, Bounds(3, 3)),
        ({"min_count": 1, "min_share": 0.5, "within": 4}, 10, Bounds(4, 2)),
        ({"max_count": 4, "max_share": 0.1}, 20, Bounds(20, 0, 2)),
        ({"max_count": 0, "within": 50}, 20, Bounds(20, 0, 0)),
    ],
)
def test_shares_become_numbers(table, count, wanted):
    rule = RuleSet.parse([{"kind": "quota", "id": "x", **table}]).rules[0]
    assert rule.bounds(count) == wanted
