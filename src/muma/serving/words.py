"""Names and their codes, shared by every snapshot: a code once given never changes."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T", bound=Hashable)

MISSING = -1


class Words(Generic[T]):
    """Value -> code in [0, len); only grows, so that older snapshots stay valid. Safe in threads.

    Example:
        >>> words = Words[str]()
        >>> words.add("b"), words.add("a"), words.add("b"), words.code("c")
        (0, 1, 0, -1)
    """

    def __init__(self) -> None:
        self.values: list[T] = []
        self._code: dict[T, int] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: the same codes, from then on its own."""
        return _from, (list(self.values),)

    def __len__(self) -> int:
        """Number of codes given."""
        return len(self.values)

    def add(self, value: T | None) -> int:
        """The value's code, a new one if need be; -1 for None."""
        if value is None:
            return MISSING
        if (code := self._code.get(value)) is None:
            with self._lock:
                if (code := self._code.get(value)) is None:
                    self.values.append(value)
                    code = self._code[value] = len(self.values) - 1
        return code

    def code(self, value: T | None) -> int:
        """The value's code; -1 if there is none."""
        return MISSING if value is None else self._code.get(value, MISSING)

    def codes(self, values: Iterable[T]) -> np.ndarray:
        """Codes of those values that have one, int32 [n]."""
        found = (self._code.get(value, MISSING) for value in values)
        return np.array([code for code in found if code != MISSING], dtype=np.int32)

    def value(self, code: int) -> T | None:
        """The value behind a code; None for -1."""
        return None if code == MISSING else self.values[code]


def _from(values: list[Any]) -> Words[Any]:
    words = Words[Any]()
    for value in values:
        words.add(value)
    return words
