"""Readable LMDB keys: `USER:7:FEATURES` (the paper's K_u, equation 18), and for a pair of ids
`USER:7:CATEGORY:3:FEATURES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class KeyText:
    """Turns the keys of one table into text and back.

    Example:
        >>> pairs = KeyText.of("user x category")
        >>> pairs.encode(np.array([7 << 32 | 3], dtype=np.uint64))
        [b'USER:7:CATEGORY:3:FEATURES']
        >>> pairs.decode([b"USER:7:CATEGORY:3:FEATURES"]) == 7 << 32 | 3
        array([ True])
    """

    pattern: bytes
    pair: bool

    @classmethod
    def of(cls, table: str) -> KeyText:
        """The text form of a table's keys; a name with `" x "` is a pair."""
        parts = table.upper().split(" X ")
        return cls(f"{':%d:'.join(parts)}:%d:FEATURES".encode(), len(parts) == 2)

    def encode(self, keys: np.ndarray) -> list[bytes]:
        """Text of each key (uint64 [N]); a pair's first id is in the upper 32 bits."""
        pattern = self.pattern
        if self.pair:
            first, second = (keys >> _HALF).tolist(), (keys & _LOW).tolist()
            return [pattern % both for both in zip(first, second, strict=True)]
        return [pattern % key for key in keys.tolist()]

    def decode(self, texts: Sequence[bytes]) -> np.ndarray:
        """Keys (uint64 [N]) of their texts."""
        parts = [text.split(b":") for text in texts]
        keys = np.array([int(part[1]) for part in parts], dtype=np.uint64)
        if self.pair:
            keys = (keys << _HALF) | np.array([int(part[3]) for part in parts], dtype=np.uint64)
        return keys
