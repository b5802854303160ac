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
    present = parts[0] >= 0
    keys = np.where(present, parts[0], 0).astype(np.uint64)
    if len(parts) == 2:
        present = present & (parts[1] >= 0)
        keys = (keys << np.uint64(32)) | np.where(present, parts[1], 0).astype(np.uint64)
    return keys, present
