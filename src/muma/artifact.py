"""A saved thing is a folder with a manifest: no pickle, and a kill at any moment harms nothing.

    folder/
    ├── manifest.json     kind, versions, config, meta, and each file's size and SHA-256
    └── data-<id>/        the files themselves, in their native formats

Writing fills a fresh folder beside the live one and commits by renaming the manifest, which is
atomic; readers see the old state or the new one. Only data that a manifest or its draft names is
ever removed. One writer at a time holds `folder/.lock`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import numpy as np

from muma.errors import ArtifactError, MumaError

FORMAT = 1
MANIFEST = "manifest.json"
DRAFT = f"{MANIFEST}.draft"
_DATA = re.compile(r"data-[0-9a-f]{12}")
_CANNOT_WRITE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
}


@dataclass(frozen=True)
class Artifact:
    """An opened folder: its manifest and the place of its files."""

    folder: Path
    kind: str
    version: int
    config: Mapping[str, Any]
    meta: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    root: Path

    def path(self, name: str) -> Path:
        """Place of a listed file.

        Raises:
            ArtifactError: the manifest lists no such file.
        """
        if name not in self.files:
            raise ArtifactError(f"{self.folder}: the manifest lists no file {name!r}")
        return self.root / name

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays of a listed `.npz` file."""
        with np.load(self.path(name), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}


@dataclass
class Writer:
    """A folder being written; nothing is visible until the block ends well."""

    root: Path
    meta: dict[str, Any] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Place for a new file called `name`; its parent folders are made."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays as an uncompressed `.npz` file (no object arrays)."""
        with self.path(name).open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]


