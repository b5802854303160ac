"""Rules made ready for a catalogue: which item each is about, kept in step with the items' snapshots.

Shape: R rules, I items, N candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muma.serving.facts import ItemFacts
from muma.serving.rules.rule import Rule


@dataclass(frozen=True)
class Bound:
    """Rules over one snapshot.

    Attributes:
        stamp: of the snapshot.
        fixed_RI: `Rule.fixed` of every rule, boolean [R, I].
    """

    stamp: int
    fixed_RI: np.ndarray

    @classmethod
    def of(cls, rules: Sequence[Rule], facts: ItemFacts) -> Bound:
        """Ask every rule about every item."""
        fixed_RI = np.zeros((len(rules), len(facts)), dtype=bool)
        for row_I, rule in zip(fixed_RI, rules, strict=True):
            row_I[:] = rule.fixed(facts)
        return cls(facts.stamp, fixed_RI)

    def moved(self, rules: Sequence[Rule], facts: ItemFacts) -> Bound:
        """The same rules over another snapshot; only items that changed are asked about again."""
        if facts.stamp == self.stamp:
            return self
        if facts.changed is None or facts.changed[0] != self.stamp:
            return Bound.of(rules, facts)
        row_n = facts.changed[1]
        fixed_RI = np.zeros((len(rules), len(facts)), dtype=bool)
        fixed_RI[:, : self.fixed_RI.shape[1]] = self.fixed_RI
        for row_I, rule in zip(fixed_RI, rules, strict=True):
            row_I[row_n] = rule.fixed(facts, row_n)
        return Bound(facts.stamp, fixed_RI)
