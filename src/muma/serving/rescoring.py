"""A past answer under other models: with what chance would each candidate have taken each of its slots.

Candidates and their features are those that were kept, the slots before are filled as they were, rules and
policy are today's. What another model's own sources would have proposed is not seen here.

Shape: N candidates in the order of the evidence, K slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.errors import DataError
from muma.policy.arms import ArmPolicy
from muma.policy.once import judged_once
from muma.policy.policy import Context, Policy
from muma.serving.bundle import LISTS, Bundle
from muma.serving.engine import Versions
from muma.serving.filling import slot_chances
from muma.serving.recommending import Evidence
from muma.serving.rules.ruling import Ruling
from muma.serving.slates import boosted, kept_slate


@dataclass(frozen=True)
class Rescored:
    """An answer under some models.

    Attributes:
        place_K: where in the evidence the item of each slot stands, int64 [K].
        chance_KN: probability of each candidate in each slot, float64 [K, N]; rows sum to 1.
        score_N: log-odds by these models, float64 [N].
    """

    place_K: np.ndarray
    chance_KN: np.ndarray
    score_N: np.ndarray


def can_rescore(bundle: Bundle, evidence: Evidence) -> bool:
    """Whether the ranker of lists reads the features that were kept."""
    ranker = bundle.rankers.get(LISTS)
    return ranker is not None and len(evidence.item_N) > 1 and ranker.columns == evidence.columns


def rescored(bundle: Bundle, evidence: Evidence, versions: Versions, policy: Policy) -> Rescored:
    """Ask again.

    The slots end before the first one that today's rules would not have given to its item.

    Args:
        bundle: the models.
        evidence: of a past answer; `can_rescore` it.
        versions: facts and rules.
        policy: draws the slots.
    """
    ask = evidence.ask
    if isinstance(policy, ArmPolicy) and evidence.arm_NW is not None:
        arms = evidence.arm_NW, np.asarray(evidence.arm_total_1W)
        policy, _ = policy.held(evidence.item_N, arms)
    policy = judged_once(policy)
    ruling = versions.rules.ruling(ask, versions.facts)
    slate = kept_slate(bundle, evidence.item_N, evidence.value_NF, evidence.columns)
    slate, _ = boosted(slate, ruling.boosts(slate.item_N))
    by_item_N = np.argsort(evidence.item_N, kind="stable")
    kept_N = by_item_N[np.searchsorted(evidence.item_N[by_item_N], slate.item_N)]
    shown = [versions.facts.find(one.item) for one in evidence.answer.items]
    place_of = {int(item): place for place, item in enumerate(slate.item_N)}
    rows: list[np.ndarray] = []
    chosen: list[int] = []
    context, slots = Context(ask.request_id, ask.time), _Slots(ruling, slate.item_N)
    for slot, item in enumerate(shown):
        open_N = slots.open_for(slot, chosen)
        place = place_of.get(item, -1)
        if open_N is None or place < 0 or not open_N[place]:
            break
        chance_N = np.zeros(len(slate))
        chance_N[kept_N] = slot_chances(policy, slate, context, chosen, open_N)
        rows.append(chance_N)
        chosen.append(place)
    score_N = np.zeros(len(slate))
    score_N[kept_N] = slate.score_N
    chance_KN = np.array(rows).reshape(len(rows), len(slate))
    return Rescored(kept_N[chosen] if chosen else np.zeros(0, np.int64), chance_KN, score_N)


class _Slots:
    """Open candidates by slot; None once the rules allow no more."""

    def __init__(self, ruling: Ruling, item_N: np.ndarray) -> None:
        self._slots = ruling.slots(item_N)

    def open_for(self, slot: int, chosen: list[int]) -> np.ndarray | None:
        try:
            open_N = self._slots.open_for(slot, chosen)
        except DataError:
            return None
        return open_N if open_N.any() else None
