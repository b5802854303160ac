"""Trained versions side by side, and which of them answers.

    RUN/models/
    ├── <version>/       version.json, and the artifacts `sources` and `rankers`, linked or copied
    ├── pointer.json     the live version and the previous one; replaced by a rename
    ├── service.lock     held by the service that answers from here; names the versions in its memory
    └── .lock            held while folders come or go

A version's folder comes by a rename and never changes, but for what was measured of it. Without a pointer
the newest training answers, as it does in a run that knows of no versions.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from muma.artifact import Artifact, flush, read
from muma.errors import ArtifactError, MumaError, RefusedError, UnknownIdError

PARTS = ("sources", "rankers")
ABOUT, POINTER, SERVICE = "version.json", "pointer.json", "service.lock"


@dataclass(frozen=True)
class Version:
    """A training that is kept.

    Attributes:
        name: names it: a digest of its files.
        made_at: when it was finished, UTC microseconds.
        log: fingerprint of the log it learned from.
        about: what an answer needs beside the artifacts, plain data.
        metrics: what was measured of it, by name.
    """

    name: str
    made_at: int
    log: str
    about: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pointer:
    """Which version answers, and which did before.

    Attributes:
        live: None for the newest training.
        previous: what a roll-back leads to; None for nothing.
        at: when it was set, UTC microseconds.
        who: by whom.
    """

    live: str | None = None
    previous: str | None = None
    at: int = 0
    who: str = ""


class KeptVersions:
    """The versions of one run; any process may read them.

    Args:
        folder: `RUN/models`; made with the first version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def list(self) -> list[Version]:
        """All versions, newest first."""
        if not self.folder.is_dir():
            return []
        found = [
            self.get(path.name)
            for path in self.folder.iterdir()
            if not path.name.startswith(".") and (path / ABOUT).is_file()
        ]
        return sorted(found, key=lambda one: (one.made_at, one.name), reverse=True)

    def get(self, name: str) -> Version:
        """One version.

        Raises:
            UnknownIdError: there is none of this name (any more).
            ArtifactError: it is damaged.
        """
        known = name.isalnum()  # a name from outside must lead nowhere else
        path = self.folder / name / ABOUT
        if not known or not path.is_file():
            raise UnknownIdError(f"there is no version {name!r:.80} in {self.folder}")
        try:
            return Version(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path} is damaged ({error}); train again") from None

    def part(self, name: str, part: str, *, kind: str, version: int) -> Artifact:
        """An artifact of a version, checked file by file."""
        return read(self.folder / name / part, kind=kind, version=version)

    def keep(self, version: Version, parts: Mapping[str, Artifact]) -> Version:
        """Keep artifacts as a version; one of this name that is there stays as it is.

        Raises:
            ArtifactError: the disk refuses, or an artifact was replaced meanwhile.
        """
        home = self.folder / version.name
        with self._changing():
            if (home / ABOUT).is_file():
                return self.get(version.name)
            draft = self.folder / f".draft-{version.name}"
            shutil.rmtree(draft, ignore_errors=True)
            try:
                for name, stored in parts.items():
                    _linked(stored, draft / name)
                _write(draft / ABOUT, asdict(version))
                draft.rename(home)
                flush(self.folder)
            except OSError as error:
                shutil.rmtree(draft, ignore_errors=True)
                raise ArtifactError(
                    f"version {version.name} cannot be kept in {self.folder}: {error.strerror}"
                ) from error
        return version

    def measured(self, name: str, metrics: Mapping[str, float]) -> Version:
        """Note what was measured of a version."""
        with self._changing():
            found = replace(self.get(name), metrics=dict(metrics))
            _write(self.folder / name / ABOUT, asdict(found))
        return found

    def retain(self, keep: int, *, never: Iterable[str] = ()) -> list[str]:
        """Remove all but the newest; never the live one, the previous one or one in a service's memory.

        Args:
            keep: how many stay, at least.
            never: further names that stay.

        Returns:
            Names of those that went.
        """
        pointer = self.pointer()
        stay = {pointer.live, pointer.previous, *never, *self._loaded()}
        gone = []
        with self._changing():
            for old in self.list()[keep:]:
                if old.name in stay:
                    continue
                aside = self.folder / f".gone-{old.name}"
                (self.folder / old.name).rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
                gone.append(old.name)
        return gone

    def pointer(self) -> Pointer:
        """Which version answers.

        Raises:
            ArtifactError: the file is damaged.
        """
        path = self.folder / POINTER
        try:
            return Pointer(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Pointer()
        except (ValueError, TypeError) as error:
            raise ArtifactError(
                f"{path} is damaged ({error}); write it anew with 'muma models promote', after removing it"
            ) from None

    def in_force(self) -> Pointer:
        """The pointer, with the newest training where it names none."""
        pointer = self.pointer()
        if pointer.live is None and (listed := self.list()):
            return replace(pointer, live=listed[0].name)
        return pointer

    def point(self, pointer: Pointer) -> None:
        """Put another pointer in place; it is on the disk when this returns."""
        with self._changing():
            _write(self.folder / POINTER, asdict(pointer))

    @contextmanager
    def changing_by_hand(self) -> Iterator[None]:
        """While no service answers from here.

        Raises:
            RefusedError: one does.
        """
        with _service_file(self.folder) as file:
            _take(
                file,
                f"a service answers from {self.folder.parent}: ask it over HTTP, with "
                "POST /v1/models/VERSION/promote or /v1/models/rollback",
            )
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in (*self.folder.glob(".gone-*"), *self.folder.glob(".draft-*")):
                shutil.rmtree(left, ignore_errors=True)  # of somebody who was killed
            yield

    def _loaded(self) -> list[str]:
        try:
            return (self.folder / SERVICE).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []


class Answering:
    """A service's hold on the versions it answers from; release it with `close`.

    Args:
        kept: the run's versions.

    Raises:
        RefusedError: another service holds them.
    """

    def __init__(self, kept: KeptVersions) -> None:
        self._file = _service_file(kept.folder)
        try:
            _take(self._file, f"another service answers from {kept.folder.parent}; stop it first")
        except MumaError:
            self._file.close()
            raise

    def loaded(self, names: Iterable[str]) -> None:
        """Say which versions are in memory: they are not removed."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(" ".join(names))
        self._file.flush()

    def close(self) -> None:
        """Let go; safe to call twice."""
        if not self._file.closed:
            self.loaded(())
            self._file.close()


def promoted(now: Pointer, version: str, *, at: int, who: str) -> Pointer:
    """The pointer after a promotion.

    Raises:
        RefusedError: it is live already.

    Example:
        >>> promoted(Pointer("a"), "b", at=5, who="k")
        Pointer(live='b', previous='a', at=5, who='k')
    """
    if version == now.live:
        raise RefusedError(f"version {version} is live already")
    return Pointer(version, now.live, at, who)


def rolled_back(now: Pointer, *, at: int, who: str) -> Pointer:
    """The pointer after a roll-back.

    Raises:
        RefusedError: there is no previous version.
    """
    if now.previous is None:
        raise RefusedError("there is no previous version to go back to")
    return Pointer(now.previous, None, at, who)


def state_of(version: Version, pointer: Pointer, listed: Iterable[Version]) -> str:
    """`live`, `previous`, `candidate` (newer than the live one) or `retired`."""
    if version.name == pointer.live:
        return "live"
    if version.name == pointer.previous:
        return "previous"
    made = {one.name: one.made_at for one in listed}
    newer = pointer.live is None or version.made_at > made.get(pointer.live, -1)
    return "candidate" if newer else "retired"


def _service_file(folder: Path) -> TextIOWrapper:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / SERVICE).open("a+", encoding="utf-8")


def _take(file: TextIOWrapper, why_not: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RefusedError(why_not) from None


def _linked(stored: Artifact, target: Path) -> None:
    """The artifact again at `target`: its files never change, so that links to them will do."""
    for source in sorted(path for path in stored.root.rglob("*") if path.is_file()):
        place = target / stored.root.name / source.relative_to(stored.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, place)
        except FileNotFoundError:
            raise
        except OSError:  # another disk, or one without links
            shutil.copy2(source, place)
            flush(place)
    shutil.copy2(stored.folder / "manifest.json", target / "manifest.json")
    flush(target / "manifest.json")
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        flush(folder)
    read(target, kind=stored.kind, version=stored.version, verify=False)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    flush(path.parent)
