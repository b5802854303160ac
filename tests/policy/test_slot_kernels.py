"""The compiled slots against plain softmax, plain inversion and the slot-by-slot way."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.policy.floor import Floor, floored, rank
from muma.policy.once import JudgedOnce
from muma.policy.policy import Context
from muma.policy.sequential import pick
from muma.policy.slot_kernels import drawn, softmax_slot
from muma.policy.softmax import SoftmaxConfig, SoftmaxPolicy, softmax
from muma.ranking.ranker import Slate
from muma.rng import uniforms
from muma.serving.filling import fill

SCORES = st.lists(st.floats(-30, 30), min_size=1, max_size=40)


@settings(deadline=None)  # the first one compiles
@given(SCORES, st.floats(0.05, 5), st.sampled_from([0.0, 0.001, 0.02, 0.2]), st.data())
def test_softmax_of_a_slot_is_that_of_the_plain_floor(scores, temperature, least, data):
    score_N = np.array(scores)
    item_N = np.random.default_rng(len(scores)).permutation(len(scores))
    order_N, floor = rank(score_N, score_N, item_N), Floor(least=least, mass=0.2)
    taken = data.draw(st.lists(st.sampled_from(range(len(scores))), unique=True))[: len(scores) - 1]
    taken_n = np.array(taken, dtype=np.int64)
    plain = floored(lambda n: softmax(score_N[n], temperature), order_N, floor)
    most = floor.support(len(scores))
    found_N = softmax_slot(score_N, order_N, taken_n, temperature, least, most)
    np.testing.assert_allclose(found_N, plain(taken_n), rtol=1e-12, atol=1e-300)
    np.testing.assert_array_equal(found_N > 0, plain(taken_n) > 0)


@settings(deadline=None)  # the first one compiles
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True))
def test_a_draw_falls_where_plain_inversion_falls(chances, u):
    p_N = np.array(chances)
    if not p_N.sum() > 0:
        p_N[0] = 1.0
    order_N, open_N = np.argsort(-p_N, kind="stable"), p_N > 0
    place, support, best = drawn(p_N, u, order_N, open_N)
    assert (place, support) == (pick(p_N, u), np.count_nonzero(p_N))
    assert best == order_N[open_N[order_N]][0]


@settings(deadline=None)  # the first one compiles
@given(SCORES, st.integers(1, 12), st.sampled_from([0.0, 0.01]), st.data())
def test_all_slots_at_once_are_those_slot_by_slot(scores, count, least, data):
    n = len(scores)
    slate = Slate.plain(np.arange(n)[::-1].copy(), np.array(scores))
    free_N = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    policy = JudgedOnce(SoftmaxPolicy(SoftmaxConfig(floor=Floor(least=least, mass=0.1))))
    context, u_K = Context("r", time=1), uniforms(3, "r", size=count)

    def may(slot, chosen):
        open_N = free_N.copy()
        open_N[chosen] = False
        return open_N

    one = fill(policy, slate, context, u_K, may)
    two = fill(policy, slate, context, u_K, may, free_N=free_N)
    assert len(one) == min(count, free_N.sum())
    for name in ("place_K", "propensity_K", "support_K", "explored_K"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_handful_of_numbers_is_uniform_and_independent_by_name():
    u_RK = np.stack([uniforms(1, f"r{n}", size=8) for n in range(5_000)])
    assert u_RK.min() >= 0
    assert u_RK.max() < 1
    counts = np.histogram(u_RK, bins=20, range=(0, 1))[0]
    expected = u_RK.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square with 19 degrees, .999
    correlation = np.corrcoef(u_RK.T) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(u_RK))
    assert not np.array_equal(uniforms(1, "a", size=2), uniforms(2, "a", size=2))
