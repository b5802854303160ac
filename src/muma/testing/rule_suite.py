"""What every rule must do; subclass, give `make()`, and run with pytest.

class TestMine(RuleSuite):
    def make(self) -> Rule:
        return MyRule(MyRuleConfig(id="mine", strength=2))
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from muma.rng import derive
from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask, Filters
from muma.serving.rules.bound import Bound
from muma.serving.rules.rule import Case, Rule, UserState
from muma.serving.rules.ruleset import RuleSet, table_of

HOUR = 3_600_000_000
NOW = 400_000 * HOUR
REGIONS, WORDS, DOMAINS = ("DE", "AT", "FR"), ("a", "b", "c", "d"), ("news", "video", "ad")


def some_item(rng: np.random.Generator, name: str) -> ItemFact:
    """An item of which anything may be unknown, its times at and around the borders."""

    def maybe(words: tuple[str, ...]) -> str | None:
        return None if rng.random() < 0.25 else str(rng.choice(words))

    def near() -> int | None:
        hours = int(rng.integers(-3, 4))
        return None if rng.random() < 0.5 else NOW + hours * HOUR + int(rng.integers(-1, 2))

    return ItemFact(
        id=name,
        title=maybe(("one", "two")),
        domain=maybe(DOMAINS),
        category=maybe(WORDS),
        author=maybe(WORDS),
        tags=tuple(word for word in WORDS if rng.random() < 0.3),
        published_at=None if rng.random() < 0.2 else NOW - int(rng.integers(0, 50)) * HOUR,
        least_age=int(rng.choice([0, 0, 6, 18])),
        regions=tuple(region for region in REGIONS if rng.random() < 0.2),
        rights_from=near(),
        rights_until=near(),
        embargo_until=near(),
        expires_at=near(),
        owner=maybe(("u1", "u2")),
    )


@cache
def some_items(seed: int, n: int = 60) -> ItemFacts:
    """A catalogue, `i0` to `i<n-1>`."""
    rng = derive(seed, "rule_suite", "items")
    return ItemFacts.empty().with_items(some_item(rng, f"i{k}") for k in range(n))


def some_ask(seed: int, n: int = 60) -> Ask:
    """A request whose every field may be missing."""
    rng = derive(seed, "rule_suite", "ask")

    def some(words: tuple[str, ...], chance: float = 0.15) -> tuple[str, ...]:
        return tuple(word for word in words if rng.random() < chance)

    return Ask(
        request_id=f"r{seed}",
        time=NOW + int(rng.integers(-2, 3)) * HOUR + int(rng.integers(-1, 2)),
        user=[None, "u1", "u2"][int(rng.integers(3))],
        session=tuple(f"i{k}" for k in rng.integers(0, n, 2)),
        count=int(rng.integers(1, 12)),
        context={} if rng.random() < 0.5 else {"page": str(rng.choice(("home", "kids")))},
        region=[None, *REGIONS][int(rng.integers(4))],
        age=[None, 0, 6, 17, 18, 40][int(rng.integers(6))],
        filters=Filters(some(DOMAINS), some(WORDS), some(WORDS), some(WORDS), some(WORDS)),
        exclude=tuple(f"i{k}" for k in rng.integers(0, n, int(rng.integers(3)))),
    )


def some_user(seed: int, n: int = 60) -> UserState:
    """What is known of a user: items seen more than once, a few not wanted."""
    rng = derive(seed, "rule_suite", "user")
    seen_n = rng.integers(0, n, 10)
    at_n = NOW - rng.integers(0, 48, 10) * HOUR if rng.random() < 0.7 else None
    return UserState(seen_n, at_n, rng.integers(0, n, int(rng.integers(3))))


class RuleSuite:
    """Contract of `Rule`."""

    def make(self) -> Rule:
        """A rule that touches some items and not others of `some_items`, in some of `some_ask`."""
        raise NotImplementedError

    def cases(self) -> list[Case]:
        """Requests to try it on."""
        found = [Case(some_ask(seed), some_items(seed), some_user(seed)) for seed in range(16)]
        audience = self.make().config.audience
        if audience.users:  # so that the rule is tried at all
            found += [replace(c, ask=replace(c.ask, user=audience.users[0])) for c in found]
        return found

    def test_arrays_and_single_items_agree(self) -> None:
        rule = self.make()
        for case in self.cases():
            if not rule.holds(case.ask):
                continue
            fixed_I = rule.fixed(case.facts)
            touched_I = rule.touches(case, None, fixed_I)
            assert touched_I.dtype == bool
            assert touched_I.shape == (len(case.facts),)
            one_by_one = [
                rule.touches_one(case, item, case.facts.one(item))
                for item in range(len(case.facts))
            ]
            assert touched_I.tolist() == one_by_one

    def test_some_candidates_are_told_the_same_as_all_items(self) -> None:
        rule, item_N = self.make(), np.array([41, 3, 17, 3 + 20])
        for case in self.cases():
            fixed_I = rule.fixed(case.facts)
            all_I = rule.touches(case, None, fixed_I)
            some_N = rule.touches(case, item_N, fixed_I[item_N])
            assert some_N.tolist() == all_I[item_N].tolist()
            none_N = rule.touches(case, item_N[:0], fixed_I[:0])
            assert none_N.shape == (0,)

    def test_it_keeps_step_with_items_that_change(self) -> None:
        rule, rng = self.make(), derive(7, "rule_suite", "changes")
        facts = some_items(1)
        bound = Bound.of([rule], facts)
        for _ in range(8):
            names = [f"i{k}" for k in rng.integers(0, 70, 3)]
            facts = facts.with_items(some_item(rng, name) for name in names)
            bound = bound.moved([rule], facts)
            np.testing.assert_array_equal(bound.fixed_RI, Bound.of([rule], facts).fixed_RI)

    def test_nothing_handed_in_changes(self) -> None:
        rule = self.make()
        for case in self.cases()[:10]:
            fixed_I = rule.fixed(case.facts)
            copy = fixed_I.copy()
            first, second = (rule.touches(case, None, fixed_I).copy() for _ in range(2))
            np.testing.assert_array_equal(first, second)
            np.testing.assert_array_equal(fixed_I, copy)

    def test_groups_of_arrays_and_of_single_items_agree(self) -> None:
        rule = self.make()
        if rule.effect != "limit":
            return
        for case in self.cases()[:20]:
            item_N = derive(3, "rule_suite", "groups").permutation(len(case.facts))[:25]
            place_X, group_X = rule.groups(case, item_N)
            by_array: dict[int, set[int]] = {}
            for place, group in zip(place_X.tolist(), group_X.tolist(), strict=True):
                by_array.setdefault(group, set()).add(place)
            by_one: dict[str, set[int]] = {}
            for place, item in enumerate(item_N.tolist()):
                for name in rule.groups_one(case.facts.one(item)):
                    by_one.setdefault(name, set()).add(place)
            assert sorted(map(sorted, by_array.values())) == sorted(map(sorted, by_one.values()))

    @pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 50])
    def test_bounds_fit_the_list(self, count: int) -> None:
        bounds = self.make().bounds(count)
        assert 1 <= bounds.within <= count
        assert 0 <= bounds.low <= bounds.within
        assert bounds.high is None or bounds.high >= 0

    def test_it_is_written_and_read_again(self) -> None:
        rule = self.make()
        again = RuleSet.parse([table_of(rule)])
        assert again.rules[0].config == rule.config
        assert type(again.rules[0]) is type(rule)
        assert again.version == RuleSet([rule]).version

    def test_it_holds_for_some_requests_and_touches_some_items(self) -> None:
        rule = self.make()
        held = [case for case in self.cases() if rule.holds(case.ask)]
        assert held
        touched = [rule.touches(c, None, rule.fixed(c.facts)) for c in held]
        assert any(mask.any() for mask in touched)

    def test_validity_and_switch(self) -> None:
        made = self.make()
        case = next(case for case in self.cases() if made.holds(case.ask))
        at = case.ask.time
        for change, holds in (
            ({"enabled": False}, False),
            ({"valid_from": at}, True),
            ({"valid_from": at + 1}, False),
            ({"valid_until": at}, False),
            ({"valid_until": at + 1}, True),
        ):
            table = {k: v for k, v in table_of(made).items() if not k.startswith("valid_")}
            rule = RuleSet.parse([table | change]).rules[0]
            assert rule.holds(case.ask) is holds, change
