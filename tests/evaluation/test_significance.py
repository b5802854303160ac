import itertools

import numpy as np
import pytest
import scipy.stats

from muma.errors import ConfigError
from muma.evaluation.significance import compare, holm, sign_flip_p, wilcoxon_p
from muma.rng import derive


def by_enumeration(difference_B):
    signs = np.array(list(itertools.product([-1, 1], repeat=len(difference_B))))
    sums = np.abs(signs @ difference_B)
    return np.mean(sums >= abs(difference_B.sum()) - 1e-9)


@pytest.mark.parametrize("n_users", [1, 2, 5, 9])
def test_small_samples_are_exact(n_users):
    for trial in range(5):
        difference_B = derive(trial, "exact", n_users).integers(-3, 5, n_users) / 10
        if not difference_B.any():
            continue
        got = sign_flip_p(np.append(difference_B, np.nan), seed=1)
        assert got == pytest.approx(by_enumeration(difference_B), abs=1e-12)


def test_drawn_patterns_approach_the_exact_value():
    difference_B = derive(2, "mc").normal(0.4, 1, 14)
    exact = by_enumeration(difference_B)
    drawn = sign_flip_p(difference_B, seed=3, n_permutations=16_000)  # below 2^14 = 16,384
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 16_000))
    assert sign_flip_p(difference_B, seed=3, n_permutations=2**14) == pytest.approx(exact)


def test_agrees_with_the_t_test_on_many_users():
    difference_B = derive(3, "t").normal(0.06, 1, 900)
    wanted = scipy.stats.ttest_1samp(difference_B, 0).pvalue
    assert sign_flip_p(difference_B, seed=1) == pytest.approx(wanted, abs=0.02)


def test_p_is_uniform_under_the_null():
    rng = derive(4, "null")
    p = [sign_flip_p(rng.normal(size=30), seed=s, n_permutations=400) for s in range(300)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.0475 / 300))


def by_closed_form(p):
    """adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j))."""
    order, m = np.argsort(p), len(p)
    out = np.empty(m)
    for i in range(m):
        out[order[i]] = max(min(1.0, (m - j) * p[order[j]]) for j in range(i + 1))
    return out


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_the_closed_form(seed):
    p_M = derive(seed, "holm").random(12) ** 4
    np.testing.assert_allclose(holm(p_M), by_closed_form(p_M), atol=1e-15)
    holes = np.insert(p_M, 3, np.nan)
    np.testing.assert_allclose(np.delete(holm(holes), 3), by_closed_form(p_M), atol=1e-15)
    assert np.isnan(holm(holes)[3])


def test_edges():
    assert sign_flip_p(np.zeros(4), seed=1) == 1.0
    assert np.isnan(sign_flip_p(np.array([np.nan]), seed=1))
    assert wilcoxon_p(np.zeros(4)) == 1.0
    assert np.isnan(wilcoxon_p(np.array([])))
    assert holm(np.array([])).shape == (0,)
    with pytest.raises(ConfigError):
        sign_flip_p(np.ones(2), seed=1, n_permutations=0)


@pytest.mark.parametrize("test", ["sign_flip", "wilcoxon"])
def test_compare(test):
    rng = derive(5, "compare")
    base_B = rng.random(300)
    base_B[:10] = np.nan
    values = {
        "base": base_B,
        "better": base_B + 0.05 + rng.normal(0, 0.05, 300),
        "same": base_B + rng.normal(0, 0.2, 300),
        "copy": base_B,
    }
    found = compare(values, "base", seed=1, test=test)
    assert list(found) == ["better", "same", "copy"]
    assert found["better"].separable
    assert found["better"].difference.n == 290
    assert found["better"].p_holm < 0.01
    assert found["better"].p <= found["better"].p_holm <= 3 * found["better"].p + 1e-12
    assert not found["copy"].separable
    assert found["copy"].p == 1.0
    assert compare(values, "base", seed=1, test=test) == found
    with pytest.raises(ConfigError, match="baseline 'none'"):
        compare(values, "none", seed=1)


def test_drawn_p_is_never_zero():
    assert sign_flip_p(np.full(60, 1.0), seed=1, n_permutations=99) == 0.01
