"""A policy that judges a request once says what it says when it judges anew for every slot."""

import inspect

import numpy as np
import pytest

from muma.errors import DataError
from muma.policy.once import JudgedOnce, judged_once
from muma.policy.policy import Context
from muma.policy.sequential import SequentialPolicy
from muma.policy.softmax import SoftmaxPolicy
from muma.ranking.ranker import Slate
from muma.testing.discovery import classes_in


def ready(kind):
    return not inspect.isabstract(kind) and issubclass(kind, SequentialPolicy)


KINDS = sorted(
    (kind for kind in classes_in("muma.policy") if ready(kind)), key=lambda kind: kind.__name__
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_same_chances(kind):
    rng = np.random.default_rng(5)
    policy = kind()
    slate = Slate.plain(rng.permutation(40), rng.normal(size=40))
    context = Context("r", time=10)
    once = judged_once(policy)
    assert isinstance(once, JudgedOnce) == (
        kind.next_slot is SequentialPolicy.next_slot and kind.expected is SequentialPolicy.expected
    )
    np.testing.assert_array_equal(once.expected(slate, context), policy.expected(slate, context))
    taken = []
    for place in rng.permutation(40)[:12].tolist():
        closed = [n for n in range(5) if n not in taken]
        np.testing.assert_array_equal(
            once.next_slot(slate, context, taken, closed),
            policy.next_slot(slate, context, taken, closed),
        )
        taken.append(place)


def test_there_are_such_policies():
    assert SoftmaxPolicy in KINDS
    assert isinstance(judged_once(SoftmaxPolicy()), JudgedOnce)


def test_another_slate_is_judged_anew_and_checked():
    context, once = Context("r", time=10), judged_once(SoftmaxPolicy())
    one, two = (Slate.plain(np.arange(3), np.array(s)) for s in ([3.0, 0, 0], [0.0, 0, 3]))
    assert once.next_slot(one, context, []).argmax() == 0
    assert once.next_slot(two, context, []).argmax() == 2
    with pytest.raises(DataError, match="is nan"):
        once.expected(Slate.plain(np.arange(2), np.array([0.5, np.nan])), context)
    with pytest.raises(DataError, match="each must be a place, once"):
        once.next_slot(one, context, [1, 1])
