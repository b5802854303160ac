"""Caps: no author and no category fills the list.

Shape: N candidates.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.ranking.ranker import Slate
from muma.ranking.reranker import UNKNOWN, ItemFeatures, checked

Kind = Literal["category", "author"]


class CapsConfig(Config):
    """Settings of caps.

    Attributes:
        per_author: most items of one author in the list; None: any number.
        per_category: most items of one category in the list; None: any number.
        relax: which caps give way, one after another, when the candidates run out.
        allow_short: rather return a short list than relax a cap.
    """

    per_author: int | None = Field(default=None, ge=1)
    per_category: int | None = Field(default=None, ge=1)
    relax: tuple[Kind, ...] = ("category", "author")
    allow_short: bool = False


class Caps:
    """Takes candidates in order and passes over those whose author or category is full.

    Unknown authors and categories (-1) are never capped. When the candidates run out, the caps named
    in `relax` are dropped one by one, and at last all of them: those passed over follow in order.

    Args:
        config: the settings.
    """

    def __init__(self, config: CapsConfig = CapsConfig()) -> None:
        self.config = config

    def rerank(self, slate: Slate, k: int, features: ItemFeatures) -> Slate:
        """See `Reranker.rerank`."""
        n = checked(slate, k, features)
        caps = self._caps(features)
        seen: dict[Kind, dict[int, int]] = {kind: {} for kind in caps}
        chosen = _admit(range(len(slate)), n, caps, seen)
        for kind in () if self.config.allow_short else (*self.config.relax, *list(caps)):
            if len(chosen) == n:
                break
            caps.pop(kind, None)
            taken = set(chosen)
            rest = [place for place in range(len(slate)) if place not in taken]
            chosen += _admit(rest, n - len(chosen), caps, seen)
        return slate.take(np.array(chosen, dtype=np.int64))

    def _caps(self, features: ItemFeatures) -> dict[Kind, tuple[list[int], int]]:
        caps: dict[Kind, tuple[list[int], int]] = {}
        if self.config.per_category is not None:
            of_N = features.need("category_N", "Caps with per_category")
            caps["category"] = (of_N.tolist(), self.config.per_category)
        if self.config.per_author is not None:
            of_N = features.need("author_N", "Caps with per_author")
            caps["author"] = (of_N.tolist(), self.config.per_author)
        return caps


def _admit(
    places: range | list[int],
    n: int,
    caps: dict[Kind, tuple[list[int], int]],
    seen: dict[Kind, dict[int, int]],
) -> list[int]:
    """The first `n` places that no cap forbids; `seen` counts them."""
    admitted: list[int] = []
    for place in places:
        if len(admitted) == n:
            break
        full = any(
            of_N[place] != UNKNOWN and seen[kind].get(of_N[place], 0) >= cap
            for kind, (of_N, cap) in caps.items()
        )
        if not full:
            admitted.append(place)
            for kind, (of_N, _) in caps.items():
                seen[kind][of_N[place]] = seen[kind].get(of_N[place], 0) + 1
    return admitted
