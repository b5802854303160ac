"""The page of a drift check: drawn with and without each part; its order and its bars."""

import numpy as np
import pytest

from muma.ranking.drift.monitor import DriftConfig, DriftMonitor
from muma.ranking.drift.window import Window
from muma.report.drift import Histogram, draw_drift, worst
from muma.rng import derive
from muma.testing.drift_world import DriftWorld


@pytest.fixture(scope="module")
def checked():
    monitor = DriftMonitor(DriftConfig(resamples=200, categorical=("f4",)))
    monitor.fit(DriftWorld().window(6000, derive(1, "reference")))
    window = DriftWorld(mean=0.5, missing=0.1, mix=0.3, label=0.3).window(3000, derive(1, "now"))
    return monitor, window, monitor.check(window).to_json()


def test_the_page_is_drawn(checked, tmp_path):
    monitor, window, report = checked
    names = [f["feature"] for f in worst(report, "psi", 3)]
    assert set(names) == {"f4", "f5", "f8"}
    histograms = {name: Histogram(*monitor.histogram(window, name)) for name in names}
    for histogram in histograms.values():
        assert histogram.reference_L.sum() == 6000
        assert histogram.current_L.sum() == 3000
        assert len(histogram.reference_L) == len(histogram.edge_E) + 2
    missing = histograms["f5"].current_L[-1]
    assert missing == np.isnan(window.value_NF[:, 5]).sum()
    draw_drift(report, tmp_path / "d.png", title="Week 12", histograms=histograms)
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "d.png").stat().st_size > 30_000


def test_findings_come_worst_first(checked):
    ratios = [f["value"] / f["threshold"] for f in worst(checked[2], "psi", 20)]
    assert ratios == sorted(ratios, reverse=True)
    assert len(ratios) == 20


def test_a_check_of_values_alone_is_drawn(tmp_path):
    rng = derive(2, "alone")
    value = np.stack([np.ones(300), rng.normal(size=300)], axis=1)
    window = Window(("constant", "b"), value)
    monitor = DriftMonitor(DriftConfig(resamples=50)).fit(window)
    report = monitor.check(window).to_json()
    draw_drift(report, tmp_path / "a.png", title="t")
    histogram = {"constant": Histogram(*monitor.histogram(window, "constant"))}
    draw_drift(report, tmp_path / "b.png", title="t", histograms=histogram)
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in "ab")
