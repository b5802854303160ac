"""Cleaning rules against plain-Python references, and what validation refuses and why."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from muma.errors import SchemaError
from muma.events.cleaning.bots import Bots, BotsConfig
from muma.events.cleaning.cleaning import Cleaning, CleaningConfig
from muma.events.cleaning.duplicates import Duplicates
from muma.events.cleaning.esd import EsdConfig, EsdOutliers, generalised_esd
from muma.events.cleaning.impossible import Impossible, ImpossibleConfig
from muma.events.cleaning.iqr import IqrConfig, IqrOutliers
from muma.events.cleaning.loops import Loops, LoopsConfig
from muma.events.cleaning.mad import MadConfig, MadOutliers
from muma.events.cleaning.stuck import Stuck, StuckConfig
from muma.events.event import Batch, Position
from muma.events.ingest import ingest
from muma.events.log_folder import open_log, quarantine
from muma.events.runs import MINUTE
from muma.events.validate import validate
from muma.rng import derive

T0 = 28_000_000 * MINUTE  # on a whole minute
RULES = ["impossible", "duplicates", "stuck", "bots", "mad", "iqr", "esd", "loops"]


def removed(rule, frame):
    """Row numbers that a rule takes out."""
    out = np.zeros(frame.height, dtype=bool)
    for removal in rule.apply(frame).removals:
        out |= removal.remove_R
    return frame.filter(pl.Series(out))["row"].to_list()


# -- validation ---------------------------------------------------------------------------------

GOOD, MISSING = None, "missing"
CELLS = {  # column -> values with the rule that refuses them (None: none does)
    "user_id": [("7", GOOD), (" a ", GOOD), (None, MISSING), ("", "type"), ("x" * 513, "type")],
    "item_id": [("i", GOOD), (None, MISSING), ("a\0", "type")],
    "kind": [("click", GOOD), ("Click", "type"), (None, "nullability"), ("", "type")],
    "timestamp": [("0", GOOD), (f" {T0}", GOOD), ("1.4", GOOD), ("-1", "min"), ("x", "type"),
                  (None, "nullability"), (str(2**62 + 1), "max"), (str(2**63), "type")],
    "dwell_ms": [("5", GOOD), (None, GOOD), ("1e3", GOOD), ("-3", "min"), ("2147483648", "type"),
                 ("nan", "type"), ("1,5", "type")],
    "propensity": [("1", GOOD), (".5", GOOD), (None, GOOD), ("0", "min_exclusive"), ("1.01", "max"),
                   ("nan", "nan"), ("-inf", "inf"), ("no", "type")],
    "value": [("-3", GOOD), ("1e300", GOOD), ("inf", "inf"), ("NaN", "nan"), ("-", "type")],
    "looped": [("true", GOOD), ("FALSE", GOOD), ("1", GOOD), (None, GOOD), ("2", "type")],
}  # fmt: skip
ROW = st.tuples(*(st.sampled_from([v[0]] * 6 + v) for v in CELLS.values()))


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30))
def test_validation_keeps_or_says_why(table):
    data = {
        name: pl.Series([row[at][0] for row in table], dtype=pl.String)
        for at, name in enumerate(CELLS)
    }
    numbers = list(range(1, len(table) + 1))
    frame = pl.DataFrame({**data, "row": numbers}).with_columns(domain=pl.lit("news"))
    checked = validate(Batch("events", frame, "f", Position(0, len(table))))
    assert checked.kept.height + checked.refused.height == len(table)
    refused = {row["row"]: row for row in checked.refused.iter_rows(named=True)}
    assert len(refused) == checked.refused.height
    for number, row in zip(numbers, table, strict=True):
        faults = {name: rule for name, (_, rule) in zip(CELLS, row, strict=True) if rule}
        assert (number in refused) == bool(faults)
        if faults:
            found = refused[number]
            assert found["rule"] == faults[found["column"]]
            assert found["file"] == "f"
            conversion = [c for c, rule in faults.items() if rule in (MISSING, "type")]
            assert found["column"] == [*conversion, *faults][0]
            if found["rule"] in (MISSING, "type"):
                assert found["value"] == data[found["column"]][number - 1]
    kept = checked.kept
    assert kept.schema["timestamp"] == pl.Int64
    assert kept.schema["dwell_ms"] == pl.Int32
    assert kept["user_id"].str.strip_chars().equals(kept["user_id"])
    ok = (pl.col("propensity") > 0) & (pl.col("propensity") <= 1) | pl.col("propensity").is_null()
    assert kept.select(ok.all()).item()
    assert kept.select((pl.col("timestamp") >= 0).all()).item()
    assert kept["value"].is_finite().all()


def test_typed_values_convert_or_are_refused():
    def kept(column, series):
        frame = pl.DataFrame(
            {"user_id": [1] * len(series), "item_id": 1, "timestamp": 1}, strict=False
        )
        frame = frame.with_columns(
            series.alias(column), domain=pl.lit("news"), kind=pl.lit("click"), row=pl.lit(1)
        )
        checked = validate(Batch("events", frame, "f", Position(0, 1)))
        return checked.kept[column].to_list()

    when = pl.Series(["2024-01-01"]).str.to_datetime(time_zone="Asia/Tokyo")
    assert kept("timestamp", when) == [1_704_034_800_000_000]
    assert kept("dwell_ms", when) == []
    assert kept("dwell_ms", pl.Series([5_000_000]).cast(pl.Duration("us"))) == [5_000]
    assert kept("dwell_ms", pl.Series([1.5, 2.5e9, math.nan])) == [2]
    assert kept("dwell_ms", pl.Series([True])) == []
    assert kept("looped", pl.Series([0, 1, 2])) == [False, True]
    assert kept("request_id", pl.Series([7])) == ["7"]
    assert kept("value", pl.Series([b"x", None])) == [None]


def test_columns_that_are_absent_or_unknown():
    frame = pl.DataFrame({"user_id": [1], "row": [1]})
    with pytest.raises(SchemaError, match=r"f.csv: .*lacks.*item_id, domain, kind, timestamp"):
        validate(Batch("events", frame, "f.csv", Position(0, 1)))
    with pytest.raises(SchemaError, match=r"undeclared column.*mood.*attr_<name>"):
        validate(Batch("users", frame.with_columns(mood=1), "f", Position(0, 1)))


# -- rules against references -------------------------------------------------------------------

EVENT = st.fixed_dictionaries(
    {
        "user_id": st.integers(0, 2),
        "item_id": st.integers(0, 1),
        "kind": st.sampled_from(["click", "impression"]),
        "timestamp": st.integers(0, 5).map(lambda k: T0 + k * MINUTE // 2),
        "dwell_ms": st.sampled_from([None, 10, 20]),
        "time_inferred": st.sampled_from([None, False, True]),
        "ctx_x": st.sampled_from([None, "a"]),
    }
)
LOG = st.lists(EVENT, min_size=1, max_size=60).map(
    lambda rows: sorted(rows, key=lambda r: r["timestamp"])
)


def key(row, *free):
    return frozenset((k, v) for k, v in row.items() if k not in free)


@settings(max_examples=100, deadline=None)
@given(LOG)
def test_duplicates(frame_of, rows):
    seen, expected = set(), []
    for number, row in enumerate(rows, 1):
        if key(row) in seen:
            expected.append(number)
        seen.add(key(row))
    assert removed(Duplicates(), frame_of(rows)) == expected


@settings(max_examples=100, deadline=None)
@given(LOG, st.integers(0, 4))
def test_stuck(frame_of, rows, most):
    groups = defaultdict(list)
    for number, row in enumerate(rows, 1):
        if not row["time_inferred"]:
            kept = (row["time_inferred"], row["timestamp"] // MINUTE)
            groups[key(row, "timestamp", "dwell_ms", "time_inferred"), kept].append(number)
    expected = sorted(n for group in groups.values() if len(group) > most for n in group[1:])
    assert removed(Stuck(StuckConfig(max_repeats=most)), frame_of(rows)) == expected


@settings(max_examples=80, deadline=None)
@given(LOG, st.integers(0, 3), st.integers(0, 3), st.integers(1, 3), st.sampled_from([1, 2, 99]))
def test_bots_with_strikes_across_buckets(frame_of, rows, most, shown, strikes, minutes_per_bucket):
    """A reference that walks minute by minute; buckets hold whole minutes."""
    config = BotsConfig(max_per_minute=most, max_impressions_per_minute=shown, strikes=strikes)
    expected = []
    for user in range(3):
        mine = [(n, r) for n, r in enumerate(rows, 1) if r["user_id"] == user]
        by_minute = defaultdict(list)
        for n, r in mine:
            if not r["time_inferred"]:
                by_minute[r["timestamp"] // MINUTE].append((n, r))
        struck = 0
        for minute in sorted(by_minute):
            seen = sum(r["kind"] == "impression" for _, r in by_minute[minute])
            over = seen > shown or len(by_minute[minute]) - seen > most
            if over or struck >= strikes:
                expected += [n for n, _ in by_minute[minute]]
            struck += over
    rule, found = Bots(config), []
    frame = frame_of(rows)
    bucket = (pl.col("timestamp") - T0) // MINUTE // minutes_per_bucket
    for part in (frame.filter(bucket == k) for k in range(3)):
        if part.height:
            found += removed(rule, part)
    assert sorted(found) == sorted(expected)


def test_impossible(frame_of):
    rows = [
        {"timestamp": 0},
        {"timestamp": 631_152_000_000_000 - 1},
        {"timestamp": 631_152_000_000_000, "item_duration_ms": 0},
        {"timestamp": T0, "dwell_ms": 86_400_001},
        {"timestamp": T0, "dwell_ms": 86_400_000, "item_duration_ms": 7 * 86_400_000 + 1},
        {"timestamp": T0 + 300_000_000},
        {"timestamp": T0 + 300_000_001, "dwell_ms": 86_400_001, "item_duration_ms": 9},
    ]
    verdict = Impossible(now_us=T0).apply(frame_of(rows))
    by_column = [(r.column, (np.flatnonzero(r.remove_R) + 1).tolist()) for r in verdict.removals]
    assert by_column == [("timestamp", [1, 2]), ("timestamp", [7]), ("dwell_ms", [4, 7])]
    assert verdict.frame["item_duration_ms"].to_list() == [None] * 6 + [9]
    assert verdict.changed == 2
    assert removed(Impossible(), frame_of(rows[5:])) == [
        2
    ]  # no clock, no future; dwell stays judged
    zoned = Impossible(ImpossibleConfig(not_before="1990-01-01T02:00:00+02:00"))
    assert removed(zoned, frame_of(rows[1:3])) == [1]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))),
    st.floats(0.5, 3),
)
def test_loops(frame_of, pairs, slack):
    rows = [{"dwell_ms": a, "item_duration_ms": b} for a, b in pairs]
    verdict = Loops(LoopsConfig(slack=slack)).apply(frame_of(rows))
    expected = [None if a is None or not b else a > b * slack for a, b in pairs]
    assert verdict.frame["looped"].to_list() == expected
    assert verdict.changed == sum(map(bool, expected))
    assert not verdict.removals


DWELLS = st.lists(st.integers(0, 2_000_000), min_size=30, max_size=80)


def rows_of(dwells, kind="play"):
    return [{"dwell_ms": d, "kind": kind} for d in dwells]


@settings(max_examples=60, deadline=None)
@given(DWELLS, st.lists(st.integers(0, 2**31 - 1), max_size=20), st.floats(0.5, 6))
def test_mad_in_closed_form(frame_of, early, later, threshold):
    rule = MadOutliers(MadConfig(threshold=threshold))
    rule.fit(frame_of(rows_of(early)))
    x = np.log1p(early)
    middle = np.median(x)
    spread = stats.median_abs_deviation(x, scale="normal")
    gap = np.abs(np.log1p(later) - middle) - threshold * spread
    sure = np.abs(gap) > 1e-6  # scipy's constant differs from ours in the last digits
    expected = np.flatnonzero((gap > 0) & sure & (spread > 0)) + 1
    found = removed(rule, frame_of(rows_of(later)))
    assert [n for n in found if sure[n - 1]] == expected.tolist()
    assert removed(rule, frame_of(rows_of(later, "click"))) == []  # of click nothing was learned


@settings(max_examples=60, deadline=None)
@given(DWELLS, st.lists(st.integers(0, 2**31 - 1), max_size=20), st.floats(0.5, 3))
def test_iqr_in_closed_form(frame_of, early, later, factor):
    rule = IqrOutliers(IqrConfig(factor=factor))
    rule.fit(frame_of(rows_of(early)))
    q1, q3 = np.percentile(np.log1p(early), [25, 75])
    x = np.log1p(later)
    far = (x < q1 - factor * (q3 - q1)) | (x > q3 + factor * (q3 - q1))
    expected = (np.flatnonzero(far & (q3 > q1)) + 1).tolist()
    assert removed(rule, frame_of(rows_of(later))) == expected


def test_bounds_that_cannot_be_learned(frame_of):
    for rule in (MadOutliers(), IqrOutliers(), EsdOutliers()):
        rule.fit(frame_of(rows_of([5] * 40)))
        assert removed(rule, frame_of(rows_of([0, 2**31 - 1]))) == []  # no spread, no bounds
        rule.fit(frame_of(rows_of(range(29))))
        assert removed(rule, frame_of(rows_of([2**31 - 1]))) == []  # too few values


ROSNER = [  # Rosner (1983), the NIST/SEMATECH handbook's example 1.3.5.17.3
    -0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65,
    1.69, 1.70, 1.76, 1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24,
    2.26, 2.35, 2.37, 2.40, 2.47, 2.54, 2.62, 2.64, 2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59,
    3.68, 4.30, 4.64, 5.34, 5.42, 6.01,
]  # fmt: skip


def esd_directly(values, most, alpha):
    """The definition, recomputing mean and deviation at every step."""
    x, found, count = list(values), [], 0
    n = len(x)
    for i in range(1, min(most, n - 2) + 1):
        mean, deviation = np.mean(x), np.std(x, ddof=1)
        if deviation == 0:
            break
        at = int(np.argmax(np.abs(np.array(x) - mean)))
        statistic = abs(x[at] - mean) / deviation
        found.append(x.pop(at))
        t = stats.t.ppf(1 - alpha / (2 * (n - i + 1)), n - i - 1)
        if statistic > (n - i) * t / math.sqrt((n - i - 1 + t * t) * (n - i + 1)):
            count = i
    middle = np.median(values)
    low = sum(v < middle for v in found[:count])
    return low, count - low


def test_esd_on_rosners_example():
    assert len(ROSNER) == 54
    assert generalised_esd(np.array(ROSNER), max_outliers=10, alpha=0.05) == (0, 3)
    assert esd_directly(ROSNER, 10, 0.05) == (0, 3)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 60), st.integers(0, 6), st.sampled_from([0.001, 0.05]))
def test_esd_against_the_definition(seed, n, outliers, alpha):
    rng = derive(seed, "esd")
    x = rng.normal(size=n)
    x[:outliers] += rng.choice([-9, 9], size=outliers)[: len(x[:outliers])]
    most = n // 3
    assert generalised_esd(x, max_outliers=most, alpha=alpha) == esd_directly(x, most, alpha)


def test_esd_rule_keeps_exactly_what_the_test_keeps(frame_of):
    rng = derive(3, "esd rule")
    dwells = np.r_[np.exp(rng.normal(8, 0.5, size=400)).astype(int), [1, 2, 9_000_000]]
    rule = EsdOutliers(EsdConfig(enabled=True, max_share=0.05))
    rule.fit(frame_of(rows_of(dwells.tolist())))
    low, high = generalised_esd(np.log1p(dwells), max_outliers=20, alpha=0.001)
    assert (low, high) == (2, 1)
    assert removed(rule, frame_of(rows_of(dwells.tolist()))) == [401, 402, 403]


# -- all rules together -------------------------------------------------------------------------


def dirty_csv(path, *, tail=False, n=600):
    """Duplicates, a bot, a stuck client, odd dwells; `tail` changes the last 30 % by time."""
    lines = ["user,item,ts,dwell"]
    rng = derive(5, "dirty")
    start = T0 // 1_000_000
    for k in range(n):
        late = tail and k >= 0.7 * n
        usual = int(np.exp(rng.normal(8, 0.3)))
        dwell = 1_900_000 if late else usual
        lines.append(f"u{k % 50},i{k % 40},{start + 60 * k},{dwell}")
    lines += [lines[1]] * 3
    lines += [
        f"bot,i{k},{start + 60 * (k // 200)},{int(np.exp(rng.normal(8, 0.3)))}" for k in range(800)
    ]
    lines += [f"stuck,i1,{start + k},2500" for k in range(25)]
    lines += [f"u1,i1,{start + 7 + k},80000000" for k in range(2)]
    path.write_text("\n".join(lines) + "\n")
    return len(lines) - 1


def test_every_rule_leaves_its_mark(tmp_path, files_source):
    read = dirty_csv(tmp_path / "a.csv")
    report = ingest(files_source(tmp_path / "a.csv"), tmp_path / "log")
    assert report.events.read == read == report.events.kept + report.events.quarantined
    assert report.refused == {
        "events.cleaning.bots": 800,
        "events.cleaning.duplicates": 3,
        "events.cleaning.impossible": 0,
        "events.cleaning.loops": 0,
        "events.cleaning.mad": 2,
        "events.cleaning.stuck": 24,
    }
    found = quarantine(tmp_path / "log").collect()
    bots = found.filter(pl.col("rule") == "cleaning.bots")
    assert set(bots["value"]) == {"bot"}  # ids as the file spells them
    assert bots["row"].sort().to_list() == list(range(604, 1404))
    mad = found.filter(pl.col("rule") == "cleaning.mad")
    assert mad.select("row", "column", "value").sort("row").rows() == [
        (1429, "dwell_ms", "80000000"),
        (1430, "dwell_ms", "80000000"),
    ]


def test_switches_off_remove_nothing(tmp_path, files_source):
    read = dirty_csv(tmp_path / "a.csv")
    off = CleaningConfig.model_validate({name: {"enabled": False} for name in RULES})
    report = ingest(files_source(tmp_path / "a.csv"), tmp_path / "log", cleaning=Cleaning(off))
    assert (report.events.kept, report.events.quarantined) == (read, 0)
    assert report.marked == {}
    assert open_log(tmp_path / "log").events.select(pl.len()).collect().item() == read


def test_rules_learn_from_the_earliest_share_only(tmp_path, files_source):
    limits = []
    on = CleaningConfig.model_validate({"iqr": {"enabled": True}, "esd": {"enabled": True}})
    for tail in (False, True):
        dirty_csv(tmp_path / "a.csv", tail=tail, n=6_000)
        cleaning = Cleaning(on)
        ingest(files_source(tmp_path / "a.csv"), tmp_path / "log", cleaning=cleaning)
        limits.append([getattr(rule, "limits", None) for rule in cleaning.rules])
    assert limits[0] == limits[1]
    assert sum(bool(learned) for learned in limits[0]) == 3


def test_a_cleaning_starts_afresh_on_every_log(tmp_path, files_source):
    dirty_csv(tmp_path / "a.csv")
    cleaning = Cleaning()
    reports = [
        ingest(files_source(tmp_path / "a.csv"), tmp_path / "log", cleaning=cleaning)
        for _ in range(2)
    ]
    assert reports[0] == reports[1]
