"""Versions of a tenant's rules on disk: one file a version, and a pointer to the one in force.

    folder/
    ├── current               number of the version in force; replaced by a rename
    └── versions/000007.json  rules, who, when, note, and the version before

A version's file never changes. A reader takes the pointer and then that file, so it sees a whole version,
old or new. A writer holds `folder/.lock`, and names the version it has read: if another one is in force by
then, nothing is changed. A kill at any moment leaves a version in force; a file that no pointer ever named
is passed over. Several processes may read and write.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from muma.errors import StoreError, UnknownIdError, VersionConflictError
from muma.serving.parts import Rules
from muma.serving.rules.ruleset import RuleSet

NOTHING = 0
"""Number of the version before the first: no rules."""


@dataclass(frozen=True)
class Entry:
    """One version.

    Attributes:
        number: from 1, in the order of writing.
        content: `RuleSet.version`; equal rules have equal ones.
        who: who wrote it.
        at: when, UTC microseconds.
        note: why.
        before: number of the version it replaced.
        rules: the tables.
    """

    number: int
    content: str
    who: str
    at: int
    note: str
    before: int
    rules: tuple[Mapping[str, Any], ...]

    @property
    def version(self) -> str:
        """Names the version: number and content."""
        return f"{self.number}-{self.content}"


class RuleStore:
    """Versioned rules of one tenant; see `muma.serving.parts.RuleBook`.

    Args:
        folder: where they live; made when the first version is written.
        clock: tells UTC microseconds.
        own: import paths of own kinds of rules that may be stored.

    Example:
        >>> import tempfile
        >>> store = RuleStore(tempfile.mkdtemp(), clock=lambda: 7)
        >>> first = store.get()
        >>> rules = [{"kind": "author_cap", "id": "two", "most": 2}]
        >>> store.put(rules, version=first.version, who="anna").version.partition("-")[0]
        '1'
        >>> store.rule_set().rules[0].id
        'two'
    """

    def __init__(
        self, folder: str | Path, *, clock: Callable[[], int], own: Sequence[str] = ()
    ) -> None:
        self.folder = Path(folder)
        self._clock = clock
        self._own = tuple(own)
        self._latest: tuple[int, RuleSet] | None = None

    def get(self) -> Rules:
        """The version in force."""
        entry = self.current()
        return Rules(entry.version, entry.rules)

    def rule_set(self) -> RuleSet:
        """The rules in force, read anew only when the pointer has moved.

        Raises:
            StoreError: a file is damaged.
        """
        number = self._number()
        if self._latest is None or self._latest[0] != number:
            self._latest = number, self._parsed(self._entry(number))
        return self._latest[1]

    def current(self) -> Entry:
        """The version in force, with who and when."""
        return self._entry(self._number())

    def history(self) -> list[Entry]:
        """Versions that were in force, newest first."""
        entries, number = [], self._number()
        while number != NOTHING:
            entries.append(self._entry(number))
            number = entries[-1].before
        return entries

    def at(self, version: str) -> RuleSet:
        """Rules of an older version, by its name or its content.

        Raises:
            UnknownIdError: there is no such version.
        """
        empty = self._entry(NOTHING)
        for entry in [*self.history(), empty]:
            if version in (entry.version, entry.content):
                return self._parsed(entry)
        raise UnknownIdError(f"rules of version {version!r} were never in force here")

    def put(
        self, rules: Sequence[Mapping[str, Any]], *, version: str, who: str, note: str = ""
    ) -> Rules:
        """Replace the whole set.

        Args:
            rules: tables, see `RuleSet.parse`.
            version: the version this one is a change of; it must be in force.
            who: who writes.
            note: why.

        Raises:
            ConfigError: rules are wrong; a line an error.
            VersionConflictError: another version is in force.
        """
        fresh = RuleSet.parse(list(rules), own=self._own)
        with self._writing():
            now = self.current()
            if version not in (now.version, now.content):
                raise VersionConflictError(
                    f"rules of version {version!r} are not in force any more; {now.version!r} by "
                    f"{now.who!r} is. Read it, and repeat the change on that"
                )
            entry = Entry(
                self._next(), fresh.version, who, self._clock(), note, now.number, fresh.tables
            )
            name = f"{entry.number:06}.json"
            _write(self.folder / "versions" / name, json.dumps(asdict(entry), ensure_ascii=False))
            _write(self.folder / "current", str(entry.number))
        return Rules(entry.version, entry.rules)

    def roll_back(self, *, who: str, to: str | None = None) -> Rules:
        """Put an older version in force again, as a new one.

        Args:
            who: who does it.
            to: name of the version; None is the one before.

        Raises:
            UnknownIdError: there is no such version.
            VersionConflictError: somebody else changed the rules meanwhile.
        """
        now = self.current()
        target = self._entry(now.before) if to is None else None
        for entry in self.history() if to is not None else ():
            if to in (entry.version, entry.content):
                target = entry
        if target is None or now.number == NOTHING:
            raise UnknownIdError(f"there are no rules {to or 'before these'} to roll back to")
        return self.put(
            target.rules, version=now.version, who=who, note=f"rolled back to {target.version}"
        )

    def _number(self) -> int:
        try:
            return int((self.folder / "current").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return NOTHING
        except ValueError:
            raise StoreError(f"{self.folder / 'current'} is damaged: it holds no number") from None

    def _entry(self, number: int) -> Entry:
        if number == NOTHING:
            return Entry(NOTHING, RuleSet().version, "", 0, "", NOTHING, ())
        file = self.folder / "versions" / f"{number:06}.json"
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            return Entry(**data | {"rules": tuple(data["rules"])})
        except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{file} is missing or damaged ({error}); restore it") from None

    def _parsed(self, entry: Entry) -> RuleSet:
        rules = RuleSet.parse(list(entry.rules), own=self._own)
        if rules.version != entry.content:
            raise StoreError(
                f"rules {entry.number} of {self.folder} read as {rules.version}, and were written as "
                f"{entry.content}; the file was changed"
            )
        return rules

    def _next(self) -> int:
        files = (self.folder / "versions").glob("[0-9]*.json")
        return max((int(file.stem) for file in files), default=NOTHING) + 1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        (self.folder / "versions").mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write(path: Path, text: str) -> None:
    """Replace a file: the old text or the new one, whatever happens."""
    draft = path.with_suffix(f".{os.getpid()}.draft")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
