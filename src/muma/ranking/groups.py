"""Which source a feature speaks for: its history, the item, friends, the eyes, the moment.

Rules are data: the first pattern that fits a column's name decides, and a recipe's own come first.
Every column lands in exactly one group, `other` if no rule knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np
from pydantic import Field

from muma.config import Config

RULES: Mapping[str, str] = {
    r"candidate\.interest(\.|$)": "interest",
    r"candidate\.": "candidates",
    r"[a-z_]+\.gaze\.": "gaze",
    r"friends[._]": "social",
    r"[a-z_]+\.session\.|.*\.(open|closed)\d+[a-z]+$": "session",
    r"(clock|context|domain|global)\.|position$": "context",
    r"user_attr\.": "profile",
    r"user(_item|_author|_category|_domain)?\.": "history",
    r"author[._]": "author",
    r"category[._]": "category",
    r"item(_attr|_domain)?\.": "item",
}
"""Regular expression at the start of a column's name -> group, in the order they are tried."""

OTHER = "other"
GROUPS = (*dict.fromkeys(RULES.values()), OTHER)


class GroupsConfig(Config):
    """Parameters of the grouping.

    Attributes:
        rules: shell pattern -> group, tried before the built-in rules, in this order; a name of
            its own makes a new group.
    """

    rules: dict[str, str] = Field(default={})


def group_of(column: str, config: GroupsConfig | None = None) -> str:
    """The group of one column.

    Example:
        >>> group_of("user_category.click.count.7d"), group_of("candidate.interest"), group_of("x")
        ('history', 'interest', 'other')
        >>> group_of("item.age_s", GroupsConfig(rules={"item.age*": "freshness"}))
        'freshness'
    """
    for pattern, group in (config.rules if config else {}).items():
        if fnmatchcase(column, pattern):
            return group
    return _by_rules(column)


@lru_cache(maxsize=100_000)  # a model has the same columns at every request
def _by_rules(column: str) -> str:
    return next((group for rule, group in RULES.items() if re.match(rule, column)), OTHER)


def group_columns(
    columns: Iterable[str], config: GroupsConfig | None = None
) -> dict[str, tuple[str, ...]]:
    """Group -> its columns, both in the order in which they come.

    Example:
        >>> group_columns(["item.age_s", "clock.hour", "item.freshness.1d"])
        {'item': ('item.age_s', 'item.freshness.1d'), 'context': ('clock.hour',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    for column in columns:
        group = group_of(column, config)
        found[group] = (*found.get(group, ()), column)
    return found


def sum_groups(
    phi_NF: np.ndarray, columns: Iterable[str], config: GroupsConfig | None = None
) -> dict[str, np.ndarray]:
    """Attributions added up by group: group -> float64 [N]; together they are the rows' sums.

    Args:
        phi_NF: attributions [N, F], without the base.
        columns: names of the F features.
        config: own rules.
    """
    at: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        at.setdefault(group_of(column, config), []).append(place)
    return {group: phi_NF[:, places].sum(axis=1) for group, places in at.items()}
