"""Forget a person in all parts, through kills: what was begun is finished.

    folder/
    ├── journal/<id>.json     erasures under way: who, and which parts are done; then removed
    ├── receipts/<id>.json    what was done
    └── erasing.lock          held while somebody erases

Parts are asked in the order given. The journal is on the disk before the first is asked, and again
after each, so that a kill at any moment leaves an erasure that `finish` goes on with: the service
calls it at every start. A part that fails leaves it too.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from muma.artifact import flush
from muma.errors import ConfigError, StoreError
from muma.serving.erasure.erasable import Erasable, Subject
from muma.serving.erasure.receipt import Receipt, hashed
from muma.serving.evidence.segments import held, replace_file


@dataclass
class _Begun:
    """An erasure under way, as the journal holds it."""

    id: str
    salt: str
    subject: Subject
    begun: int
    done: dict[str, dict[str, int]] = field(default_factory=dict)


class Erasure:
    """Forgets people; safe for several threads and processes, which take turns.

    Args:
        folder: of journal and receipts.
        parts: what stores something of people. The event stream comes before the feature state,
            which would otherwise be built again from it.
        clock: UTC microseconds.
        find: raw user id -> dense index, -1 for none; asked once, before anything is erased.

    Raises:
        ConfigError: two parts have one name.
    """

    def __init__(
        self,
        folder: str | Path,
        parts: Sequence[Erasable],
        *,
        clock: Callable[[], int],
        find: Callable[[str], int] = lambda _: -1,
    ) -> None:
        names = [part.name for part in parts]
        if len(set(names)) < len(names):
            raise ConfigError(f"the parts of an erasure are named {names}; names must differ")
        self._parts = tuple(parts)
        self._clock, self._find = clock, find
        self._folder = Path(folder)
        self._journal = self._folder / "journal"
        self._receipts = self._folder / "receipts"
        for each in (self._journal, self._receipts):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    def erase(self, user: str, *, tenant: str = "default") -> Receipt:
        """Forget a user; when this returns it is done.

        Nothing is said of whether there was such a user: a receipt may count nothing. The user's
        caller must have stopped sending; whoever comes back afterwards is a new user.

        Raises:
            MumaError: a part could not; the erasure is begun, and `finish` goes on with it.
        """
        with held(self._folder / "erasing.lock"):
            for begun in self._under_way():
                if (begun.subject.user, begun.subject.tenant) == (user, tenant):
                    return self._go_on(begun)
            begun = _Begun(
                secrets.token_hex(8), secrets.token_hex(16),
                Subject(user, tenant, self._find(user)), self._clock(),
            )  # fmt: skip
            self._note(begun)
            return self._go_on(begun)

    def finish(self) -> list[Receipt]:
        """Finish what a kill or a failure has interrupted; to be called at every start.

        Raises:
            MumaError: a part could not, again.
        """
        with held(self._folder / "erasing.lock"):
            return [self._go_on(begun) for begun in self._under_way()]

    def unfinished(self) -> int:
        """Erasures that are begun and not done."""
        return len(list(self._journal.glob("*.json")))

    def receipt(self, name: str) -> Receipt | None:
        """The receipt of an erasure; None when there is none.

        Raises:
            StoreError: it is damaged.
        """
        path = self._receipts / f"{name}.json"
        if not name.isalnum() or not path.exists():
            return None
        return Receipt.from_json(path.read_bytes())

    def _go_on(self, begun: _Begun) -> Receipt:
        receipt = self.receipt(begun.id)
        if receipt is None:
            for part in self._parts:
                if part.name not in begun.done:
                    begun.done[part.name] = dict(part.erase(begun.subject))
                    self._note(begun)
            receipt = self._signed(begun)
            replace_file(self._receipts / f"{begun.id}.json", receipt.to_json().encode())
        (self._journal / f"{begun.id}.json").unlink()
        flush(self._journal)
        return receipt

    def _signed(self, begun: _Begun) -> Receipt:
        left = tuple(one for part in self._parts for one in part.residue(begun.subject))
        return Receipt(
            begun.id, hashed(begun.subject, begun.salt), begun.salt, begun.begun, self._clock(),
            begun.done, left,
        ).signed()  # fmt: skip

    def _note(self, begun: _Begun) -> None:
        replace_file(self._journal / f"{begun.id}.json", json.dumps(asdict(begun)).encode())

    def _under_way(self) -> list[_Begun]:
        for stale in self._journal.glob("*.draft"):  # of a writer that was killed
            stale.unlink()
        return [_read(path) for path in sorted(self._journal.glob("*.json"))]


def _read(path: Path) -> _Begun:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        return _Begun(**{**fields, "subject": Subject(**fields["subject"])})
    except (ValueError, TypeError, KeyError):
        raise StoreError(
            f"{path} is damaged: an erasure was begun and it is not known whose; find out from the "
            "one who asked, erase again, and remove the file"
        ) from None
