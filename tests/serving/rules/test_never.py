"""No answer holds a forbidden item, whatever is done in whatever order; the oracle is written anew here."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from muma.serving.facts import ItemFacts
from muma.serving.rules.recheck import recheck
from muma.serving.rules.ruleset import RuleSet
from muma.testing.rule_suite import HOUR, NOW, some_ask, some_item, some_items, some_user

N = 24
WORD, DOMAIN = st.sampled_from(["a", "b", "c"]), st.sampled_from(["news", "video", "ad"])


def one_of(word):
    return st.lists(word, min_size=1, max_size=2, unique=True)


SELECT = st.one_of(
    st.fixed_dictionaries({"tags_any": one_of(WORD)}),
    st.fixed_dictionaries({"tags_all": one_of(WORD)}),
    st.fixed_dictionaries({"categories": one_of(WORD), "domains": one_of(DOMAIN)}),
    st.fixed_dictionaries({"authors": one_of(WORD)}),
    st.fixed_dictionaries({"items": one_of(st.sampled_from([f"i{k}" for k in range(N)]))}),
    st.fixed_dictionaries({"younger_than_hours": st.sampled_from([5, 20])}),
    st.fixed_dictionaries({"older_than_hours": st.sampled_from([5, 20])}),
)


def kind(name, **fields):
    return st.fixed_dictionaries({"kind": st.just(name), **fields})


MOST = st.integers(1, 2)
TABLE = st.one_of(
    kind("without", select=SELECT),
    kind("only", select=SELECT),
    kind("age_rating", select=SELECT, least_age=st.sampled_from([6, 18])),
    kind("region", select=SELECT, regions=st.just(["DE"])),
    kind("window", select=SELECT, shown_from=st.sampled_from([NOW - HOUR, NOW, NOW + HOUR])),
    kind("window", select=SELECT, shown_until=st.sampled_from([NOW - HOUR, NOW, NOW + HOUR])),
    kind("blocked", items=one_of(st.sampled_from([f"i{k}" for k in range(N)]))),
    kind("blocked", items=st.just(["i0"]), users=st.just(["u1"])),
    kind("seen", horizon_hours=st.sampled_from([1, 24, 100])),
    kind("own_items"),
    kind("too_old", age_hours=st.sampled_from([3, 30]), undated=st.booleans()),
    kind("pin", item=st.sampled_from([f"i{k}" for k in range(N)]), slot=st.integers(0, 6)),
    kind("boost", select=SELECT, log_odds=st.sampled_from([-1.0, 2.0])),
    kind("quota", select=SELECT, min_share=st.sampled_from([0.2, 0.5])),
    kind("quota", select=SELECT, max_count=st.integers(0, 2), within=st.integers(1, 5)),
    kind("author_cap", most=MOST),
    kind("topic_cap", most=MOST, by=st.sampled_from(["tag", "category"]), within=st.integers(1, 6)),
    kind(
        "freshness", select=st.just({"younger_than_hours": 10}), least=st.integers(1, 3)
    ),
)  # fmt: skip
RULES = st.lists(TABLE, max_size=7).map(lambda ts: [{**t, "id": f"r{n}"} for n, t in enumerate(ts)])


def chosen(select, item, time):
    """The oracle's own reading of a selection."""
    age = None if item.published_at is None else (time - item.published_at) / HOUR
    for field, want in select.items():
        if field == "tags_any" and not any(tag in item.tags for tag in want):
            return False
        if field == "tags_all" and not all(tag in item.tags for tag in want):
            return False
        if field == "items" and item.id not in want:
            return False
        single = {"categories": item.category, "authors": item.author, "domains": item.domain}
        if field in single and single[field] not in want:
            return False
        if field == "younger_than_hours" and (age is None or age >= want):
            return False
        if field == "older_than_hours" and (age is None or age < want):
            return False
    return True


def forbidden(item, dense, ask, user, tables):
    """The oracle's own reading of everything that keeps an item out."""
    t, f = ask.time, ask.filters
    if item.rights_from is not None and t < item.rights_from:
        return True
    if item.rights_until is not None and t >= item.rights_until:
        return True
    if item.embargo_until is not None and t < item.embargo_until:
        return True
    if item.expires_at is not None and t >= item.expires_at:
        return True
    if item.least_age > (ask.age or 0) or (item.regions and ask.region not in item.regions):
        return True
    if item.id in ask.exclude or dense in set(user.blocked_n.tolist()):
        return True
    for want, have in (
        (f.domains, item.domain),
        (f.categories, item.category),
        (f.authors, item.author),
    ):
        if want and have not in want:
            return True
    if f.tags_any and not set(f.tags_any) & set(item.tags):
        return True
    if set(f.tags_none) & set(item.tags):
        return True
    for table in tables:
        about, name = chosen(table.get("select", {}), item, t), table["kind"]
        age = None if item.published_at is None else (t - item.published_at) / HOUR
        seen = [
            t if user.seen_at_n is None else int(user.seen_at_n[n])
            for n in np.flatnonzero(user.seen_n == dense)
        ] + [t] * (item.id in ask.session)  # fmt: skip
        if (
            (name == "without" and about)
            or (name == "only" and not about)
            or (
                name == "age_rating" and about and (ask.age is None or ask.age < table["least_age"])
            )
            or (name == "region" and about and ask.region not in table["regions"])
            or (name == "window" and about and t < table.get("shown_from", t))
            or (name == "window" and about and t >= table.get("shown_until", t + 1))
            or (
                name == "blocked"
                and item.id in table["items"]
                and (not table.get("users") or ask.user in table["users"])
            )
            or (name == "seen" and seen and (t - max(seen)) / HOUR < table["horizon_hours"])
            or (name == "own_items" and ask.user is not None and item.owner == ask.user)
            or (name == "too_old" and age is None and not table["undated"])
            or (name == "too_old" and age is not None and age >= table["age_hours"])
        ):
            return True
    return False


