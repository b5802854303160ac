"""A whole service in memory: every part of a tenant, simple and real, for tests of what stands before it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muma.errors import ConfigError, RefusedError, UnknownIdError, VersionConflictError
from muma.serving.consent.consent import SOURCES, Consent, ConsentConfig, given, source_of
from muma.serving.parts import (
    Event,
    Item,
    Model,
    Refusal,
    Rules,
    Taken,
)
from muma.serving.recommending import Ask, Evidence
from muma.serving.rules.preview import Change, Preview
from muma.serving.tenants import Tenant
from muma.testing.small_engine import SmallEngine, catalogue

ITEMS = (
    Item("n1", title="Cup final tonight", domain="news", category="sport", tags=("cup", "today")),
    Item("n2", title="Rain all week", domain="news", category="weather", tags=("rain", "today")),
    Item("n3", title="A quiet town", domain="news", category="local", author="ann"),
    Item("v1", title="Slow rivers", domain="video", category="nature", tags=("rain",)),
    Item("v2", title="Night shift", domain="video", category="drama", least_age=18),
    Item("v3", title="Northern lights", domain="video", category="nature", regions=("NO", "SE")),
)


class Remembering(SmallEngine):
    """The small engine with a memory of its answers, by tenant and request."""

    def __init__(self, items: dict[str, Item], *, log: dict[str, Evidence], seed: int = 0) -> None:
        super().__init__(items, seed=seed)
        self.log = log

    def answer(self, ask: Ask) -> Evidence:
        """Fill the slots and remember."""
        evidence = super().answer(ask)
        self.log[ask.request_id] = evidence
        return evidence


@dataclass
class SmallConsents:
    """What was said, in a table; the law's defaults."""

    said: dict[str, dict[str, bool]] = field(default_factory=dict)

    def get(self, user: str) -> Consent:
        """What holds."""
        said = self.said.get(user, {})
        return Consent({s: given(s, said, ConsentConfig()) for s in SOURCES}, said, int(bool(said)))

    def put(self, user: str, said: Mapping[str, bool | None]) -> Consent:
        """Change some."""
        kept = {**self.said.get(user, {}), **said}
        self.said[user] = {source: on for source, on in kept.items() if on is not None}
        return self.get(user)


@dataclass
class SmallIntake:
    """Events in a list; clicks teach the engine; gaze and follows need consent."""

    engine: SmallEngine
    consents: SmallConsents
    events: dict[str, Event] = field(default_factory=dict)

    def put(self, events: Sequence[Event], *, received_at: int) -> Taken:
        """Keep each event once."""
        duplicates, refused, withheld = 0, [], {}
        for place, event in enumerate(events):
            source = source_of(event.kind)
            said = self.consents.get(event.user_id).said
            if not given(source, said, ConsentConfig(), event.consent):
                refused.append(Refusal(place, f"{source} needs the user's consent"))
                withheld[source] = withheld.get(source, 0) + 1
                continue
            if event.event_id in self.events:
                duplicates += 1
                continue
            self.events[event.event_id] = event
            if event.kind == "click":
                time = received_at if event.timestamp is None else event.timestamp
                self.engine.learn(event.user_id, event.item_id, time=time)
        return Taken(len(events) - len(refused), duplicates, tuple(refused), withheld)


@dataclass
class SmallItems:
    """The engine's own catalogue."""

    engine: SmallEngine

    def get(self, item_ids: Sequence[str]) -> list[Item]:
        """Those that exist."""
        return [self.engine.items[name] for name in item_ids if name in self.engine.items]

    def put(self, items: Sequence[Item]) -> int:
        """Add or replace."""
        new = len({item.item_id for item in items} - set(self.engine.items))
        self.engine.items.update({item.item_id: item for item in items})
        return new


