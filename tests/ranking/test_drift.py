"""Drift statistics against peers and brute force; the monitor's promises, edges and storage."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import chi2, ks_2samp, wasserstein_distance
from sklearn.linear_model import LogisticRegression

from muma.errors import ArtifactError, ConfigError, DataError, NotFittedError, SchemaError
from muma.ranking.drift.attribution import attribution_shares, wasserstein
from muma.ranking.drift.bins import fit_bins
from muma.ranking.drift.calibration import expected_calibration_error, recalibrate
from muma.ranking.drift.ks import ks_from_counts, ks_test
from muma.ranking.drift.monitor import DriftConfig, DriftMonitor
from muma.ranking.drift.psi import psi
from muma.ranking.drift.ruler import fit_ruler
from muma.ranking.drift.thresholds import Null
from muma.ranking.drift.window import Window
from muma.rng import derive
from muma.testing.drift_world import DriftWorld

values = st.lists(
    st.one_of(st.integers(-3, 3), st.floats(-9, 9), st.just(float("nan"))), max_size=30
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:scipy")  # its p-value of samples of one
@settings(max_examples=100, deadline=None)
@given(values, values)
def test_ks_is_scipys(a, b):
    a, b = np.array(a, dtype=float), np.array(b, dtype=float)
    distance, p = ks_test(a, b)
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if not len(a) or not len(b):
        assert np.isnan([distance, p]).all()
        return
    assert distance == pytest.approx(ks_2samp(a, b, method="asymp").statistic, abs=1e-12)
    assert 0 <= p <= 1


def test_ks_p_value_is_near_scipys_exact_one():
    rng = derive(1, "ks")
    a, b = rng.normal(size=900), rng.normal(0.1, size=700)
    assert ks_test(a, b)[1] == pytest.approx(ks_2samp(a, b, method="exact").pvalue, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(values, values)
def test_ks_of_counts_is_exact_for_few_values(a, b):
    a, b = np.round(np.array(a, dtype=float)), np.round(np.array(b, dtype=float))
    bins = fit_bins(a[:, None], np.zeros(1, bool), grid=60, coarse=10)
    inside = b[np.isnan(b) | np.isin(b, a)]
    count = [np.bincount(bins.codes(v[:, None])[:, 0], minlength=bins.slots) for v in (a, inside)]
    assert [c[-1] for c in count] == [np.isnan(a).sum(), np.isnan(inside).sum()]
    exact = ks_test(a, inside)[0]
    found = ks_from_counts(count[0][:-1], count[1][:-1])
    assert found == pytest.approx(0.0 if np.isnan(exact) else exact)


def test_ks_and_wasserstein_of_counts_are_close_for_many_values():
    rng = derive(2, "fine")
    a, b = rng.normal(size=5000), rng.normal(0.3, 1.2, size=4000)
    bins = fit_bins(a[:, None], np.zeros(1, bool), grid=60, coarse=10)
    a_L, b_L = (np.bincount(bins.codes(v[:, None])[:, 0], minlength=61) for v in (a, b))
    exact = ks_test(a, b)[0]
    assert exact - 1 / 58 <= ks_from_counts(a_L[:-1], b_L[:-1]) <= exact
    width_L = np.zeros(61)
    width_L[:58] = np.diff(bins.edge_FE[0])
    near = wasserstein(a_L, b_L, width_L)
    clipped = wasserstein_distance(a, np.clip(b, a.min(), a.max()))
    assert near == pytest.approx(clipped, rel=0.1)
    assert wasserstein(a_L, a_L, width_L) == 0


def test_psi_is_the_symmetric_divergence():
    p, q = np.array([300.0, 500.0, 200.0, 0.0]), np.array([100.0, 600.0, 290.0, 10.0])
    ps, qs = (p + 0.5) / (p + 0.5).sum(), (q + 0.5) / (q + 0.5).sum()
    divergence = (ps * np.log(ps / qs)).sum() + (qs * np.log(qs / ps)).sum()
    assert psi(p, q) == pytest.approx(divergence)
    assert psi(p, p * 1) == 0
    assert psi(np.zeros(3), np.zeros(3)) == 0
    assert psi(np.append(p, 0), np.append(q, 0)) == pytest.approx(psi(p, q))
    assert np.isfinite(psi(np.array([10, 0]), np.array([0, 10])))


def test_psi_grows_with_bins_over_events_without_drift():
    """Its mean is (C - 1)(1/n + 1/m), which is why a fixed threshold is folklore."""
    rng = derive(3, "psi")
    draw = [rng.multinomial(n, np.full(10, 0.1), size=4000) for n in (2000, 500)]
    assert psi(*draw).mean() == pytest.approx(9 * (1 / 2000 + 1 / 500), rel=0.04)


def test_bins_hold_every_value_and_what_the_reference_never_saw():
    value = np.array([[1.0, 5.0], [1.0, 7.0], [1.0, 5.0], [1.0, np.nan]])
    bins = fit_bins(value, np.array([False, True]), grid=8, coarse=3)
    code = bins.codes(
        np.array(
            [[1.0, 5.0], [0.5, 7.0], [2.0, 6.0], [np.nan, np.nan], [np.inf, np.inf], [-np.inf, 5]]
        )
    )
    below, at, above, missing = code[1, 0], code[0, 0], code[2, 0], code[3, 0]
    assert len({below, at, above, missing}) == 4
    assert code[4, 0] == above
    assert code[5, 0] == below
    assert code[:, 1].tolist() == [0, 1, 7, 8, 7, 0]  # 7: other names, 8: missing
    assert code[3].tolist() == [bins.slots - 1] * 2
    empty = fit_bins(np.full((3, 2), np.nan), np.array([False, True]), grid=8, coarse=3)
    assert (empty.codes(np.full((2, 2), np.nan)) == empty.slots - 1).all()
    assert (empty.codes(np.ones((2, 2))) < empty.slots - 1).all()


def test_coarse_bins_are_equally_full():
    value = derive(4, "bins").normal(size=(6000, 1))
    bins = fit_bins(value, np.zeros(1, bool), grid=60, coarse=10)
    full = np.bincount(bins.coarse_FL[0][bins.codes(value)[:, 0]], minlength=11)
    assert full[-1] == 0
    assert full[:-1].min() > 450
    assert full[:-1].max() < 750


def test_recalibration_is_logistic_regression():
    rng = derive(5, "calibration")
    margin = rng.normal(size=4000)
    label = (rng.random(4000) < expit(0.4 + 0.7 * margin)).astype(float)
    found = recalibrate(expit(margin), label)
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(margin[:, None], label)
    assert found.intercept == pytest.approx(peer.intercept_[0], abs=1e-5)
    assert found.slope == pytest.approx(peer.coef_[0, 0], abs=1e-5)
    assert abs(found.intercept - 0.4) < 4 * found.intercept_error
    assert found.p_value < 1e-6


def test_recalibration_holds_its_level_for_users_with_habits():
    """Rejections of a true null at 5 %: with clusters about 5 %, without too many."""
    rejected = np.zeros(2)
    for trial in range(300):
        rng = derive(trial, "level")
        user = np.repeat(np.arange(150), 8)
        x = rng.normal(size=150)[user]
        p = expit(x)
        # all events of a user fall together four times of five, each calibrated all the same
        together = rng.random(150)[user]
        u = np.where(rng.random(1200) < 0.8, together, rng.random(1200))
        label = (u < p).astype(float)
        rejected += [
            recalibrate(p, label, user).p_value < 0.05,
            recalibrate(p, label).p_value < 0.05,
        ]
    assert rejected[0] / 300 < 0.11
    assert rejected[1] / 300 > 0.3


@pytest.mark.parametrize(
    ("p", "y"),
    [([0.2, 0.3], [1.0, 1.0]), ([0.5, 0.5], [0.0, 1.0]), ([0.1, 0.9], [0.0, 1.0]), ([0.4], [1.0])],
)
def test_recalibration_that_cannot_be_told_is_nan(p, y):
    assert np.isnan(recalibrate(np.array(p), np.array(y)).slope)


def test_calibration_error_and_shares():
    assert expected_calibration_error(
        np.array([10, 30]), np.array([4.0, 6.0]), np.array([2.0, 9.0])
    ) == pytest.approx(5 / 40)
    assert attribution_shares(np.array([1.0, 3.0])).tolist() == [0.25, 0.75]
    assert attribution_shares(np.zeros(2)).tolist() == [0.0, 0.0]


def test_sums_over_blocks_are_sums_over_rows():
    world = DriftWorld()
    window = world.window(600, derive(6, "sums"))
    ruler = fit_ruler(window, np.arange(20) == 4, grid=30, coarse=10)
    block = derive(6, "blocks").integers(0, 7, 600)
    parts, whole = ruler.sums(window, block, 7), ruler.sums(window, block * 0, 1)
    np.testing.assert_allclose(parts.sum(axis=0), whole[0], rtol=1e-4, atol=1e-4)
    other = world.window(500, derive(6, "other"))
    found = ruler.statistics(whole[0], ruler.sums(other, np.zeros(500, int), 1)[0])
    missing = [np.isnan(w.value_NF).mean(axis=0) for w in (window, other)]
    np.testing.assert_allclose(found["missing"], np.abs(missing[1] - missing[0]), atol=1e-6)
    residual = [np.mean(w.label_N - w.probability_N) for w in (window, other)]
    assert found["residual"][0] == pytest.approx(abs(residual[1] - residual[0]), abs=1e-5)
    share = [np.abs(w.part_NF).sum(axis=0) / np.abs(w.part_NF).sum() for w in (window, other)]
    np.testing.assert_allclose(found["share"], np.abs(share[1] - share[0]), atol=1e-6)
    assert np.isnan(found["ks"][4])
    assert not np.isnan(np.delete(found["ks"], 4)).any()


def test_the_limit_is_a_quantile_of_the_maxima():
    null = Null(np.zeros(1), np.ones(1), np.zeros((99, 1)), np.arange(1.0, 100.0))
    assert null.limit(0.05) == 95.0
    assert null.limit(0.001) == 99.0
    assert null.adjusted(np.array([200.0, 95.5, -np.inf]))[:2].tolist() == [0.01, 0.05]


@pytest.fixture(scope="module")
def monitor():
    config = DriftConfig(resamples=300, categorical=("f4",))
    return DriftMonitor(config).fit(DriftWorld().window(6000, derive(7, "reference")))


def test_the_reference_does_not_drift_from_itself(monitor):
    report = monitor.check(DriftWorld().window(6000, derive(7, "reference")))
    assert not report.alarm
    assert report.reasons == ()
    assert all(f.value == pytest.approx(0, abs=1e-6) for f in report.findings if f.kind != "slope")


def test_the_report_names_the_feature_that_moved(monitor):
    report = monitor.check(DriftWorld(mean=0.5).window(3000, derive(7, "moved")))
    assert report.alarm
    for kind in ("psi", "ks", "wasserstein"):
        assert {name for name, f in report.of(kind).items() if f.alarm} == {"f8"}
    assert "f8" in report.reasons[0]
    assert report.of("psi")["f8"].rule_of_thumb in ("moderate", "major")
    assert report.of("ks")["f8"].asymptotic_p < 1e-6
    assert "f4" not in report.of("ks")
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["alarm"] is True
    for finding in report.findings:
        assert finding.alarm == (finding.value > finding.threshold)
        assert not finding.alarm or finding.adjusted <= 0.05 + 2 / 301


def test_labels_alone_can_drift(monitor):
    report = monitor.check(DriftWorld(label=0.4).window(3000, derive(7, "label")))
    assert {f.kind for f in report.findings if f.alarm} >= {"label", "residual"}
    assert not {f.feature for f in report.findings if f.alarm} - {None}
    assert report.recalibration.p_value < 1e-3
    assert sum(report.curves[1].count) == 3000


def test_a_saved_monitor_answers_the_same_and_keeps_no_rows(monitor, tmp_path):
    monitor.save(tmp_path / "m")
    again = DriftMonitor.load(tmp_path / "m")
    window = DriftWorld(mean=0.2).window(2000, derive(7, "again"))
    assert again.check(window) == monitor.check(window)
    with pytest.raises(ArtifactError):
        DriftMonitor.load(tmp_path / "none")


def test_smaller_windows_have_higher_thresholds(monitor):
    rng = derive(7, "size")
    bounds = [
        monitor.check(DriftWorld().window(n, rng)).of("psi")["f0"].threshold for n in (500, 5000)
    ]
    assert bounds[0] > 2 * bounds[1]


def test_thresholds_of_psi_are_those_of_its_distribution_for_independent_rows():
    """(C - 1)(1/n + 1/m) chi2 / (C - 1): thresholds over a whole check lie far in its tail, not beyond it."""
    value = derive(12, "psi").normal(size=(8000, 30))
    columns = tuple(f"f{n}" for n in range(30))
    config = DriftConfig(resamples=400)
    report = DriftMonitor(config).fit(Window(columns, value)).check(Window(columns, value[:4000]))
    bounds = np.array([f.threshold for f in report.of("psi").values()])
    scale = 1 / 8000 + 1 / 4000
    assert (bounds > chi2.isf(0.01, 9) * scale).all()
    assert (bounds < chi2.isf(1e-6, 9) * scale).all()


def test_each_kind_of_shift_is_found_by_the_statistics_made_for_it(monitor):
    for shift, feature, kinds in [
        ({"missing": 0.1}, "f5", ("psi", "missing")), ({"mix": 0.3}, "f4", ("psi", "wasserstein")),
    ]:  # fmt: skip
        report = monitor.check(DriftWorld(**shift).window(6000, derive(7, feature)))
        for kind in kinds:
            assert report.of(kind)[feature].alarm, (shift, kind)


def test_rows_that_hang_together_raise_thresholds():
    world = DriftWorld(habit=0.9)
    window = world.window(6000, derive(8, "habit"))
    alone = Window(window.columns, window.value_NF)
    together = Window(window.columns, window.value_NF, window.cluster_N)
    bound = [
        DriftMonitor(DriftConfig(resamples=200)).fit(w).check(w).of("ks")["f0"].threshold
        for w in (alone, together)
    ]
    assert bound[1] > 1.5 * bound[0]


def test_a_constant_feature_that_changes_alarms_and_one_odd_value_does_not():
    rng = derive(9, "constant")
    columns = ("constant", "noise")
    value = np.stack([np.ones(4000), rng.normal(size=4000)], axis=1)
    monitor = DriftMonitor(DriftConfig(resamples=200)).fit(Window(columns, value))
    current = np.stack([np.ones(2000), rng.normal(size=2000)], axis=1)
    assert not monitor.check(Window(columns, current)).of("psi")["constant"].alarm
    for odd in (7.0, -7.0, np.nan, np.inf):
        changed = current.copy()
        changed[0, 0] = odd
        report = monitor.check(Window(columns, changed))
        assert not any(f.alarm for f in report.findings if f.feature == "constant")
        changed[:400, 0] = odd
        report = monitor.check(Window(columns, changed))
        assert any(f.alarm for f in report.findings if f.feature == "constant")


def test_one_row_and_one_feature_are_enough_to_check():
    rng = derive(10, "one")
    monitor = DriftMonitor(DriftConfig(resamples=50)).fit(Window(("a",), rng.normal(size=(100, 1))))
    report = monitor.check(Window(("a",), np.zeros((1, 1))))
    assert (report.rows, report.clusters, len(report.findings)) == (1, 1, 3)
    assert [f.feature for f in report.findings] == ["a", "a", "a"]
    assert report.recalibration is None


def test_wrong_windows_are_refused(monitor):
    ones, two = np.ones((2, 1)), np.ones(2)
    for wrong, message in [
        ({"value_NF": np.ones((0, 1))}, "N >= 1"),
        ({"value_NF": np.ones((2, 3))}, "must be"),
        ({"value_NF": ones, "part_NF": np.ones((2, 2))}, "base"),
        ({"value_NF": ones, "part_NF": ones * np.nan}, "finite"),
        ({"value_NF": ones, "cluster_N": np.ones(3)}, "cluster_N"),
        ({"value_NF": ones, "label_N": two}, "together"),
        ({"value_NF": ones, "label_N": two * 2, "probability_N": two}, "0 or 1"),
        ({"value_NF": ones, "label_N": two, "probability_N": two * np.nan}, "0 ... 1"),
    ]:
        with pytest.raises(DataError, match=message):
            Window(("a",), **wrong)
    window = DriftWorld().window(100, derive(11, "wrong"))
    with pytest.raises(NotFittedError, match="fit"):
        DriftMonitor().check(window)
    with pytest.raises(DataError, match="clusters"):
        DriftMonitor().fit(window)
    with pytest.raises(ConfigError, match="zz"):
        DriftMonitor(DriftConfig(categorical=("zz",))).fit(window)
    with pytest.raises(SchemaError, match="columns differ"):
        monitor.check(Window(("a",), ones))
    with pytest.raises(SchemaError, match="part_NF is missing"):
        monitor.check(Window(window.columns, window.value_NF))
