"""The contract of erasure: a part that stores something of people, and can let go of one.

A part may be asked again after a kill in the middle, so asking twice is asking once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Subject:
    """Who is to be forgotten.

    Attributes:
        user: the raw id.
        tenant: whose user.
        index: dense index when the erasure began, -1 for none: it stays known while parts are done.
    """

    user: str
    tenant: str = "default"
    index: int = -1


@dataclass(frozen=True)
class Residue:
    """What still carries an influence, though it names nobody.

    Attributes:
        where: such as a model and its version, or an aggregate.
        until: what ends it, such as a refit or the end of a window.
        until_us: when, UTC microseconds, if that is known.
    """

    where: str
    until: str
    until_us: int | None = None


class Erasable(Protocol):
    """Something that stores what people did."""

    @property
    def name(self) -> str:
        """Of the part, for the receipt; unique among the parts of a service."""
        ...

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """Let go of everything that is of a person, beyond recovery from the part's own files.

        Returns:
            What was erased, counted by kind; a second call may find nothing left.

        Raises:
            MumaError: it could not be done; asking again does the rest.
        """
        ...

    def residue(self, subject: Subject) -> Sequence[Residue]:
        """What of the part still carries an influence after `erase`."""
        ...
