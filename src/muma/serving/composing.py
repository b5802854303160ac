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
    item_K = slate.item_N[filled.place_K].tolist()
    score_K = slate.score_N[filled.place_K].tolist()
    propensity_K, explored_K = filled.propensity_K.tolist(), filled.explored_K.tolist()
    labels = tuple(told.probability)
    chances = zip(*(p_K.tolist() for p_K in told.probability.values()), strict=True)
    chance_K = list(chances) if labels else [()] * len(item_K)
    for k, item in enumerate(item_K):
        fact, rules = facts.one(item), told.rules[k]
        reason, groups = None, {}
        if explained is not None and told.words is not None:
            found = explain(explained, k)
            about = Subject(category=fact.category, author=fact.author)
            reason = sentence(found, about=about, config=told.words)
            groups = dict(found.groups)
            if boost := told.boost_N[filled.place_K[k]]:
                groups[RULES] = float(boost)
        items.append(
            ServedItem(
                item=fact.id,
                title=fact.title,
                category=fact.category,
                score=score_K[k],
                propensity=propensity_K[k],
                explored=explored_K[k],
                probability=dict(zip(labels, chance_K[k], strict=True)),
                sources=told.sources.get(item, (RULES,) if rules else ()),
                reason=reason,
                groups=groups,
                rules=rules,
            )
        )
    return tuple(items)
