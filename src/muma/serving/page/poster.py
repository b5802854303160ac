"""A picture for an item that has none: drawn from its category and id, always the same.

The category gives the colour, the id gives the composition, so that a list shows at a glance how much of
one kind is in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

HUES = (196, 214, 232, 262, 290, 318, 340, 2, 18, 36, 146, 172)
"""Those that stay clear when they are dark; olive and mustard do not."""
SHAPES = ("sun", "arcs", "bands", "blocks", "hills", "rings")


@dataclass(frozen=True)
class Poster:
    """What a template draws.

    Attributes:
        hue: of the category, degrees.
        light: of the ground, percent; tells categories of one hue apart.
        shape: one of `SHAPES`.
        numbers: eight in [0, 100), for the shape to use.
    """

    hue: int
    light: int
    shape: str
    numbers: tuple[int, ...]


def poster(item: str, category: str | None) -> Poster:
    """The picture of an item.

    Example:
        >>> one, other = poster("a", "sport"), poster("b", "sport")
        >>> one == poster("a", "sport"), one.hue == other.hue, one.numbers == other.numbers
        (True, True, False)
    """
    kind = _bytes(f"class {category}") if category else _bytes("")
    own = _bytes(f"item {item}")
    hue = HUES[kind[0] % len(HUES)]
    numbers = tuple(byte * 100 // 256 for byte in own[1:9])
    return Poster(hue, 22 + kind[1] % 4 * 4, SHAPES[own[0] % len(SHAPES)], numbers)


def _bytes(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
