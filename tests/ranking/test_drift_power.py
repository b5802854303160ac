"""False alarms of a world without drift, and how soon drift is found."""

import numpy as np
import pytest
from scipy.stats import binomtest

from muma.errors import NotFittedError
from muma.ranking.drift.delay import detection_delay
from muma.ranking.drift.monitor import DriftConfig, DriftMonitor
from muma.rng import derive
from muma.testing.drift_world import DriftWorld

SHIFTS = {
    "mean_half": {"mean": 0.5},
    "mean_quarter": {"mean": 0.25},
    "missing": {"missing": 0.1},
    "mix": {"mix": 0.3},
    "label": {"label": 0.2},
}


def monitor_of(seed, rows=6000, resamples=200):
    config = DriftConfig(categorical=("f4",), resamples=resamples, seed=seed)
    return DriftMonitor(config).fit(DriftWorld().window(rows, derive(seed, "reference")))


def false_alarms(checks, **sizes):
    """Each check has a reference of its own, so that checks are independent."""
    return sum(
        monitor_of(seed, **sizes).check(DriftWorld().window(1500, derive(seed, "now"))).alarm
        for seed in range(checks)
    )


def test_false_alarms_are_as_rare_as_configured():
    found = binomtest(false_alarms(60), 60)
    assert found.proportion_ci(0.99).low <= 0.05
    assert found.proportion_estimate <= 0.15


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_configured_in_many_checks():
    found = binomtest(false_alarms(1000, resamples=500), 1000)
    assert found.proportion_ci(0.99).low <= 0.05
    assert found.proportion_estimate <= 0.075


@pytest.mark.parametrize("shift", SHIFTS)
def test_drift_is_found_within_a_few_thousand_events(shift):
    monitor, delays = monitor_of(3), []
    for run in range(6):
        stream = DriftWorld(**SHIFTS[shift]).stream(1000, derive(run, shift), most=20_000)
        delays.append(detection_delay(monitor, stream) or np.inf)
    assert np.median(delays) <= 4000


def test_larger_drift_is_found_sooner():
    monitor = monitor_of(4)
    found = [
        np.mean(
            [
                detection_delay(
                    monitor, DriftWorld(mean=m).stream(500, derive(run, "size"), most=20_000)
                )
                or 20_000
                for run in range(8)
            ]
        )
        for m in (0.15, 0.6)
    ]
    assert found[1] < found[0]


def test_a_stream_that_ends_first_gives_none_and_is_read_no_further_than_needed():
    monitor, world = monitor_of(5), DriftWorld(mean=1.0)
    assert detection_delay(monitor, []) is None
    stream = world.stream(1000, derive(5, "lazy"), most=5000)
    assert detection_delay(monitor, stream) == 1000
    assert len(list(stream)) == 4
    with pytest.raises(NotFittedError):
        detection_delay(DriftMonitor(), world.stream(1000, derive(5, "lazy"), most=1000))
