"""Parts of erasure beside the evidence log: stream, training log, feature state, models, caches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from muma.artifact import exists
from muma.errors import UnknownIdError
from muma.events.forget import forget_user
from muma.events.stream import EventStream
from muma.features.forget import OWN, forget
from muma.features.store import StateStore
from muma.serving.erasure.erasable import Residue, Subject

AGGREGATES = Residue(
    "counts of items, categories and authors, and what followers saw, in the feature state",
    "the end of each window; those over all time, until the state is built anew from the stream",
)


class ErasableStream:
    """An event stream: the user's events are blanked, the id is replaced by a word that is none.

    Args:
        stream: open for writing.
        name: of the part.
        kinds: only events of these kinds, and the id stays; None blanks all.
    """

    def __init__(
        self, stream: EventStream, *, name: str = "events", kinds: Collection[str] | None = None
    ) -> None:
        self.name = name
        self._stream, self._kinds = stream, kinds

    def find(self, user: str) -> int:
        """Dense index of a raw id, -1 for none; what `Erasure` asks before it begins."""
        try:
            return int(self._stream.user_ids.encode([user])[0])
        except UnknownIdError:
            return -1

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """Blank the events of a person; see `Erasable.erase`.

        Raises:
            StreamError: something is damaged, or the disk refuses.
        """
        if subject.index < 0:
            return {"events": 0}
        return {"events": self._stream.forget(subject.index, kinds=self._kinds)}

    def residue(self, subject: Subject) -> Sequence[Residue]:  # noqa: ARG002 - nothing is left
        """Nothing."""
        return ()


class ErasableLog:
    """The log in a folder that models are trained on: the user's rows go, and the id.

    What was made from the log stays valid, and is listed by `ErasableModels`.

    Args:
        folder: the artifact that `ingest` wrote; nothing is done when there is none.
        name: of the part.
        tables: only the user's rows of these tables, and of `kinds`, and the id stays; None is all.
        kinds: with `tables`, events of these kinds.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str = "log",
        tables: Collection[str] | None = None,
        kinds: Collection[str] = (),
    ) -> None:
        self.name = name
        self._folder, self._tables, self._kinds = folder, tables, kinds

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """Take a person out of the log; see `Erasable.erase`.

        Raises:
            ArtifactError: it is damaged, another process writes it, or the disk is full.
        """
        if not exists(self._folder):
            return {"rows": 0}
        rows = forget_user(self._folder, subject.user, tables=self._tables, kinds=self._kinds)
        return {"rows": rows}

    def residue(self, subject: Subject) -> Sequence[Residue]:  # noqa: ARG002 - nothing is left
        """Nothing."""
        return ()


class ErasableState:
    """A feature state: all keys of the user, in the live file and in its copies.

    Args:
        opened: the store, open for writing, with no engine on it until it is closed again: the
            service pauses its pump here and builds a new engine afterwards.
        purge: writes the closed store anew, such as `lambda: lmdb_purge.purge(path)`.
        residue: what others' keys keep.
        name: of the part.
        components: only keys with one of these.
    """

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[StateStore]],
        *,
        purge: Callable[[], object],
        residue: Sequence[Residue] = (AGGREGATES,),
        name: str = "features",
        components: Collection[str] = OWN,
    ) -> None:
        self.name, self._components = name, components
        self._opened, self._purge, self._residue = opened, purge, tuple(residue)

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """Remove a person's keys; see `Erasable.erase`.

        Raises:
            StoreError: the store cannot be read or written.
        """
        if subject.index < 0:
            return {"keys": 0}
        with self._opened() as store:
            keys = forget(store, subject.index, components=self._components)
        self._purge()  # even without keys: an earlier run may have come no further
        return {"keys": keys}

    def residue(self, subject: Subject) -> Sequence[Residue]:
        """Aggregates that a person's events went into."""
        return self._residue if subject.index >= 0 else ()


@dataclass(frozen=True)
class Learned:
    """A model in use.

    Attributes:
        name: of the model, and its version.
        trained_until: newest event it learned from, UTC microseconds.
        refit: when the next one takes its place, UTC microseconds; None when nobody knows.
    """

    name: str
    trained_until: int
    refit: int | None = None


class ErasableModels:
    """Models: nothing is erased from them, and each is listed until its next fit.

    Args:
        models: those that answer now, and those that can be rolled back to.
        name: of the part.
    """

    def __init__(self, models: Callable[[], Iterable[Learned]], *, name: str = "models") -> None:
        self.name = name
        self._models = models

    def erase(self, subject: Subject) -> Mapping[str, int]:  # noqa: ARG002 - nothing is erased
        """Nothing."""
        return {}

    def residue(self, subject: Subject) -> Sequence[Residue]:
        """The models, if they can have met the user."""
        if subject.index < 0:
            return ()
        return [
            Residue(f"model {one.name}", "the refit that takes its place", one.refit)
            for one in self._models()
        ]


class Left:
    """What a part that nothing is taken from still holds; for the receipt."""

    def __init__(self, name: str, *residue: Residue) -> None:
        self.name, self._residue = name, residue

    def erase(self, subject: Subject) -> Mapping[str, int]:  # noqa: ARG002 - nothing is erased
        """Nothing."""
        return {}

    def residue(self, subject: Subject) -> Sequence[Residue]:
        """What is left, if the user was known."""
        return self._residue if subject.index >= 0 else ()


class ErasableCall:
    """Whatever else lets go of a person by one call: a cache, a policy's statistics of a user.

    Args:
        name: of the part.
        erase: returns how many entries went.
    """

    def __init__(self, name: str, erase: Callable[[Subject], int]) -> None:
        self.name = name
        self._erase = erase

    def erase(self, subject: Subject) -> Mapping[str, int]:
        """Make the call."""
        return {"entries": self._erase(subject)}

    def residue(self, subject: Subject) -> Sequence[Residue]:  # noqa: ARG002 - nothing is left
        """Nothing."""
        return ()
