"""Kinds of key: what a state belongs to, for an event that writes and a request that reads.

A kind is one component or a pair of them, `"user x category"`. Components:

    user, item        of the event or the request
    author, category  of the item, from the catalogue (absent when the item has none)
    domain            of the event; of the item for a request
    global            the one key 0
    friends           an event writes to every follower of its user; a request reads its own user's,
                      so the state holds what the people it follows did
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from muma.errors import ConfigError

COMPONENTS = ("user", "item", "author", "category", "domain", "global", "friends")


@dataclass(frozen=True)
class KeyKind:
    """A kind of key: one or two components.

    Example:
        >>> KeyKind.parse("user x category").name
        'user x category'
    """

    components: tuple[str, ...]

    @property
    def name(self) -> str:
        """As a recipe writes it; also the store's table."""
        return " x ".join(self.components)

    @property
    def label(self) -> str:
        """As a column writes it: `user_category`."""
        return "_".join(self.components)

    @classmethod
    def parse(cls, text: str) -> KeyKind:
        """Read `"user"` or `"user x category"`.

        Raises:
            ConfigError: a component is unknown, repeated, or there are more than two.
        """
        parts = tuple(part.strip() for part in text.split(" x "))
        if unknown := [p for p in parts if p not in COMPONENTS]:
            raise ConfigError(
                f"key {text!r}: unknown component {unknown[0]!r}; allowed: {', '.join(COMPONENTS)}"
            )
        if len(parts) > 2 or len(set(parts)) != len(parts):
            raise ConfigError(f"key {text!r}: name one component, or two different ones")
        if len(parts) == 2 and ("global" in parts or parts[1] == "friends"):
            raise ConfigError(f"key {text!r}: 'global' stands alone and 'friends' comes first")
        return cls(parts)


def pack(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Keys of one or two components.

    Args:
        parts: int64 [n] each; -1 where there is none.

    Returns:
        uint64 keys [n], `first << 32 | second` for pairs, and whether each is present, bool [n].
    """
    if len(parts) == 1:
        return _one(parts[0])
    return _two(parts[0], parts[1])


@numba.njit(cache=True, nogil=True)
def _one(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys, present = np.zeros(len(part), dtype=np.uint64), np.empty(len(part), dtype=np.bool_)
    for i in range(len(part)):
        present[i] = part[i] >= 0
        if present[i]:
            keys[i] = np.uint64(part[i])
    return keys, present


@numba.njit(cache=True, nogil=True)
def _two(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys, present = np.zeros(len(first), dtype=np.uint64), np.empty(len(first), dtype=np.bool_)
    for i in range(len(first)):
        present[i] = first[i] >= 0 and second[i] >= 0
        if present[i]:
            keys[i] = (np.uint64(first[i]) << np.uint64(32)) | np.uint64(second[i])
    return keys, present