def over(items, ask, tables):
    """Whether a maximum is broken in the list or any beginning of it."""
    for table in tables:
        within = min(table.get("within", ask.count), ask.count)
        told = [i for i in items[:within] if chosen(table.get("select", {}), i, ask.time)]
        if table["kind"] == "quota" and len(told) > table.get("max_count", 99):
            return True
        if table["kind"] == "author_cap":
            names = [i.author for i in told if i.author is not None]
        elif table["kind"] == "topic_cap" and table["by"] == "category":
            names = [i.category for i in told if i.category is not None]
        elif table["kind"] == "topic_cap":
            names = [tag for i in told for tag in set(i.tags)]
        else:
            continue
        if any(names.count(name) > table["most"] for name in names):
            return True
    return False


def answer(rules, ask, facts, user, rng):
    """A list as an engine makes it: candidates, slots one by one, the last check."""
    ruling = rules.ruling(ask, facts, user)
    pool = rng.permutation(len(facts))[: int(rng.integers(1, 20))]
    item_N = np.unique(np.concatenate([pool, ruling.pinned()]))
    slots, places = ruling.slots(item_N), []
    for slot in range(ask.count):
        open_N = slots.open_for(slot, places)
        if not open_N.any():
            break
        places.append(int(rng.choice(np.flatnonzero(open_N))))
    return ruling, item_N, item_N[places].tolist()


@settings(max_examples=150, deadline=None)
@given(RULES, st.integers(0, 10_000))
def test_slots_and_masks_hold_only_what_the_oracle_allows(tables, seed):
    facts, user = some_items(seed % 40, N), some_user(seed, N)
    ask = some_ask(seed, N)
    if seed % 2:
        ask = replace(ask, filters=type(ask.filters)(), exclude=())
    rules, rng = RuleSet.parse(tables), np.random.default_rng(seed)
    ruling, item_N, shown = answer(rules, ask, facts, user, rng)
    want = [not forbidden(facts.one(i), i, ask, user, tables) for i in range(len(facts))]
    assert ruling.allowed().tolist() == want
    assert ruling.allowed(item_N).tolist() == [want[i] for i in item_N]
    assert all(want[item] for item in shown)
    assert not over([facts.one(i) for i in shown], ask, tables)
    assert len(set(shown)) == len(shown)
    kept, hits = recheck(shown, ask, facts, rules.rules, user)
    assert kept == shown
    assert hits == ()


@settings(max_examples=100, deadline=None)
@given(RULES, st.integers(0, 10_000))
def test_the_last_check_mends_any_list(tables, seed):
    facts, user, ask = some_items(seed % 40, N), some_user(seed, N), some_ask(seed, N)
    rng, rules = np.random.default_rng(seed), RuleSet.parse(tables)
    given_ = rng.integers(-1, N + 2, 20).tolist()
    kept, hits = recheck(given_, ask, facts, rules.rules, user)
    assert not any(forbidden(facts.one(i), i, ask, user, tables) for i in kept)
    assert not over([facts.one(i) for i in kept], ask, tables)
    assert len(kept) + sum(hit.count for hit in hits) == len(given_)
    assert kept == [i for i in dict.fromkeys(given_) if i in kept]
    assert all(hit.items and len(hit.items) <= 20 for hit in hits)


class Life(RuleBasedStateMachine):
    """A service's life: items and rules change between answers, lists are kept and shown again."""

    @initialize(seed=st.integers(0, 50))
    def start(self, seed):
        self.facts = ItemFacts.empty().with_items(some_items(seed, N).one(i) for i in range(N))
        self.tables, self.rules = [], RuleSet()
        self.kept = list(range(N))
        self.rng = np.random.default_rng(seed)

    @rule(tables=RULES)
    def change_rules(self, tables):
        self.tables, self.rules = tables, RuleSet.parse(tables)

    @rule(k=st.integers(0, N + 3), seed=st.integers(0, 1000))
    def change_item(self, k, seed):
        self.facts = self.facts.with_item(some_item(np.random.default_rng(seed), f"i{k}"))

    @rule(seed=st.integers(0, 1000))
    def answer(self, seed):
        ask, user = some_ask(seed, N), some_user(seed, N)
        _, _, shown = answer(self.rules, ask, self.facts, user, self.rng)
        self.good(shown, ask, user)
        self.kept = shown or self.kept

    @rule(seed=st.integers(0, 1000))
    def show_a_kept_list(self, seed):
        ask, user = some_ask(seed, N), some_user(seed, N)
        shown, _ = recheck(self.kept, ask, self.facts, self.rules.rules, user)
        self.good(shown, ask, user)

    def good(self, shown, ask, user):
        items = [self.facts.one(i) for i in shown]
        for dense, item in zip(shown, items, strict=True):
            assert not forbidden(item, dense, ask, user, self.tables)
        assert not over(items, ask, self.tables)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
