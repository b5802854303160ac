"""What the door calls, over the running service: events in, items, rules, evidence, forgetting, audit."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as Late
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from muma.app.service.answerers import Answerers
from muma.app.service.consent import ConsentsHeld
from muma.app.service.running import Running
from muma.artifact import flush
from muma.errors import RetryLater, StoreError
from muma.events.vocabulary import forgotten
from muma.serving.audit import AuditLog, Entry
from muma.serving.engine import ServingEngine
from muma.serving.erasure.erasure import Erasure
from muma.serving.evidence.store import EvidenceStore
from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.parts import Event, Item, Rules, Taken
from muma.serving.recommending import Answer, Ask, Evidence
from muma.serving.rules.store import RuleStore

LOG = logging.getLogger(__name__)
PAUSE_S, PATIENCE_S = 1.0, 10.0
CATALOGUE = "muma:catalogue"
"""Who adds items: a new item's index is made by an event, like every other."""

_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.String, "user_id": pl.String, "item_id": pl.String, "kind": pl.String,
    "domain": pl.String, "timestamp": pl.Int64, "dwell_ms": pl.Int64, "item_duration_ms": pl.Int64,
    "position": pl.Int64, "request_id": pl.String, "propensity": pl.Float64, "value": pl.Float64,
    "x": pl.Float64, "y": pl.Float64,
}  # fmt: skip


class RememberingEngine:
    """The engine, told what it may read, and a log of what its answers rested on; see `Recommending`.

    Args:
        engine: answers.
        log: remembers.
        consents: say what may be read.
        answerers: processes that answer; None answers here.
    """

    def __init__(
        self,
        engine: ServingEngine,
        log: EvidenceStore,
        consents: ConsentsHeld,
        answerers: Answerers | None = None,
    ) -> None:
        self._engine, self._log, self._consents = engine, log, consents
        self._answerers = answerers

    def answer(self, ask: Ask) -> Evidence:
        """Answer and remember."""
        ask = self._consents.applied(ask)
        evidence = None
        if self._answerers is not None:
            evidence = self._answerers.answer(ask, self._engine.index_of(ask.user))
        if evidence is None:
            evidence = self._engine.answer(ask)
        self._log.put(evidence)
        return evidence

    def replay(self, evidence: Evidence) -> Answer:
        """See `Recommending.replay`."""
        return self._engine.replay(evidence)

    def similar(self, item: str, count: int, ask: Ask) -> Answer:
        """See `Recommending.similar`."""
        return self._engine.similar(item, count, ask)

    def user(self, user: str) -> Mapping[str, object]:
        """See `Recommending.user`."""
        return self._engine.user(user)


class EventsIn:
    """Events on their way to the stream; see `muma.serving.parts.Intake`."""

    def __init__(self, running: Running, consents: ConsentsHeld) -> None:
        self._running, self._consents = running, consents

    def put(self, events: Sequence[Event], *, received_at: int) -> Taken:
        """Write what their users agreed to; when this returns it is on the disk."""
        refused, withheld = self._consents.refusals(events)
        if refused:
            out = {refusal.index for refusal in refused}
            events = [event for place, event in enumerate(events) if place not in out]
        self.keep(events, received_at=received_at)
        return Taken(len(events), refused=tuple(refused), withheld=withheld)

    def keep(self, events: Sequence[Event], *, received_at: int) -> None:
        """Write them all: nobody's consent is needed."""
        if not events:
            return
        rows = {name: [getattr(event, name) for event in events] for name in _COLUMNS}
        rows["timestamp"] = [received_at if at is None else at for at in rows["timestamp"]]
        frame = pl.DataFrame(rows, schema=_COLUMNS)
        names = sorted({name for event in events for name in event.context})
        said = [
            pl.Series(f"ctx_{name}", [_text(event.context.get(name)) for event in events])
            for name in names
        ]
        try:
            done = self._running.intake.submit(frame.with_columns(said))
            done.result(timeout=PATIENCE_S)
            self._running.wake()
        except Late:
            raise RetryLater("the disk is slow", after_s=PAUSE_S) from None


class ItemsHeld:
    """The catalogue: the log's items, and what was put since, kept in `RUN/items.jsonl`.

    Args:
        engine: told of every new snapshot.
        running: knows the items' indices.
        events: adds new items.
        path: the file.
        clock: UTC microseconds.
    """

    def __init__(
        self,
        engine: ServingEngine,
        running: Running,
        events: EventsIn,
        path: Path,
        *,
        clock: Callable[[], int],
    ) -> None:
        self._engine, self._running, self._events = engine, running, events
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._held = _read_items(path)
        self.sync()
        self._put_in_place([*self._held.values()])

    def sync(self) -> None:
        """Take in items that events have brought."""
        if len(self._engine.versions.facts) >= len(self._running.items()):
            return
        with self._lock:
            facts = self._engine.versions.facts
            names = [str(name) for name in self._running.items().ids.slice(len(facts)).to_list()]
            held = self._held
            new = [_fact(held[name]) if name in held else ItemFact(name) for name in names]
            self._install(facts.with_items(new))

    def get(self, item_ids: Sequence[str]) -> Sequence[Item]:
        """Those of them that exist."""
        facts = self._engine.versions.facts
        found = []
        for name in item_ids:
            if name in self._held:
                found.append(self._held[name])
            elif (index := facts.find(name)) >= 0:
                found.append(_item(facts.one(index)))
        return found

    def put(self, items: Sequence[Item]) -> int:
        """Add or replace; on the disk when this returns."""
        facts = self._engine.versions.facts
        new = [item.item_id for item in items if facts.find(item.item_id) < 0]
        if new:
            at = self._clock()
            added = [
                Event(f"item:{name}", CATALOGUE, "other", item_id=name, timestamp=at)
                for name in dict.fromkeys(new)
            ]
            self._events.keep(added, received_at=at)
            self.sync()
        lines = b"".join(msgspec.json.encode(item) + b"\n" for item in items)
        with self._lock:
            with self._path.open("ab") as file:
                file.write(lines)
            flush(self._path)
            self._held |= {item.item_id: item for item in items}
            self._put_in_place(items)
        return len(set(new))

    def _put_in_place(self, items: Sequence[Item]) -> None:
        facts = self._engine.versions.facts
        known = [_fact(item) for item in items if facts.find(item.item_id) >= 0]
        self._install(facts.with_items(known) if known else facts)

    def _install(self, facts: ItemFacts) -> None:
        self._engine.versions.rules.prepare(facts)
        self._engine.swap(lambda versions: replace(versions, facts=facts))


