"""A policy for one request: what it judges, it judges once.

Slots are filled one after the other, and each asks the policy anew. A policy that judges a whole request
(`SequentialPolicy`) would do so again for every slot, with equal results; here the judgement is kept
as long as slate and context are the same objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from muma.policy.checks import check_slate, check_taken
from muma.policy.policy import Context, Policy
from muma.policy.sequential import Judgement, SequentialPolicy, Slots
from muma.ranking.ranker import Slate


class JudgedOnce:
    """Answers `expected` and `next_slot` as the policy does; for one request, and one thread.

    Args:
        policy: judges.

    Example:
        >>> from muma.policy.softmax import SoftmaxPolicy
        >>> slate = Slate.plain(np.array([4, 7]), np.array([1.0, 0.0]))
        >>> policy, context = SoftmaxPolicy(), Context("r1", time=0)
        >>> once = JudgedOnce(policy)
        >>> bool((once.next_slot(slate, context, []) == policy.next_slot(slate, context, [])).all())
        True
    """

    def __init__(self, policy: SequentialPolicy) -> None:
        self._policy = policy
        self._held: tuple[Slate, Context, Judgement] | None = None

    def expected(self, slate: Slate, context: Context) -> np.ndarray:
        """See `Policy.expected`."""
        return self._judged(slate, context).expected_N

    def next_slot(
        self, slate: Slate, context: Context, taken: Sequence[int], closed: Sequence[int] = ()
    ) -> np.ndarray:
        """See `Policy.next_slot`."""
        judgement = self._judged(slate, context)
        return judgement.slot(check_taken([*taken, *closed], len(slate)))

    def among(self, slate: Slate, context: Context, open_N: np.ndarray) -> np.ndarray:
        """Chance of each candidate in the next slot among those that are open, float64 [N].

        The same as `next_slot` with all others taken or closed: a judgement does not ask in which order.
        """
        return self._judged(slate, context).slot(np.flatnonzero(~open_N))

    def filled(
        self, slate: Slate, context: Context, open_N: np.ndarray, u_K: np.ndarray
    ) -> Slots | None:
        """All slots at once, where every open candidate may take any; None if the policy cannot."""
        fill = self._judged(slate, context).fill
        return None if fill is None else fill(open_N, u_K)

    def best_first(self, slate: Slate, context: Context) -> np.ndarray:
        """Places in falling order of what the policy expects, int64 [N]."""
        return self._judged(slate, context).greedy_N

    def _judged(self, slate: Slate, context: Context) -> Judgement:
        held = self._held
        if held is None or held[0] is not slate or held[1] is not context:
            check_slate(slate)
            held = self._held = slate, context, self._policy.judge(slate, context)
        return held[2]


def judged_once(policy: Policy) -> Policy:
    """The policy for one request; itself, when it does not judge a request as a whole."""
    kind = type(policy)
    if isinstance(policy, SequentialPolicy) and (
        kind.next_slot is SequentialPolicy.next_slot and kind.expected is SequentialPolicy.expected
    ):
        return cast("Policy", JudgedOnce(policy))  # of a policy only these two are asked
    return policy
