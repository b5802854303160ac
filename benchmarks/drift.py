"""Drift checks: false alarms, events until drift is found, and what a check costs.

    python benchmarks/drift.py --json
    python benchmarks/drift.py --quick --json

1. `false_alarm_rate`: checks that alarm in a world without drift, each against a reference of its own
   (20 features, 10,000 reference events, 2,000 current ones, 10 a user; configured rate 0.05), with the
   exact 95 % interval;
2. `delay_*`: events until the first alarm in windows of 500, median and 90th percentile, by shift;
   `delay_none` is the same stream without drift: how long until a false alarm;
3. `check_ms`: 20,000 rows of 100 features with attributions and labels; `first_check_ms` also makes the
   thresholds of that window size, `fit_ms` learns the reference;
4. `kuairand_*`: two random halves of the users of the bundled log, same period, 31 features of users,
   videos and impressions, long_view as label, its rate by tab as probability: nothing drifts, so alarms
   are false (splits share the users, so the interval is only a guide); then the first five days
   against the last, where something may have changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import binomtest

import common
from muma.ranking.drift.delay import detection_delay
from muma.ranking.drift.monitor import DriftConfig, DriftMonitor
from muma.ranking.drift.window import Window
from muma.rng import derive
from muma.testing.drift_world import DriftWorld

DATA = Path(__file__).resolve().parent.parent / "data" / "kuairand-pure"
SHIFTS = {
    "none": DriftWorld(),
    "mean_0.25_sd": DriftWorld(mean=0.25),
    "mean_0.5_sd": DriftWorld(mean=0.5),
    "missing_plus_10_points": DriftWorld(missing=0.1),
    "category_mix_30_percent": DriftWorld(mix=0.3),
    "label_minus_20_percent": DriftWorld(label=-0.2),
    "label_plus_20_percent": DriftWorld(label=0.2),
}
STEP, MOST = 500, 40_000
CATEGORIES = ("tab", "video_type", "upload_type", "music_type", "user_active_degree")


def monitor_of(seed: int, resamples: int) -> DriftMonitor:
    config = DriftConfig(categorical=("f4",), resamples=resamples, seed=seed)
    return DriftMonitor(config).fit(DriftWorld().window(10_000, derive(seed, "reference")))


def false_alarms(checks: int) -> dict[str, float]:
    hits = sum(
        monitor_of(seed, 500).check(DriftWorld().window(2000, derive(seed, "current"))).alarm
        for seed in range(checks)
    )
    return rate("false_alarm", hits, checks)


def rate(name: str, hits: int, checks: int) -> dict[str, float]:
    interval = binomtest(hits, checks).proportion_ci(0.95)
    return {
        f"{name}_rate": hits / checks,
        f"{name}_rate_low": float(interval.low),
        f"{name}_rate_high": float(interval.high),
        f"{name}_checks": checks,
    }


def delays(runs: int, references: int) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in SHIFTS}
    for run in range(runs):
        if run % (runs // references) == 0:
            monitor = monitor_of(1000 + run, 1000)
        for name, world in SHIFTS.items():
            stream = world.stream(STEP, derive(run, "delay", name), most=MOST)
            found[name].append(detection_delay(monitor, stream) or float("inf"))
    # an infinite delay stands as the length of the stream: "at least"
    return {
        f"delay_{name}_{label}": float(min(np.quantile(d, q, method="inverted_cdf"), MOST))
        for name, d in found.items()
        for label, q in (("median", 0.5), ("p90", 0.9))
    }


def cost() -> dict[str, float]:
    world = DriftWorld(features=100)
    reference, current = (world.window(20_000, derive(1, "cost", n)) for n in (0, 1))
    fit, monitor = common.seconds(lambda: DriftMonitor().fit(reference))
    first, _ = common.seconds(lambda: monitor.check(current))
    again, _ = common.seconds(lambda: monitor.check(current), repeats=5)
    return {"fit_ms": fit * 1e3, "first_check_ms": first * 1e3, "check_ms": again * 1e3}


def kuairand() -> tuple[Window, np.ndarray]:
    """All impressions, and the day of each."""
    log = pl.read_parquet(DATA / "log_standard_20220425_20220504.parquet")
    videos = pl.read_parquet(DATA / "video_features_basic_pure.parquet")
    users = pl.read_parquet(DATA / "user_features_pure.parquet")
    table = log.join(videos, on="video_id", how="left").join(users, on="user_id", how="left")
    features = [
        "tab", "duration_ms", "hourmin", "video_type", "upload_type", "server_width", "server_height",
        "music_type", "user_active_degree", "is_live_streamer", "is_video_author", "follow_user_num",
        "fans_user_num", "friend_user_num", "register_days", *[f"onehot_feat{n}" for n in range(16)],
    ]  # fmt: skip
    names = [pl.col(c).cast(pl.String).cast(pl.Categorical).to_physical() for c in CATEGORIES]
    value_NF = table.with_columns(names).select(pl.col(features).cast(pl.Float64)).to_numpy()
    label = pl.col("long_view").cast(pl.Float64)
    return Window(
        columns=tuple(features),
        value_NF=value_NF.astype(np.float32),
        cluster_N=table["user_id"].to_numpy(),
        probability_N=table.select(label.mean().over("tab")).to_numpy()[:, 0],
        label_N=table.select(label).to_numpy()[:, 0],
    ), table["date"].to_numpy()


def real(splits: int) -> dict[str, float]:
    window, date_N = kuairand()
    users = window.cluster()
    hits = 0
    for split in range(splits):
        half = derive(split, "halves").random(users.max() + 1) < 0.5
        config = DriftConfig(categorical=CATEGORIES, resamples=500, seed=split)
        monitor = DriftMonitor(config).fit(window.rows(half[users]))
        hits += monitor.check(window.rows(~half[users])).alarm
    early = date_N <= 20220429
    config = DriftConfig(categorical=CATEGORIES)
    report = DriftMonitor(config).fit(window.rows(early)).check(window.rows(~early))
    return {
        **rate("kuairand_false_alarm", hits, splits),
        "kuairand_days_alarms": sum(f.alarm for f in report.findings),
        "kuairand_days_largest_psi": max(f.value for f in report.of("psi").values()),
    }


def main() -> None:
    """Command line."""
    args = common.parser(__doc__).parse_args()
    quick = args.quick
    result = {
        **false_alarms(30 if quick else 2000),
        **delays(4 if quick else 100, 2 if quick else 10),
        **cost(),
        **real(2 if quick else 60),
    }
    common.emit(result, as_json=args.json)


if __name__ == "__main__":
    main()
