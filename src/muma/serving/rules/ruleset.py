"""A set of rules: read whole or not at all, named by its content, and put to one request after another.

    [[rules]]
    kind = "author_cap"
    id = "two-of-an-author"
    most = 2

    [[rules]]
    kind = "without"
    id = "no-war-for-kids"
    select = { tags_any = ["war"] }
    audience = { contexts = { page = ["kids"] } }

Shape: N candidates, I items.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muma.config import config_type, locate, parse
from muma.errors import ConfigError
from muma.serving.facts import ItemFacts
from muma.serving.recommending import Ask
from muma.serving.rules.bound import Bound
from muma.serving.rules.kinds import KINDS
from muma.serving.rules.rule import Case, Rule, RuleConfig, UserState
from muma.serving.rules.ruling import Ruling

_EFFECTS = {"forbid", "boost", "limit", "pin"}


class RuleSet:
    """Rules in their order. Never changes; safe to use from several threads.

    Args:
        rules: each with an id of its own.

    Raises:
        ConfigError: two rules have the same id.

    Example:
        >>> from muma.serving.facts import ItemFact, ItemFacts
        >>> rules = RuleSet.parse([{"kind": "blocked", "id": "out", "items": ["a"]}])
        >>> facts = ItemFacts.empty().with_items([ItemFact("a"), ItemFact("b")])
        >>> ruling = rules.ruling(Ask("r1", time=0, count=1), facts)
        >>> ruling.allowed().tolist()
        [False, True]
        >>> ruling.slots(np.array([0, 1])).open_for(0, []).tolist()
        [False, True]
    """

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ConfigError(f"two rules have the id {rule.id!r}; give each its own")
            seen.add(rule.id)
        self.tables = tuple(table_of(rule) for rule in self.rules)
        text = json.dumps(self.tables, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        self.version = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._bound: Bound | None = None

    @classmethod
    def parse(
        cls,
        data: Mapping[str, Any] | Sequence[Any],
        *,
        own: Collection[str] | None = None,
        where: str = "rules",
    ) -> RuleSet:
        """Read rules from plain data: a table with the one key `rules`, or the list itself.

        Args:
            data: what a TOML file or a request holds.
            own: import paths that `use` may name; None is any, which is for data of the operator's own.
            where: place of the list, for messages.

        Raises:
            ConfigError: rules are wrong; a line an error, all of them at once.
        """
        errors, rules = [], []
        if isinstance(data, Mapping):
            errors += [f"unknown key {key!r}; allowed: rules" for key in data if key != "rules"]
            data = data.get("rules", [])
        if isinstance(data, str) or not isinstance(data, Sequence):
            raise ConfigError("\n".join([*errors, f"{where} is not a list of tables"]))
        for place, table in enumerate(data):
            try:
                rules.append(_rule(table, own, f"{where}[{place}]"))
            except ConfigError as error:
                errors += str(error).splitlines()
        ids = [table.get("id") for table in data if isinstance(table, Mapping)]
        doubled = {name for name in ids if isinstance(name, str) and ids.count(name) > 1}
        errors += [f"two rules have the id {name!r}; give each its own" for name in sorted(doubled)]
        if errors:
            raise ConfigError("\n".join(errors))
        return cls(rules)

    @classmethod
    def read(cls, path: str | Path, *, own: Collection[str] | None = None) -> RuleSet:
        """Read a TOML file of `[[rules]]`.

        Raises:
            ConfigError: the file cannot be read, is not TOML, or its rules are wrong.
        """
        file = Path(path)
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{file} cannot be read ({error.strerror})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is not valid TOML: {error}") from None
        return cls.parse(data, own=own)

    def __len__(self) -> int:
        """Number of rules."""
        return len(self.rules)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same rules in the same order."""
        return isinstance(other, RuleSet) and self.tables == other.tables

    def __hash__(self) -> int:
        """By content."""
        return hash(self.version)

    def prepare(self, facts: ItemFacts) -> Bound:
        """Make ready for a snapshot of the items; otherwise the first request on it does."""
        bound = self._bound
        if bound is None or bound.stamp != facts.stamp:
            bound = Bound.of(self.rules, facts) if bound is None else bound.moved(self.rules, facts)
            self._bound = bound
        return bound

    def ruling(self, ask: Ask, facts: ItemFacts, user: UserState = UserState()) -> Ruling:
        """The rules put to one request.

        Args:
            ask: the request.
            facts: the items, one snapshot from the first step of an answer to its last.
            user: what is known of the user.
        """
        return Ruling(self.rules, self.prepare(facts), Case(ask, facts, user))

    def allowed(
        self,
        ask: Ask,
        facts: ItemFacts,
        user: UserState = UserState(),
        item_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """Which items a request may see, boolean [N]; `item_N` None is every item."""
        return self.ruling(ask, facts, user).allowed(item_N)


def table_of(rule: Rule) -> dict[str, Any]:
    """A rule as plain data, from which `RuleSet.parse` makes it again."""
    use = f"{type(rule).__module__}.{type(rule).__qualname__}"
    kind = next((kind for kind, path in KINDS.items() if path == use), None)
    head = {"use": use} if kind is None else {"kind": kind}
    return head | rule.config.model_dump(mode="json", exclude_defaults=True)


def _rule(table: Any, own: Collection[str] | None, where: str) -> Rule:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is not a table: {table!r:.80}")
    name = table.get("id")
    where = f"{where} ({name})" if isinstance(name, str) else where
    kind, use = table.get("kind"), table.get("use")
    if (kind is None) == (use is None):
        raise ConfigError(
            f"{where}: give either kind, one of {', '.join(KINDS)}, or use, an import path"
        )
    if kind is not None:
        if not isinstance(kind, str) or kind not in KINDS:
            near = difflib.get_close_matches(str(kind), KINDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(KINDS)}"
            raise ConfigError(f"{where}: there is no kind {kind!r}; {hint}")
        use = KINDS[kind]
    elif not isinstance(use, str) or (own is not None and use not in own):
        known = ", ".join(sorted(own or ())) or "none"
        raise ConfigError(f"{where}: use = {use!r} may not be named here; allowed: {known}")
    component = locate(use)
    if not issubclass(component, Rule) or getattr(component, "effect", None) not in _EFFECTS:
        raise ConfigError(f"{where}: {use} is not a rule with an effect")
    config = config_type(component)
    if not issubclass(config, RuleConfig):
        raise ConfigError(f"{where}: the config of {use} is not a RuleConfig")
    settings = {key: value for key, value in table.items() if key not in ("kind", "use")}
    return component(parse(config, settings, where=where))
