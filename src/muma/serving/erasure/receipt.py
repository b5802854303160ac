"""The receipt of an erasure: what was done, where, and what is left; it names nobody."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from muma.errors import StoreError
from muma.serving.erasure.erasable import Residue, Subject


@dataclass(frozen=True)
class Receipt:
    """What an erasure did.

    Attributes:
        id: of the erasure.
        subject: salted hash of tenant and user: whoever knows both can tell that this is the receipt
            (`is_of`), and nobody can read them from it. Ids that can all be tried, such as small
            numbers, are found by trying; a receipt is for the one who asked.
        salt: of the hash, random.
        begun: UTC microseconds.
        finished: UTC microseconds.
        parts: part -> what was erased there, counted.
        residue: what still carries an influence, and until when.
        sha256: of everything else; a changed receipt is not `sound`.
    """

    id: str
    subject: str
    salt: str
    begun: int
    finished: int
    parts: Mapping[str, Mapping[str, int]]
    residue: tuple[Residue, ...]
    sha256: str = ""

    def signed(self) -> Receipt:
        """The receipt with its hash."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Receipt(**{**fields, "sha256": self._hash()})

    @property
    def sound(self) -> bool:
        """Whether nothing of it was changed since it was signed."""
        return self.sha256 == self._hash()

    def is_of(self, user: str, tenant: str = "default") -> bool:
        """Whether it is about a user."""
        return self.subject == hashed(Subject(user, tenant), self.salt)

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """Read what `to_json` wrote.

        Raises:
            StoreError: it is no receipt.
        """
        try:
            fields = json.loads(text)
            residue = tuple(Residue(**one) for one in fields.pop("residue"))
            return cls(**fields, residue=residue)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise StoreError("this is no receipt of an erasure") from None

    def _hash(self) -> str:
        fields = asdict(self)
        del fields["sha256"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def hashed(subject: Subject, salt: str) -> str:
    """Salted hash of a subject (scrypt, so that trying ids is slow)."""
    text = f"{subject.tenant}\0{subject.user}".encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=bytes.fromhex(salt), n=2**12, r=8, p=1, dklen=32).hex()
