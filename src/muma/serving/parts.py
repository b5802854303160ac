"""What a service needs beside its engine: small contracts, one a part, and the values they take.

Every part belongs to one tenant and speaks the caller's own ids. All are called from several threads.
A part that is overfull raises `RetryLater`; one whose disk is full raises a `StreamError`, `StoreError`
or `OSError` that was caused by `ENOSPC`; an id that it has never seen is an `UnknownIdError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol

import msgspec

from muma.serving.gate import GateVerdict
from muma.serving.recommending import Evidence

TEXT = r"^[^\x00-\x1f\x7f]+(?![\s\S])"
"""No control characters, to the very end: `$` would let a last line feed through."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=TEXT)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=TEXT)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Micros = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Unit = Annotated[float, msgspec.Meta(ge=0, le=1)]
Domain = Literal["news", "video", "ad", "music", "film", "audio", "game", "shop", "other"]
Kind = Literal[
    "impression", "click", "play", "long_view", "like", "share", "comment", "follow", "hide",
    "conversion", "rating", "tag", "search", "purchase", "other", "fixation",
]  # fmt: skip
Context = Annotated[dict[Word, float | Word], msgspec.Meta(max_length=50)]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something a user did, as a sender says it.

    Attributes:
        event_id: the sender's name of the event; a second one of this name changes nothing.
        user_id: who.
        kind: what.
        item_id: with which item, if any.
        timestamp: event time, microseconds since 1970 UTC; without it the time of arrival.
        domain: of the item.
        dwell_ms: time spent, milliseconds.
        item_duration_ms: length of the item, milliseconds.
        position: slot in the answer, from 0.
        request_id: the answer it belongs to.
        propensity: chance with which another system showed the item, in (0, 1].
        value: rating, revenue, play count.
        x: of a fixation, from the left, in [0, 1].
        y: of a fixation, from the top, in [0, 1].
        consent: what the user agreed to; a fixation needs `gaze`.
        context: of the event (page, device).
    """

    event_id: Id
    user_id: Id
    kind: Kind
    item_id: Id | None = None
    timestamp: Micros | None = None
    domain: Domain | None = None
    dwell_ms: Count | None = None
    item_duration_ms: Count | None = None
    position: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    request_id: Id | None = None
    propensity: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    value: float | None = None
    x: Unit | None = None
    y: Unit | None = None
    consent: Annotated[tuple[Literal["gaze", "social"], ...], msgspec.Meta(max_length=2)] = ()
    context: Context = {}


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item of the catalogue, as an editor's system says it.

    Attributes:
        item_id: the item's own id.
        title: what is shown.
        text: abstract or body.
        domain: `news`, `video`, `ad` ...
        category: one.
        author: one.
        tags: any number.
        published_at: microseconds since 1970 UTC.
        duration_ms: milliseconds.
        least_age: years a visitor must have; None is for all.
        regions: where it may be shown; empty is everywhere.
        rights_from: first moment it may be shown, microseconds.
        rights_until: first moment it may not any more.
        embargo_until: shown from this moment on.
        expires_at: shown before this moment.
        owner: user who made it.
        attributes: anything else the recipe knows.
    """

    item_id: Id
    title: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None
    text: Annotated[str, msgspec.Meta(max_length=100_000)] | None = None
    domain: Domain | None = None
    category: Word | None = None
    author: Word | None = None
    tags: Annotated[tuple[Word, ...], msgspec.Meta(max_length=200)] = ()
    published_at: Micros | None = None
    duration_ms: Count | None = None
    least_age: Annotated[int, msgspec.Meta(ge=0, le=120)] | None = None
    regions: Annotated[tuple[Word, ...], msgspec.Meta(max_length=300)] = ()
    rights_from: Micros | None = None
    rights_until: Micros | None = None
    embargo_until: Micros | None = None
    expires_at: Micros | None = None
    owner: Id | None = None
    attributes: Context = {}


@dataclass(frozen=True)
class Refusal:
    """An event that was not taken.

    Attributes:
        index: its place in what was sent, from 0.
        reason: why.
    """

    index: int
    reason: str


