"""API keys: made once, shown once, kept as a salted hash in a file that only its owner reads.

A key reads `muma_<id>_<secret>`. The secret is 256 random bits, so that a fast hash (BLAKE2b with a
salt of the key's own) protects it as well as a slow one: there is no dictionary to try. The hash is
compared in constant time, and an unknown id costs the same comparison.

Several processes may share the file: it is replaced as a whole, changes take a lock beside it, and a
reader looks for a new version at most once a second, so that a revoked key stops within that second.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Literal

import msgspec

from muma.errors import ConfigError, StoreError, UnknownIdError

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = ("read", "write", "admin")
FORMAT = 1
LOOK_AGAIN_S = 1.0
_TOKEN = re.compile(r"muma_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[\w .:@-]{1,100}")


class Key(msgspec.Struct, frozen=True):
    """What is kept of a key; not the key.

    Attributes:
        id: its public part, safe to log.
        tenant: whose it is.
        roles: what it may do; `admin` may all.
        name: what its owner calls it.
        salt: of the hash, hexadecimal.
        hash: of the secret, hexadecimal.
        created_at: microseconds since 1970 UTC.
        revoked_at: likewise; None while it is good.
    """

    id: str
    tenant: str
    roles: tuple[Role, ...]
    name: str
    salt: str
    hash: str
    created_at: int
    revoked_at: int | None = None

    def may(self, role: Role) -> bool:
        """Whether the key has a role."""
        return role in self.roles or "admin" in self.roles


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    keys: tuple[Key, ...]


class KeyFile:
    """Keys in a file; safe for several threads and processes.

    Args:
        path: the file; made with the first key.
        clock: UTC microseconds.
        look_again_s: longest time for which a change by another process goes unseen.

    Raises:
        StoreError: the file cannot be read, is damaged, or others than its owner may read it.

    Example:
        >>> import tempfile
        >>> keys = KeyFile(Path(tempfile.mkdtemp()) / "keys.json", clock=lambda: 0)
        >>> key, token = keys.create(tenant="default", roles=("read",), name="front page")
        >>> keys.find(token).name
        'front page'
        >>> keys.find(token[:-1] + "!") is None
        True
    """

    def __init__(
        self, path: str | Path, *, clock: Callable[[], int], look_again_s: float = LOOK_AGAIN_S
    ) -> None:
        self.path = Path(path)
        self._clock, self._look_again_s = clock, look_again_s
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._looked = monotonic()
        self._by_id: dict[str, Key] = {}
        self._read()

    def find(self, token: str) -> Key | None:
        """The key that `token` is, if it is good; None for all else, without saying what was wrong."""
        if monotonic() - self._looked > self._look_again_s:
            self._look()
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        key = self._by_id.get(found[1], _NOBODY)
        same = hmac.compare_digest(_hash(found[2], key.salt), key.hash)
        return key if same and key is not _NOBODY and key.revoked_at is None else None

    def keys(self, *, tenant: str | None = None) -> list[Key]:
        """All keys, revoked ones too, in the order they were made; of one tenant if named."""
        self._look()
        return [k for k in self._by_id.values() if tenant is None or k.tenant == tenant]

    def create(self, *, tenant: str, roles: Sequence[Role], name: str) -> tuple[Key, str]:
        """Make a key; the text returned beside it is the only copy of its secret.

        Raises:
            ConfigError: there is no such role, none is given, or the name will not do.
            StoreError: the file cannot be written.
        """
        wrong = [role for role in roles if role not in ROLES]
        if wrong or not roles:
            got = ", ".join(map(repr, wrong)) or "none"
            raise ConfigError(f"roles of a key: got {got}; allowed: {', '.join(ROLES)}")
        for what, text in (("tenant", tenant), ("name", name)):
            if not _NAME.fullmatch(text):
                raise ConfigError(
                    f"{what} of a key: got {text!r:.80}; allowed: 1 to 100 letters, digits, spaces, .:@_-"
                )
        secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
        with self._changing() as by_id:
            ident = next(i for i in iter(lambda: secrets.token_hex(6), None) if i not in by_id)
            ordered: tuple[Role, ...] = tuple(role for role in ROLES if role in roles)
            key = Key(ident, tenant, ordered, name, salt, _hash(secret, salt), self._clock())
            by_id[ident] = key
        return key, f"muma_{ident}_{secret}"

    def revoke(self, key_id: str) -> Key:
        """Make a key worthless, for good; a second time changes nothing.

        Raises:
            UnknownIdError: there is no such key.
        """
        with self._changing() as by_id:
            if key_id not in by_id:
                raise UnknownIdError(f"there is no key {key_id!r:.40}; list them to see their ids")
            if by_id[key_id].revoked_at is None:
                by_id[key_id] = msgspec.structs.replace(by_id[key_id], revoked_at=self._clock())
            return by_id[key_id]

    def _look(self) -> None:
        with self._lock:
            self._looked = monotonic()
            if self._stamp() != self._seen:
                self._read()

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"keys in {self.path} cannot be read: {error.strerror}") from error
        if found.st_mode & 0o077:
            raise StoreError(
                f"{self.path} may be read by others than its owner; run: chmod 600 {self.path}"
            )
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> None:
        stamp = self._stamp()
        if stamp is None:
            self._by_id, self._seen = {}, None
            return
        try:
            held = msgspec.json.decode(self.path.read_bytes(), type=_File)
        except OSError as error:
            raise StoreError(f"keys in {self.path} cannot be read: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise StoreError(f"{self.path} is no file of keys: {error}") from None
        if held.format != FORMAT:
            raise StoreError(f"{self.path} has format {held.format}; this version reads {FORMAT}")
        self._by_id, self._seen = {key.id: key for key in held.keys}, stamp

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """A copy of the newest keys; written back when the block ends well."""
        with self._lock, self._locked():
            self._read()
            by_id = dict(self._by_id)
            yield by_id
            try:
                self._write(_File(FORMAT, tuple(by_id.values())))
            except OSError as error:
                raise StoreError(
                    f"keys in {self.path} cannot be written: {error.strerror}"
                ) from error
            self._by_id, self._seen = by_id, self._stamp()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        beside = self.path.with_name(self.path.name + ".lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(beside, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{beside} cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, held: _File) -> None:
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(held), indent=1))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _hash(secret: str, salt: str) -> str:
    return hashlib.blake2b(
        secret.encode(), digest_size=32, salt=bytes.fromhex(salt), person=b"muma key"
    ).hexdigest()


_NOBODY = Key("", "", (), "", "00" * 16, "00" * 32, 0)
