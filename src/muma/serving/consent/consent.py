"""The contract of consent: which sources of data there are, and when one may be used.

    behaviour   what a user does with items: every event that is of no other source
    social      whom the user follows, and what those do
    gaze        where the user's eyes rest

What was said of a user and a source counts. Where nothing was said, the recipe's `[serving.consent]` does,
or what a sender says of this one event or request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from muma.config import Config
from muma.events.event import KINDS
from muma.events.stream import FIXATION
from muma.serving.recommending import Ask

Source = Literal["behaviour", "social", "gaze"]
SOURCES: tuple[Source, ...] = get_args(Source)
BY_KIND: dict[str, Source] = {"follow": "social", FIXATION: "gaze"}


class ConsentConfig(Config):
    """What may be used of a user of whom nothing was said; the law's own defaults.

    Attributes:
        behaviour: what users do with items.
        social: whom they follow, and what those do.
        gaze: where their eyes rest.
    """

    behaviour: bool = True
    social: bool = False
    gaze: bool = False

    def of(self, source: Source) -> bool:
        """The default of a source."""
        return bool(getattr(self, source))


@dataclass(frozen=True)
class Said:
    """What was said of a user.

    Attributes:
        sources: source -> whether it may be used; the others follow the defaults.
        at: when it last changed, UTC microseconds; -1 for never.
    """

    sources: Mapping[str, bool]
    at: int = -1


@dataclass(frozen=True)
class Consent:
    """What holds for a user now.

    Attributes:
        given: every source -> whether it may be used.
        said: as it was said; what is missing follows the defaults.
        at: when it last changed, UTC microseconds; -1 for never.
        removed: receipts of what a withdrawal removed.
    """

    given: Mapping[str, bool]
    said: Mapping[str, bool]
    at: int = -1
    removed: tuple[Mapping[str, Any], ...] = ()


class Consents(Protocol):
    """Keeps what users agreed to."""

    def get(self, user: str) -> Consent:
        """What holds for a user, known or not."""
        ...

    def put(self, user: str, said: Mapping[str, bool | None]) -> Consent:
        """Change some sources, on the disk when this returns; None goes back to the default.

        From the next event and answer on it holds. What was kept of a source that is withdrawn is removed
        before this returns; the receipts say what is left, and until when.

        Raises:
            MumaError: it holds, and the removal is begun; asking again, or the next start, does the rest.
        """
        ...


def kinds_of(source: Source) -> tuple[str, ...]:
    """Kinds of event that belong to a source.

    Example:
        >>> kinds_of("social"), "click" in kinds_of("behaviour")
        (('follow',), True)
    """
    return tuple(kind for kind in (*KINDS, FIXATION) if source_of(kind) == source)


def source_of(kind: str) -> Source:
    """The source that a kind of event belongs to."""
    return BY_KIND.get(kind, "behaviour")


def given(
    source: Source,
    said: Mapping[str, bool],
    config: ConsentConfig,
    by_sender: Collection[str] = (),
) -> bool:
    """Whether a source may be used.

    Args:
        source: which.
        said: of the user.
        config: the defaults.
        by_sender: sources that a sender says the user agreed to.

    Example:
        >>> given("gaze", {}, ConsentConfig(), ["gaze"]), given("gaze", {"gaze": False}, ConsentConfig(), ["gaze"])
        (True, False)
    """
    return said.get(source, config.of(source) or source in by_sender)


def applied(ask: Ask, said: Mapping[str, bool], config: ConsentConfig) -> Ask:
    """A request with the sources that may be used of its user, and no others."""
    on = tuple(s for s in ("gaze", "social") if given(s, said, config, ask.consent))
    profiling = ask.profiling and (ask.user is None or given("behaviour", said, config))
    if on == ask.consent and profiling == ask.profiling:
        return ask
    return replace(ask, consent=on, profiling=profiling)


def withheld(ask: Ask) -> tuple[str, ...]:
    """Sources that an answer to a request must not read."""
    off = [s for s in ("gaze", "social") if s not in ask.consent]
    return (*(() if ask.profiling else ("behaviour",)), *off)
