"""Slots as a reader of the answer sees them: names, chances, reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from muma.ranking.explanation import explain
from muma.ranking.phrases import Subject
from muma.ranking.ranker import Slate
from muma.ranking.sentences import SentencesConfig, sentence
from muma.serving.facts import ItemFacts
from muma.serving.filling import Filled
from muma.serving.recommending import ServedItem

RULES = "rules"
"""Group of a boost's part of a score."""


@dataclass(frozen=True)
class Told:
    """What is said of each slot beside its item.

    Attributes:
        sources: dense item -> sources that proposed it.
        rules: ids of the rules that put or moved each slot's item, in slot order.
        probability: label -> calibrated probability of each slot.
        boost_N: log-odds that rules added to each candidate of the slate.
        words: how reasons are said; None says none.
    """

    sources: Mapping[int, tuple[str, ...]]
    rules: list[tuple[str, ...]]
    probability: Mapping[str, np.ndarray]
    boost_N: np.ndarray
    words: SentencesConfig | None


def compose(slate: Slate, filled: Filled, facts: ItemFacts, told: Told) -> tuple[ServedItem, ...]:
    """One `ServedItem` a slot."""
    items = []
    explained = None
    if told.words is not None and slate.attribute is not None and len(filled):
        by_model = replace(slate, score_N=slate.score_N - told.boost_N)
        explained = by_model.take(filled.place_K)
    for k, place in enumerate(filled.place_K.tolist()):
        item = int(slate.item_N[place])
        fact = facts.one(item)
        reason, groups = None, {}
        if explained is not None and told.words is not None:
            found = explain(explained, k)
            about = Subject(category=fact.category, author=fact.author)
            reason = sentence(found, about=about, config=told.words)
            groups = dict(found.groups)
            if told.boost_N[place]:
                groups[RULES] = float(told.boost_N[place])
        items.append(
            ServedItem(
                item=fact.id,
                title=fact.title,
                category=fact.category,
                score=float(slate.score_N[place]),
                propensity=float(filled.propensity_K[k]),
                explored=bool(filled.explored_K[k]),
                probability={name: float(p_K[k]) for name, p_K in told.probability.items()},
                sources=told.sources.get(item, (RULES,) if told.rules[k] else ()),
                reason=reason,
                groups=groups,
                rules=told.rules[k],
            )
        )
    return tuple(items)
