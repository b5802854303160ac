"""One plain sentence for an answer, from the largest parts of its score.

A feature is named as a reason only if its part is positive, and as held against it only if negative.
Features that are the same for every candidate (the hour, how active you are) cannot say why this
one stands here; they are named only when nothing else speaks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field

from muma.config import Config
from muma.ranking.explanation import Difference, Explanation, Part, WhatIf
from muma.ranking.phrases import Subject, WordsConfig, describe

SHARED = re.compile(r"(user|friends|domain|global|clock|context|user_attr)\.|position$")
"""Columns that do not depend on the item."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
            "tenth")  # fmt: skip


class SentencesConfig(Config):
    """Parameters of the sentences.

    Attributes:
        reasons: most reasons to name, each of another group.
        share: what is smaller than this share of the largest part is not worth a word.
        words: the house's words.
    """

    reasons: int = Field(default=2, ge=1)
    share: float = Field(default=0.2, ge=0, le=1)
    words: WordsConfig = WordsConfig()


def sentence(
    explanation: Explanation, *, about: Subject | None = None, config: SentencesConfig | None = None
) -> str:
    """Say why an answer stands where it stands.

    Args:
        explanation: of the answer.
        about: names of the item's category and author.
        config: how many reasons, and the house's words.

    Example:
        >>> from muma.ranking.explanation import Part
        >>> parts = (
        ...     Part("candidate.markov", "candidates", 0.2, 0.9),
        ...     Part("item.age_s", "item", 9 * 86400.0, -0.4),
        ... )
        >>> sentence(Explanation(0, 5, 0.5, 0.0, parts))
        'Shown first: viewers of your last video went on to it; being 9 days old held it back.'
    """
    config = config or SentencesConfig()
    parts = [part for part in explanation.parts if not SHARED.match(part.name)]
    if not any(part.contribution for part in parts):
        parts = list(explanation.parts)
    ups, downs = _chosen(parts, 1, config, config.reasons), _chosen(parts, -1, config, 1)
    told = _told(ups, downs, about, config)
    return f"Shown {_ordinal(explanation.place)}{': ' + told if told else ''}."


def sentence_above(
    difference: Difference,
    *,
    about_a: Subject | None = None,
    config: SentencesConfig | None = None,
) -> str:
    """Say what lifts one answer above another; negative parts speak for the other.

    Args:
        difference: from `why_above`.
        about_a: names of the category and author of the upper one.
        config: how many reasons, and the house's words.
    """
    config = config or SentencesConfig()
    parts = [Part(p.name, p.group, p.value_a, p.contribution) for p in difference.parts]
    ups, downs = _chosen(parts, 1, config, config.reasons), _chosen(parts, -1, config, 1)
    told = _told(ups, downs, about_a, config)
    verdict = "higher" if difference.gap > 0 else "lower" if difference.gap < 0 else "the same"
    return f"It scores {verdict}{': ' + told if told else ''}."


def sentence_without(what: str, found: WhatIf) -> str:
    """Say where an answer would stand after a change.

    Args:
        what: what was taken away, such as "the freshness boost".
        found: from `what_if`.

    Example:
        >>> sentence_without("the freshness boost", WhatIf({}, 1.0, 0.2, 1, 3))
        'Without the freshness boost: rank 3 instead of 1.'
    """
    if found.rank_after == found.rank_before:
        return f"Without {what}: rank {found.rank_after} as before."
    return f"Without {what}: rank {found.rank_after} instead of {found.rank_before}."


def _chosen(parts: Sequence[Part], sign: int, config: SentencesConfig, most: int) -> list[Part]:
    """The largest parts of one sign, one a group, each worth a word."""
    least = config.share * max((abs(part.contribution) for part in parts), default=0.0)
    total: dict[str, float] = {}
    for part in parts:
        total[part.group] = total.get(part.group, 0.0) + part.contribution
    found: dict[str, Part] = {}
    for part in sorted(parts, key=lambda part: -sign * part.contribution):
        speaks = sign * part.contribution > 0 and abs(part.contribution) >= least
        if speaks and sign * total[part.group] > 0:
            found.setdefault(part.group, part)
    return list(found.values())[:most]


def _told(
    ups: Sequence[Part], downs: Sequence[Part], about: Subject | None, config: SentencesConfig
) -> str:
    clauses, nouns = [], []
    for part in ups:
        phrase = describe(part.name, part.value, words=config.words, about=about)
        (clauses if phrase.clause else nouns).append(phrase.clause or phrase.noun)
    if nouns:
        clauses.append(f"{_and(nouns)} raised it")
    against = [describe(p.name, p.value, words=config.words, about=about).noun for p in downs]
    return "; ".join(
        [*([_and(clauses, ", and ")] if clauses else []), *[f"{noun} held it back" for noun in against]]
    )  # fmt: skip


def _and(texts: Sequence[str], word: str = " and ") -> str:
    return word.join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]


def _ordinal(place: int) -> str:
    if place < len(ORDINALS):
        return ORDINALS[place]
    n = place + 1
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
