"""The evidence of one answer as a reader wants it.

Shape: N candidates, K slots, F features, S sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from muma.serving.page import words
from muma.serving.page.changes import Seen, by_group
from muma.serving.recommending import Evidence, ServedItem
from muma.serving.tenants import Tenant

SCORE = "candidate."
MISSING = "\N{EN DASH}"
MOST = 300
"""Candidates that the page lists; `GET /v1/decisions` gives them all."""


@dataclass(frozen=True)
class Slot:
    """A slot and the features its item was ranked by.

    Attributes:
        number: from 1.
        one: what was served.
        propensity: its chance.
        support: candidates that could have stood there.
        rank: of the item among the candidates, from 1; None when it cannot be told.
        features: by group, in words.
    """

    number: int
    one: ServedItem
    propensity: float
    support: int
    rank: int | None
    features: dict[str, list[Seen]]


@dataclass(frozen=True)
class Ranked:
    """A candidate.

    Attributes:
        rank: from 1.
        item: its id, or its number where no id is known.
        slot: where it was shown, from 1; None when it was not.
        scores: what each source said.
    """

    rank: int
    item: str
    slot: int | None
    scores: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """Evidence for the template.

    Attributes:
        slots: of the answer.
        sources: names of the sources' columns.
        ranked: candidates in their order, at most `MOST`.
        candidates: how many there were.
    """

    slots: tuple[Slot, ...]
    sources: tuple[str, ...]
    ranked: tuple[Ranked, ...]
    candidates: int


def tell(evidence: Evidence, tenant: Tenant) -> Told:
    """Put evidence in order for a reader."""
    numbers = evidence.item_N.tolist()
    names = [""] * len(numbers)
    if tenant.directory is not None:
        names = list(tenant.directory.items(numbers))
    row = {name: n for n, name in enumerate(names) if name}
    said = [f for f, name in enumerate(evidence.columns) if name.startswith(SCORE)]
    slot_of = {one.item: slot for slot, one in enumerate(evidence.answer.items, start=1)}
    return Told(
        slots=tuple(_slots(evidence, row)),
        sources=tuple(evidence.columns[f].removeprefix(SCORE) for f in said),
        ranked=tuple(
            Ranked(
                rank=n + 1,
                item=names[n] or f"number {number}",
                slot=slot_of.get(names[n]),
                scores=tuple(_score(evidence.value_NF[n, f]) for f in said),
            )
            for n, number in enumerate(numbers[:MOST])
        ),
        candidates=len(numbers),
    )


def _slots(evidence: Evidence, row: dict[str, int]) -> Iterator[Slot]:
    for k, one in enumerate(evidence.answer.items):
        n = row.get(one.item)
        features = {} if n is None else by_group(evidence.columns, evidence.value_NF[n])
        yield Slot(
            number=k + 1,
            one=one,
            propensity=float(evidence.propensity_K[k]),
            support=int(evidence.support_K[k]),
            rank=None if n is None else n + 1,
            features=features,
        )


def _score(value: np.floating) -> str:
    return MISSING if np.isnan(value) else words.number(float(value))
