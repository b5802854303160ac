"""What a service and its answering processes say to each other: pickled, over a socket of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from muma.serving.facts import ItemFact, ItemFacts
from muma.serving.recommending import Ask


@dataclass(frozen=True)
class Change:
    """What is other from now on; None is as before.

    Attributes:
        models: version of the models; whoever is told reads it from the run folder.
        rules: tables of the rules.
        facts: of all items.
        items: of those that are new or changed.
        state: whether the feature state can be read.
        warm: users by name, of whom some answers are made that nobody gets.
        at: the clock, for these.
    """

    models: str | None = None
    rules: tuple[Mapping[str, Any], ...] | None = None
    facts: ItemFacts | None = None
    items: tuple[ItemFact, ...] | None = None
    state: bool | None = None
    warm: Mapping[str, int] | None = None
    at: int = 0


@dataclass(frozen=True)
class Wish:
    """An answer that is wanted.

    Attributes:
        ask: with the sources of data that may be read of the user.
        index: the user's dense index, -1 for none.
    """

    ask: Ask
    index: int


@dataclass(frozen=True)
class Failed:
    """Why there is no answer, or why a change is not made.

    Attributes:
        kind: name of the error in `muma.errors`.
        text: its message.
    """

    kind: str
    text: str
