"""What is sent out, as types: for the OpenAPI document, the client and the tests.

The service itself encodes the engine's own dataclasses, without building these.
"""

from __future__ import annotations

from typing import Any

import msgspec

from muma.serving.parts import Item


class Fault(msgspec.Struct, frozen=True):
    """One of several things that are wrong.

    Attributes:
        reason: what is wrong.
        index: place in the list that was sent, from 0; None when it is not of a list.
    """

    reason: str
    index: int | None = None


class ProblemBody(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    """An error, after RFC 9457.

    Attributes:
        kind: names the kind of problem, for programs.
        title: names the status, for people.
        status: the HTTP status.
        detail: what was got, what is allowed, what to do.
        request_id: as in the header `X-Request-Id`.
        errors: everything that is wrong, when there is a list.
    """

    kind: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: tuple[Fault, ...] = ()


class ServedItemBody(msgspec.Struct, frozen=True):
    """One slot.

    Attributes:
        item: the item's own id.
        title: its title, if it has one.
        category: its category, if it has one.
        score: log-odds that ordered it; null where no ranker spoke.
        propensity: probability of this item in this slot given the slots before, in (0, 1].
        explored: whether the slot went to another than the best.
        probability: label -> calibrated probability.
        sources: what proposed it.
        reason: a sentence, if asked for.
        groups: group of features -> its part of the score, if asked for.
        rules: rules that put or moved it here.
    """

    item: str
    title: str | None
    category: str | None
    score: float | None
    propensity: float
    explored: bool
    probability: dict[str, float | None]
    sources: tuple[str, ...]
    reason: str | None
    groups: dict[str, float | None]
    rules: tuple[str, ...]


class AnswerBody(msgspec.Struct, frozen=True):
    """A list and what it rests on.

    Attributes:
        request_id: names it; send it with the events that follow.
        items: in slot order.
        degraded: what was left out and why.
        versions: of models, policy, rules and features.
        as_of: newest event time in the features, microseconds; -1 for none.
        stages_us: stage -> microseconds.
    """

    request_id: str
    items: tuple[ServedItemBody, ...]
    degraded: tuple[str, ...]
    versions: dict[str, str]
    as_of: int
    stages_us: dict[str, int]


class DecisionBody(msgspec.Struct, frozen=True):
    """Everything an answer rested on.

    Attributes:
        ask: the request as it was understood.
        answer: the answer as it went.
        columns: names of the features.
        candidates: the engine's numbers of the candidates, in the order they were ranked.
        values: features of each candidate; null is missing.
        propensities: of each slot.
        support: candidates that could have taken each slot.
        floor: least probability of any candidate.
        hits: rules that touched the answer.
        withheld: sources of data that were not read, for want of consent.
    """

    ask: dict[str, Any]
    answer: AnswerBody
    columns: tuple[str, ...]
    candidates: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    propensities: tuple[float, ...]
    support: tuple[int, ...]
    floor: float
    hits: tuple[dict[str, Any], ...]
    withheld: tuple[str, ...] = ()


class UserBody(msgspec.Struct, frozen=True):
    """What is known of a user, by name."""

    user: str
    known: dict[str, Any]


class EventsBody(msgspec.Struct, frozen=True):
    """What became of the events; accepted ones are on the disk.

    Attributes:
        accepted: events kept.
        duplicates: of those, events that had been sent before.
        refused: the others, by their place in the batch.
        withheld: source of data -> how many of the refused came without their users' consent; nothing
            of them was kept.
    """

    accepted: int
    duplicates: int
    refused: tuple[Fault, ...]
    withheld: dict[str, int] = {}


class ItemsBody(msgspec.Struct, frozen=True):
    """Those of the items that exist."""

    items: tuple[Item, ...]


class ItemsPutBody(msgspec.Struct, frozen=True):
    """How many items were taken, and how many of them are new."""

    taken: int
    new: int


class RulesBody(msgspec.Struct, frozen=True):
    """A version of the rules; the ETag holds the version too."""

    version: str
    rules: tuple[dict[str, Any], ...]


class MoveBody(msgspec.Struct, frozen=True):
    """An item that stands elsewhere, came or left; slots from 0.

    Attributes:
        item: the item's own id.
        before: its slot under the rules in force; null when it was not in the list.
        after: its slot under the other rules; null when it would not be in the list.
        rules: ids of the changed rules that did it; none when it came of several together.
    """

    item: str
    before: int | None
    after: int | None
    rules: tuple[str, ...]


class ChangeBody(msgspec.Struct, frozen=True):
    """One user's list under both sets of rules.

    Attributes:
        user: who.
        known: whether anything is known of the user.
        before: items in slot order under the rules in force.
        after: under the other rules.
        gone: items that would leave.
        come: items that would enter.
        moved: items of both lists in another slot.
    """

    user: str
    known: bool
    before: tuple[str, ...]
    after: tuple[str, ...]
    gone: tuple[MoveBody, ...]
    come: tuple[MoveBody, ...]
    moved: tuple[MoveBody, ...]


class TouchBody(msgspec.Struct, frozen=True):
    """Items that a rule touched over all lists, under the rules in force and under the others."""

    rule: str
    action: str
    before: int
    after: int


class ConflictBody(msgspec.Struct, frozen=True):
    """Rules that cannot all be kept, and why."""

    rules: tuple[str, ...]
    text: str


class PreviewBody(msgspec.Struct, frozen=True):
    """What other rules would change.

    Attributes:
        before: content of the rules in force.
        after: content of the others.
        changed: lists that would differ.
        differ: ids of the rules that only one set has, or that differ.
        untried: those of them that were not tried as causes, because there are too many.
        conflicts: among the others.
        changes: one for each user, in the order asked for.
        touched: what each rule did.
    """

    before: str
    after: str
    changed: int
    differ: tuple[str, ...]
    untried: tuple[str, ...]
    conflicts: tuple[ConflictBody, ...]
    changes: tuple[ChangeBody, ...]
    touched: tuple[TouchBody, ...]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return msgspec.to_builtins(self)


class GateBody(msgspec.Struct, frozen=True):
    """What the gate found; gains are of a slot's reward, null where nothing could be judged."""

    passed: bool
    forced: bool
    reason: str
    decisions: int
    slots: int
    left_out: int
    estimator: str
    live: float | None
    gain: float | None
    low: float | None
    high: float | None


class ModelBody(msgspec.Struct, frozen=True):
    """A version of the artifacts; `gate` in the answer to a promotion."""

    version: str
    state: str
    made_at: int
    metrics: dict[str, float | None]
    gate: GateBody | None = None


class ModelsBody(msgspec.Struct, frozen=True):
    """All versions, newest first."""

    models: tuple[ModelBody, ...]


class ConsentBody(msgspec.Struct, frozen=True):
    """What holds for a user.

    Attributes:
        user: who.
        given: source of data -> whether it may be used.
        said: as it was said; the others follow the service's defaults.
        at: when it last changed, microseconds; -1 for never.
        removed: receipts of what a withdrawal removed; `residue` says what is left, and until when.
    """

    user: str
    given: dict[str, bool]
    said: dict[str, bool]
    at: int
    removed: tuple[dict[str, Any], ...] = ()


class ReceiptBody(msgspec.Struct, frozen=True):
    """What was erased, and which models still carry an influence until when."""

    receipt: dict[str, Any]


class HealthBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process lives, or serves.

    Attributes:
        status: in a word.
        time: event time by the service's clock, microseconds; only of one that serves.
    """

    status: str
    time: int | None = None