@dataclass(frozen=True)
class Taken:
    """What an intake did with a batch.

    Attributes:
        accepted: events that are on the disk now.
        duplicates: of those, events whose id had been seen before, as far as the intake can tell at
            once; they change no feature.
        refused: the others.
        withheld: source of data -> how many of the refused came without its user's consent.
    """

    accepted: int
    duplicates: int = 0
    refused: tuple[Refusal, ...] = ()
    withheld: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """A whole version of the editors' rules.

    Attributes:
        version: names it; equal rules may have equal names.
        rules: each a plain table with at least `id` and `kind` or `use`.
    """

    version: str
    rules: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Model:
    """A version of the artifacts.

    Attributes:
        version: names it.
        state: `live`, `candidate`, `previous` or `retired`.
        made_at: microseconds since 1970 UTC.
        metrics: what was measured of it, by name.
        gate: what the gate found, in the answer to a promotion; else None.
    """

    version: str
    state: str
    made_at: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    gate: GateVerdict | None = None


class Intake(Protocol):
    """Takes events in."""

    def put(self, events: Sequence[Event], *, received_at: int) -> Taken:
        """Write them; when this returns, what was accepted is on the disk.

        Args:
            events: each with its `timestamp` set.
            received_at: the clock, microseconds since 1970 UTC.

        Raises:
            RetryLater: too much waits; nothing of the batch was taken.
            StreamError: the disk is full or refuses.
        """
        ...


class Decisions(Protocol):
    """Remembers what was answered."""

    def get(self, request_id: str, *, tenant: str) -> Evidence | None:
        """The evidence of one answer of a tenant; None when it is not kept (any more)."""
        ...


class Items(Protocol):
    """The catalogue."""

    def get(self, item_ids: Sequence[str]) -> Sequence[Item]:
        """Those of them that exist, in the order asked for."""
        ...

    def put(self, items: Sequence[Item]) -> int:
        """Add or replace; returns how many are new. All of them or, with an error, none."""
        ...


class RuleBook(Protocol):
    """The editors' rules, versioned."""

    def get(self) -> Rules:
        """The version in force."""
        ...

    def put(self, rules: Sequence[Mapping[str, Any]], *, version: str, who: str) -> Rules:
        """Replace the whole set if `version` is still in force; the next answer obeys the new one.

        Raises:
            VersionConflictError: another version is in force.
            ConfigError: rules are wrong; one line an error, all at once.
        """
        ...


class Forgetting(Protocol):
    """Erases people."""

    def erase(self, user: str, *, who: str) -> Mapping[str, Any]:
        """Delete all that is kept of a user, known or not; returns the receipt, plain data."""
        ...


class Models(Protocol):
    """Which artifacts answer."""

    def list(self) -> Sequence[Model]:
        """All versions, newest first."""
        ...

    def promote(self, version: str, *, who: str, force: bool = False) -> Model:
        """Make a candidate the live one, without a failed request.

        Args:
            version: its name.
            who: who asks for it.
            force: put it in place whatever the gate finds.

        Raises:
            UnknownIdError: there is no such version.
            RefusedError: the gate keeps it out; the message gives the figures.
        """
        ...

    def roll_back(self, *, who: str) -> Model:
        """Make the previous one the live one again.

        Raises:
            RefusedError: there is no previous one.
        """
        ...


class Directory(Protocol):
    """Tells people's and items' names; for pages that are read by people."""

    def users(self, beginning: str, most: int) -> Sequence[str]:
        """Ids of known users that begin so, those seen first before others; forgotten ones are not among them."""
        ...

    def items(self, numbers: Sequence[int]) -> Sequence[str]:
        """Ids behind an engine's numbers of items, as evidence has them; `""` for a number without one."""
        ...


class Audit(Protocol):
    """Keeps who changed what."""

    def record(self, *, who: str, action: str, detail: Mapping[str, Any]) -> None:
        """Append one line; `detail` holds versions and counts, no personal data."""
        ...