@contextmanager
def write(
    folder: str | Path,
    *,
    kind: str,
    version: int,
    config: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Iterator[Writer]:
    """Write or replace the artifact at `folder`, all or nothing.

    Args:
        folder: where it lives; must be absent, empty, or an artifact already.
        kind: what it is, such as `"event-log"`.
        version: version of that kind's own layout.
        config: what it was made from, as JSON-able data.
        meta: anything else worth keeping; the block may add to `writer.meta`.

    Raises:
        ArtifactError: the folder holds something else, another process is writing it, or the disk
            is full or refuses to be written.
    """
    home = Path(folder)
    fresh = not home.exists()
    with _clear_errors(home):
        _claim(home)
        with _lock(home):
            _sweep(home)
            root = home / f"writing-{os.getpid()}"
            root.mkdir()
            writer = Writer(root, dict(meta or {}))
            try:
                yield writer
                _commit(home, writer, kind=kind, version=version, config=dict(config or {}))
            finally:
                shutil.rmtree(root, ignore_errors=True)
                if fresh and not (home / MANIFEST).exists():
                    _leave(home)


def read(folder: str | Path, *, kind: str, version: int, verify: bool = True) -> Artifact:
    """Open the artifact at `folder` and check that it is whole.

    Args:
        folder: where it lives.
        kind: the kind it must be.
        version: the layout version it must have.
        verify: check every file's SHA-256, not only its size.

    Raises:
        ArtifactError: it is missing, damaged, or of another kind, format or version.
    """
    home = Path(folder)
    manifest = _manifest(home)
    for key, wanted in (("format", FORMAT), ("kind", kind), ("version", version)):
        if manifest.get(key) != wanted:
            raise ArtifactError(
                f"{home}: {key} is {manifest.get(key)!r}, this version reads {wanted!r}; "
                "make the artifact again"
            )
    root = home / manifest["data"]
    for name, stored in manifest["files"].items():
        path = root / name
        if not path.is_file():
            raise ArtifactError(f"{home}: file {name!r} is missing; make the artifact again")
        if path.stat().st_size != stored["bytes"] or (verify and digest(path) != stored["sha256"]):
            raise ArtifactError(f"{home}: file {name!r} is damaged; make the artifact again")
    return Artifact(
        home, kind, version, manifest["config"], manifest["meta"], manifest["files"], root
    )


def exists(folder: str | Path) -> bool:
    """Whether `folder` holds a committed artifact."""
    return (Path(folder) / MANIFEST).is_file()


def digest(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def library_versions(*names: str) -> dict[str, str]:
    """Versions of installed distributions; an absent one is `"absent"`."""

    def of(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "absent"

    return {name: of(name) for name in names}


def _commit(home: Path, writer: Writer, *, kind: str, version: int, config: dict[str, Any]) -> None:
    previous = _manifest(home)["data"] if (home / MANIFEST).exists() else None
    for folder in [writer.root, *(p for p in writer.root.rglob("*") if p.is_dir())]:
        flush(folder)
    names = sorted(str(p.relative_to(writer.root)) for p in writer.root.rglob("*") if p.is_file())
    files = {}
    for name in names:
        path = writer.root / name
        flush(path)
        files[name] = {"bytes": path.stat().st_size, "sha256": digest(path)}
    data = f"data-{uuid4().hex[:12]}"
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "version": version,
        "written_by": library_versions("muma", "numpy", "polars"),
        "config": config,
        "meta": writer.meta,
        "data": data,
        "replaces": previous,
        "files": files,
    }
    try:
        text = json.dumps(manifest, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{home}: config and meta must be plain JSON data: {error}") from None
    draft = home / DRAFT
    draft.write_text(text, encoding="utf-8")
    flush(draft)
    writer.root.rename(home / data)
    draft.replace(home / MANIFEST)
    flush(home)
    if previous is not None:
        shutil.rmtree(home / previous, ignore_errors=True)


def _manifest(home: Path) -> dict[str, Any]:
    try:
        found = json.loads((home / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{home} is not a MUMA artifact: it has no {MANIFEST}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(
            f"{home}/{MANIFEST} is damaged ({error}); make the artifact again, in another folder"
        ) from None
    except OSError as error:
        raise ArtifactError(f"{home}/{MANIFEST} cannot be read: {error}") from None
    if not _well_formed(found):
        raise ArtifactError(
            f"{home}/{MANIFEST} is not a MUMA manifest; make the artifact again, in another folder"
        )
    return found


def _well_formed(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(files := found.get("files"), dict):
        return False
    return (
        isinstance(found.get("config"), dict)
        and isinstance(found.get("meta"), dict)
        and isinstance(found.get("data"), str)
        and _DATA.fullmatch(found["data"]) is not None
        and all(_safe(name) and isinstance(entry, dict) for name, entry in files.items())
        and all({"bytes", "sha256"} <= entry.keys() for entry in files.values())
    )


def _safe(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _claim(home: Path) -> None:
    """Make the folder, or check that it is one to write to."""
    if home.exists() and not home.is_dir():
        raise ArtifactError(f"{home} is a file; name a folder to write to")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ArtifactError(f"{home} lies below a file; name another folder") from None
    if (home / MANIFEST).exists():
        _manifest(home)
    elif any(not _ours(entry.name) for entry in home.iterdir()):
        raise ArtifactError(
            f"{home} exists and is not a MUMA artifact (no {MANIFEST}); choose another folder"
        )


def _sweep(home: Path) -> None:
    """Remove what a killed writer left: unfinished work, and data that was never or is no longer
    listed.
    """
    for stale in home.glob("writing-*"):
        shutil.rmtree(stale, ignore_errors=True)
    live = _manifest(home) if (home / MANIFEST).exists() else {}
    try:
        draft = json.loads((home / DRAFT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        draft = {}
    named = [live.get("replaces"), draft.get("data") if isinstance(draft, dict) else None]
    for data in named:
        if isinstance(data, str) and _DATA.fullmatch(data) and data != live.get("data"):
            shutil.rmtree(home / data, ignore_errors=True)
    (home / DRAFT).unlink(missing_ok=True)


def _leave(home: Path) -> None:
    """Take a new folder away again, unless somebody else put something there."""
    for name in (DRAFT, ".lock"):
        (home / name).unlink(missing_ok=True)
    with suppress(OSError):
        home.rmdir()


@contextmanager
def _clear_errors(home: Path) -> Iterator[None]:
    """Turn a full or forbidden disk, whichever library reports it, into an ArtifactError."""
    try:
        yield
    except MumaError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        told = re.search(r"\(os error (\d+)\)", str(error))  # as libraries in Rust report it
        code = code or (int(told[1]) if told else None)
        if code is None or code not in _CANNOT_WRITE:
            raise
        raise ArtifactError(
            f"{home} cannot be written: {os.strerror(code)}; what was there is unchanged. Make "
            "room, or choose another folder"
        ) from error


def _ours(name: str) -> bool:
    return name in {".lock", DRAFT} or name.startswith("writing-") or bool(_DATA.fullmatch(name))


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    busy = f"{home} is being written by another process; wait for it or choose another folder"
    try:
        stream = (home / ".lock").open("w")
    except FileNotFoundError:  # the other writer failed and took its new folder away
        raise ArtifactError(busy) from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(busy) from None
        if not os.fstat(stream.fileno()).st_nlink:
            raise ArtifactError(busy)
        yield
