"""Sets of rules: read whole or not at all, written and read again, and what they say about themselves."""

import tomllib

import numpy as np
import pytest

from muma.errors import ConfigError, DataError
from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask
from muma.serving.rules.kinds import KINDS
from muma.serving.rules.rule import UserState
from muma.serving.rules.ruleset import RuleSet
from muma.testing.rule_suite import NOW

TOML = """
[[rules]]
kind = "author_cap"
id = "two"
most = 2

[[rules]]
kind = "without"
id = "no-war"
valid_from = 2024-05-01T12:00:00+02:00
valid_until = "2024-05-02"
select = { tags_any = ["war"], older_than_hours = 1.5 }
audience = { domains = ["news"], contexts = { page = ["kids", "home"], tab = [1] } }
note = "until the anniversary"

[[rules]]
use = "muma.serving.rules.pin.Pin"
id = "front"
item = "a"
slot = 0
"""


def test_toml_to_json_and_back(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(TOML)
    rules = RuleSet.read(file)
    again = RuleSet.parse({"rules": list(rules.tables)})
    assert again == rules
    assert again.version == rules.version
    assert [rule.config for rule in again.rules] == [rule.config for rule in rules.rules]
    assert rules.tables[1]["valid_from"] == "2024-05-01T10:00:00+00:00"
    assert rules.rules[1].config.valid_until == 1_714_608_000_000_000
    assert rules.tables[2]["kind"] == "pin"
    assert RuleSet.parse(tomllib.loads(TOML)) == rules
    assert hash(again) == hash(rules)


def test_the_version_is_of_the_content_and_the_order():
    one, two = ({"kind": "author_cap", "id": name, "most": 1} for name in "ab")
    assert RuleSet.parse([one, two]).version != RuleSet.parse([two, one]).version
    assert RuleSet.parse([one]).version == RuleSet.parse([one | {"enabled": True}]).version
    assert RuleSet.parse([one]).version != RuleSet.parse([one | {"enabled": False}]).version


def test_all_errors_come_at_once():
    with pytest.raises(ConfigError) as told:
        RuleSet.parse(
            {
                "rule": [],
                "rules": [
                    {"kind": "author_cop", "id": "a"},
                    {"kind": "author_cap", "id": "a", "most": 0, "mots": 1},
                    {"id": "b"},
                    {"kind": "pin", "use": "x.Y", "id": "c"},
                    7,
                    {"use": "muma.config.Config", "id": "d"},
                    {"use": "no.such.Rule", "id": "e"},
                    {"kind": ["pin"], "id": "f"},
                    {"kind": "boost", "id": "", "log_odds": 1},
                ],
            }
        )
    text = str(told.value)
    for said in (
        "unknown key 'rule'", "rules[0] (a): there is no kind 'author_cop'; did you mean 'author_cap'?",
        "rules[1] (a).most", "unknown key 'mots'", "rules[2] (b): give either kind",
        "rules[3] (c): give either kind", "rules[4] is not a table", "muma.config.Config is not a rule",
        "there is no module 'no'", "there is no kind ['pin']", "two rules have the id 'a'", "rules[8]",
    ):  # fmt: skip
        assert said in text, said


@pytest.mark.parametrize("data", [{"rules": {}}, {"rules": "x"}, "x", 7])
def test_what_is_no_list_is_refused(data):
    with pytest.raises(ConfigError, match="not a list"):
        RuleSet.parse(data)


def test_import_paths_may_be_forbidden():
    own = {"use": KINDS["seen"], "id": "x"}
    with pytest.raises(ConfigError, match="may not be named here; allowed: none"):
        RuleSet.parse([own], own=())
    with pytest.raises(ConfigError, match="may not be named here"):
        RuleSet.parse([{"use": "os.path", "id": "x"}], own=(KINDS["seen"],))
    assert len(RuleSet.parse([own], own=(KINDS["seen"],))) == 1


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        RuleSet.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[[rules")
    with pytest.raises(ConfigError, match="not valid TOML"):
        RuleSet.read(tmp_path / "bad.toml")


def hits(ruling):
    return {(hit.rule, hit.action): (hit.items, hit.count) for hit in ruling.hits()}


FACTS = ItemFacts.empty().with_items(
    ItemFact(f"i{k}", author=f"a{k % 2}", tags=("war",) if k == 3 else (), expires_at=NOW if k == 4 else None)
    for k in range(8)
)  # fmt: skip


def test_hits_tell_what_rules_did():
    rules = RuleSet.parse(
        [
            {"kind": "without", "id": "no-war", "select": {"tags_any": ["war"]}},
            {"kind": "boost", "id": "a0", "select": {"authors": ["a0"]}, "log_odds": 0.5},
            {"kind": "boost", "id": "all", "log_odds": 0.25},
            {"kind": "pin", "id": "front", "item": "i6", "slot": 1},
            {"kind": "pin", "id": "gone", "item": "i4", "slot": 2},
            {"kind": "pin", "id": "later", "item": "i5", "slot": 1},
            {"kind": "author_cap", "id": "two", "most": 2},
            {"kind": "quota", "id": "many", "select": {"items": ["i1"]}, "min_count": 2},
        ]
    )
    ruling = rules.ruling(Ask("r", time=NOW, count=4, exclude=("i0",)), FACTS)
    assert ruling.allowed().tolist() == [False, True, True, False, False, True, True, True]
    assert ruling.pinned().tolist() == [5, 6]
    item_N = np.array([1, 2, 3, 5, 6, 7])
    assert ruling.boosts(item_N).tolist() == [0.25, 0.75, 0.25, 0.25, 0.75, 0.25]
    slots, places = ruling.slots(item_N), []
    assert slots.open_for(0, places).tolist() == [True, True, False, True, False, True]
    places.append(0)
    assert slots.open_for(1, places).tolist() == [False, False, False, False, True, False]
    places += [4, 1]
    assert slots.open_for(3, places).tolist() == [False, False, False, True, False, True]
    told = hits(ruling)
    assert told["no-war", "removed"] == (("i3",), 1)
    assert told["ask.exclude", "removed"] == (("i0",), 1)
    assert told["item.expiry", "removed"] == (("i4",), 1)
    assert told["a0", "boosted"] == (("i2", "i6"), 2)
    assert told["front", "pinned"] == (("i6",), 1)
    assert told["gone", "not pinned"] == ((), 0)
    assert told["later", "not pinned"] == (("i5",), 1)
    assert told["many", "relaxed"] == ((), 1)
    assert ruling.moved_by(np.array([6, 1])) == [("a0", "all", "front"), ("all",)]


def test_a_long_hit_names_twenty():
    facts = ItemFacts.empty().with_items(ItemFact(f"i{k}", domain="ad") for k in range(5000))
    rules = RuleSet.parse([{"kind": "without", "id": "x", "select": {"domains": ["ad"]}}])
    ruling = rules.ruling(Ask("r", time=0), facts)
    assert not ruling.allowed().any()
    assert hits(ruling) == {("x", "removed"): (tuple(f"i{k}" for k in range(20)), 5000)}


def test_wrong_candidates_are_refused():
    ruling = RuleSet().ruling(Ask("r", time=0), FACTS)
    with pytest.raises(DataError, match="comes twice"):
        ruling.slots(np.array([1, 1]))
    for wrong in (-1, 8):
        with pytest.raises(DataError, match=f"item {wrong} is not of the catalogue"):
            ruling.slots(np.array([0, wrong]))


def test_no_rules_no_items():
    empty = ItemFacts.empty()
    ruling = RuleSet().ruling(Ask("r", time=0, exclude=("x",), session=("y",)), empty, UserState())
    assert ruling.allowed().shape == (0,)
    assert not ruling.slots(np.empty(0, np.int64)).open_for(0, []).any()
    assert ruling.hits() == ()
