import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import rankdata, spearmanr

from muma.errors import DataError, NotFittedError
from muma.evaluation.metric import Context, RankedLists
from muma.evaluation.metrics.watch import (
    DurationQuantile,
    DurationQuantileConfig,
    WatchGain,
    WatchGainConfig,
    completion,
    watch_gain,
)
from muma.rng import derive


def test_quantile_is_the_mid_rank_within_the_bin():
    rng = derive(1, "watch")
    watch_N, duration_N = rng.integers(0, 9, 200), rng.integers(1, 5, 200)
    model = DurationQuantile(DurationQuantileConfig(n_bins=100)).fit(watch_N, duration_N)
    quantile_N = model.transform(watch_N, duration_N)
    for duration in range(1, 5):  # with many bins, each duration has its own
        here = duration_N == duration
        wanted = (rankdata(watch_N[here]) - 0.5) / here.sum()
        np.testing.assert_allclose(quantile_N[here], wanted, atol=1e-12)


def test_completion_favours_short_videos_and_the_quantile_does_not():
    """A world where interest and duration are independent by construction.

    Watch time grows slower than duration, as it does in practice, so completion falls with it.
    """
    rng = derive(2, "world")
    duration_N = np.exp(rng.uniform(np.log(5e3), np.log(3e5), 40_000))
    interest_N = rng.normal(size=40_000)
    watch_N = 40 * duration_N**0.5 * np.exp(0.5 * interest_N)
    completion_N = completion(watch_N, duration_N)
    quantile_N = DurationQuantile().fit(watch_N, duration_N).transform(watch_N, duration_N)

    def bias(value_N):
        return spearmanr(value_N, duration_N).statistic

    assert bias(completion_N) < -0.5
    assert bias(watch_N) > 0.5
    assert abs(bias(quantile_N)) < 0.02
    assert spearmanr(quantile_N, interest_N).statistic > 0.98
    short_N = duration_N < np.median(duration_N)
    assert completion_N[short_N].mean() > 1.3 * completion_N[~short_N].mean()
    assert abs(quantile_N[short_N].mean() - quantile_N[~short_N].mean()) < 0.01


def test_missing_values_are_nan():
    watch = np.array([1.0, np.nan, 3.0, 4.0])
    duration = np.array([2.0, 2.0, 0.0, np.nan])
    wanted = [False, True, True, True]
    assert np.isnan(completion(watch, duration)).tolist() == wanted
    model = DurationQuantile().fit(watch, duration)
    assert np.isnan(model.transform(watch, duration)).tolist() == wanted


def test_unseen_durations_use_the_nearest_bin():
    model = DurationQuantile(DurationQuantileConfig(n_bins=2))
    model.fit(np.array([1, 2, 10, 20]), np.array([10, 10, 100, 100]))
    assert model.transform(np.array([2, 20]), np.array([1, 9999])).tolist() == [0.75, 0.75]


@pytest.mark.parametrize("n_bins", [1, 3, 7])
def test_bins_have_equal_mass(n_bins):
    model = DurationQuantile(DurationQuantileConfig(n_bins=n_bins))
    model.fit(np.arange(700), np.arange(1, 701))
    sizes = [len(part) for part in model._watch_ms]
    assert len(sizes) == n_bins
    assert max(sizes) - min(sizes) <= 1 + n_bins // 2


def test_watch_gain_reductions():
    gains = csr_array(
        (np.array([0.2, 0.6, 0.9, 0.0]), np.array([0, 1, 2, 0]), np.array([0, 3, 3, 4])),
        shape=(3, 4),
    )
    item_BK = np.array([[3, 1, 0], [0, 1, 2], [0, 1, -1]])
    lists = RankedLists(item_BK, csr_array(np.ones((3, 4))), Context(watch_gain=gains))
    nan = np.nan
    expected = {"sum": [0.6, nan, 0.0], "mean": [0.6, nan, 0.0], "share": [0.6 / 1.5, nan, nan]}
    for reduce, wanted in expected.items():
        np.testing.assert_allclose(watch_gain(lists, k=2, reduce=reduce), wanted, atol=1e-12)
    one = WatchGain(WatchGainConfig(k=1)).per_user(lists)
    np.testing.assert_allclose(one, [0.0, nan, 0.0])
    assert np.isnan(watch_gain(lists, k=1, reduce="mean")[0])


def test_refuses():
    with pytest.raises(NotFittedError):
        DurationQuantile().transform(np.array([1]), np.array([1]))
    with pytest.raises(DataError, match="no view"):
        DurationQuantile().fit(np.array([1.0]), np.array([0.0]))
    with pytest.raises(DataError, match="equal"):
        DurationQuantile().fit(np.array([1.0]), np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="watch_gain"):
        watch_gain(RankedLists(np.array([[0]]), csr_array([[1.0]])), k=1)