class SmallRules:
    """Rules that are kept and versioned, and touch nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: tuple[Mapping[str, Any], ...] = ()

    def get(self) -> Rules:
        """The version in force."""
        text = json.dumps(self._rules, sort_keys=True, default=dict)
        return Rules(hashlib.sha256(text.encode()).hexdigest()[:12], self._rules)

    def put(self, rules: Sequence[Mapping[str, Any]], *, version: str, who: str) -> Rules:  # noqa: ARG002
        """Compare and swap."""
        wrong = [f"rule {n}: 'id' is missing" for n, rule in enumerate(rules) if "id" not in rule]
        if wrong:
            raise ConfigError("\n".join(wrong))
        with self._lock:
            if self.get().version != version:
                raise VersionConflictError("the rules have changed since")
            self._rules = tuple(rules)
            return self.get()


@dataclass
class SmallPreviews:
    """Lists without the items that have a tag which some rule names; rules in force touch nothing."""

    engine: SmallEngine

    def preview(self, rules: Sequence[Mapping[str, Any]], asks: Sequence[Ask]) -> Preview:
        """Answer, and leave out."""
        if wrong := [f"rule {n}: 'id' is missing" for n, r in enumerate(rules) if "id" not in r]:
            raise ConfigError("\n".join(wrong))
        ids = tuple(str(rule["id"]) for rule in rules)
        return Preview(
            tuple(self._change(ask, rules) for ask in asks), {}, ("none", "new"), ids, ids
        )

    def _change(self, ask: Ask, rules: Sequence[Mapping[str, Any]]) -> Change:
        answer = SmallEngine.answer(self.engine, ask).answer
        before = tuple(one.item for one in answer.items)
        causes = {}
        for item in before:
            tags = set(self.engine.items[item].tags)
            causes[item] = tuple(str(r["id"]) for r in rules if tags & set(r.get("tags", ())))
        after = tuple(item for item in before if not causes[item])
        known = ask.user in self.engine.histories
        return Change(ask.request_id, ask.user, before, after, known, causes)


class SmallModels:
    """Two versions, of which one is live."""

    def __init__(self) -> None:
        self._live, self._previous = "1", ""

    def list(self) -> list[Model]:
        """Both."""
        return [self._model("2"), self._model("1")]

    def promote(self, version: str, *, who: str, force: bool = False) -> Model:  # noqa: ARG002
        """Make it live."""
        if version not in ("1", "2"):
            raise UnknownIdError(f"there is no version {version!r:.80}")
        if version == self._live:
            raise RefusedError(f"version {version} is live already")
        self._previous, self._live = self._live, version
        return self._model(version)

    def roll_back(self, *, who: str) -> Model:  # noqa: ARG002
        """Go back."""
        if not self._previous:
            raise RefusedError("there is no previous version")
        self._previous, self._live = "", self._previous
        return self._model(self._live)

    def _model(self, version: str) -> Model:
        state = {self._live: "live", self._previous: "previous"}.get(version, "candidate")
        return Model(version, state, made_at=int(version) * 1_000_000, metrics={"ndcg@10": 0.2})


@dataclass
class SmallForgetting:
    """Deletes a user from the engine, the intake and the answers."""

    engine: Remembering
    intake: SmallIntake
    tenant: str = "default"

    def erase(self, user: str, *, who: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Count what went."""
        events = [name for name, event in self.intake.events.items() if event.user_id == user]
        asked = [
            name
            for name, held in self.engine.log.items()
            if (held.ask.tenant, held.ask.user) == (self.tenant, user)
        ]
        for name in events:
            del self.intake.events[name]
        for name in asked:
            del self.engine.log[name]
        clicks = self.engine.forget(user)
        return {"events": len(events), "decisions": len(asked), "clicks": clicks, "models": {}}


@dataclass
class SmallAudit:
    """Lines in a list."""

    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def record(self, *, who: str, action: str, detail: Mapping[str, Any]) -> None:
        """Append."""
        self.lines.append((who, action, dict(detail)))


class SmallLog:
    """The log of answers."""

    def __init__(self, held: dict[str, Evidence]) -> None:
        self.held = held

    def get(self, request_id: str, *, tenant: str) -> Evidence | None:  # noqa: ARG002
        """One of them."""
        return self.held.get(request_id)


@dataclass
class SmallDirectory:
    """Names of the engine's users and items."""

    engine: SmallEngine

    def users(self, beginning: str, most: int) -> list[str]:
        """Those who have clicked."""
        return [name for name in self.engine.histories if name.startswith(beginning)][:most]

    def items(self, numbers: Sequence[int]) -> list[str]:
        """By place in the catalogue."""
        names = list(self.engine.items)
        return [names[n] if 0 <= n < len(names) else "" for n in numbers]


def small_tenant(
    name: str = "default",
    *,
    items: Sequence[Item] = ITEMS,
    log: dict[str, Evidence] | None = None,
    prefix: str = "",
    change: Callable[[Remembering], None] | None = None,
) -> Tenant:
    """A tenant with every part, in memory.

    Args:
        name: of the tenant.
        items: its catalogue.
        log: where answers are remembered; tenants may share it.
        prefix: of its request ids in there.
        change: called with the engine, to give it a past.

    Example:
        >>> small_tenant().engine.answer(Ask("r", time=0, count=2)).support_K.tolist()
        [4, 3]
    """
    held = {} if log is None else log
    engine = Remembering(catalogue(items), log=held)
    if change is not None:
        change(engine)
    consents = SmallConsents()
    intake = SmallIntake(engine, consents)
    return Tenant(
        name,
        engine=engine,
        intake=intake,
        decisions=SmallLog(held),
        items=SmallItems(engine),
        rules=SmallRules(),
        previews=SmallPreviews(engine),
        consents=consents,
        forgetting=SmallForgetting(engine, intake, name),
        models=SmallModels(),
        audit=SmallAudit(),
        directory=SmallDirectory(engine),
        prefix=prefix,
    )