class RulesHeld:
    """The editors' rules; the next answer obeys what was put. See `muma.serving.parts.RuleBook`."""

    def __init__(self, engine: ServingEngine, store: RuleStore) -> None:
        self._engine, self._store = engine, store
        self._lock = threading.Lock()
        self._install()

    def get(self) -> Rules:
        """The version in force."""
        return self._store.get()

    def put(self, rules: Sequence[Mapping[str, Any]], *, version: str, who: str) -> Rules:
        """Replace the whole set."""
        found = self._store.put(rules, version=version, who=who)
        self._install()
        return found

    def _install(self) -> None:
        with self._lock:  # the newest version is put in place last
            rules = self._store.rule_set()
            rules.prepare(self._engine.versions.facts)
            self._engine.swap(lambda versions: replace(versions, rules=rules))


class Names:
    """Who and what is known by name; see `muma.serving.parts.Directory`."""

    def __init__(self, engine: ServingEngine, running: Running) -> None:
        self._engine, self._running = engine, running

    def users(self, beginning: str, most: int) -> Sequence[str]:
        """Ids of known users that begin so."""
        ids = self._running.users().ids
        found = ids.filter(~forgotten(ids)).cast(pl.String)
        if beginning:
            found = found.filter(found.str.starts_with(beginning))
        return [name for name in found.head(most + 1).to_list() if name != CATALOGUE][:most]

    def items(self, numbers: Sequence[int]) -> Sequence[str]:
        """Ids behind the engine's numbers of items."""
        ids = self._engine.versions.facts.ids
        return [ids[n] if 0 <= n < len(ids) else "" for n in numbers]


class Forget:
    """Erases people, one at a time; see `muma.serving.parts.Forgetting`."""

    def __init__(self, erasure: Erasure, tenant: str) -> None:
        self._erasure, self._tenant = erasure, tenant

    def erase(self, user: str, *, who: str) -> Mapping[str, Any]:  # noqa: ARG002 - the audit log has it
        """Delete all that is kept of a user."""
        return json.loads(self._erasure.erase(user, tenant=self._tenant).to_json())


class AuditKept:
    """The audit log; see `muma.serving.parts.Audit`."""

    def __init__(self, log: AuditLog, tenant: str, *, clock: Callable[[], int]) -> None:
        self._log, self._tenant, self._clock = log, tenant, clock

    def record(self, *, who: str, action: str, detail: Mapping[str, Any]) -> None:
        """Append one line."""
        text = json.dumps(dict(detail), sort_keys=True, default=str)
        self._log.append(Entry(who, action, self._clock(), tenant=self._tenant, detail=text))


def _read_items(path: Path) -> dict[str, Item]:
    """Items of a file of JSON lines, the last of equal ids; a line that a kill cut off is removed.

    Raises:
        StoreError: another line cannot be read.
    """
    if not path.is_file():
        return {}
    raw = path.read_bytes()
    whole = raw.rfind(b"\n") + 1
    if whole < len(raw):
        with path.open("r+b") as file:
            file.truncate(whole)
    found = {}
    for number, line in enumerate(raw[:whole].splitlines(), start=1):
        try:
            item = msgspec.json.decode(line, type=Item)
        except msgspec.MsgspecError as error:
            raise StoreError(
                f"{path}, line {number}: no item ({error}); mend or remove it"
            ) from None
        found[item.item_id] = item
    return found


def _text(value: float | str | None) -> str | None:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)


def _fact(item: Item) -> ItemFact:
    return ItemFact(
        id=item.item_id, title=item.title, domain=item.domain, category=item.category,
        author=item.author, tags=item.tags, published_at=item.published_at,
        least_age=item.least_age or 0, regions=item.regions, rights_from=item.rights_from,
        rights_until=item.rights_until, embargo_until=item.embargo_until,
        expires_at=item.expires_at, owner=item.owner,
    )  # fmt: skip


def _item(fact: ItemFact) -> Item:
    return Item(
        item_id=fact.id, title=fact.title, category=fact.category, author=fact.author,
        domain=fact.domain,  # pyright: ignore[reportArgumentType] - a domain of the log is one of them
        tags=fact.tags, published_at=fact.published_at, least_age=fact.least_age or None,
        regions=fact.regions, rights_from=fact.rights_from, rights_until=fact.rights_until,
        embargo_until=fact.embargo_until, expires_at=fact.expires_at, owner=fact.owner,
    )  # fmt: skip
