"""Rows in any order come out in time order, whether they fit in memory or not; ids map both ways."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import SchemaError, UnknownIdError
from muma.events.ingest import ingest
from muma.events.log_folder import open_log, quarantine
from muma.events.runs import MINUTE, Runs
from muma.events.vocabulary import DIRECT_LIMIT, Vocabulary
from muma.rng import derive

TIMES = st.lists(st.integers(0, 6 * MINUTE), min_size=1, max_size=60)


def buckets(folder, times, cuts, rows_in_memory, rows_per_bucket):
    runs = Runs(folder, rows_in_memory=rows_in_memory, rows_per_bucket=rows_per_bucket)
    frame = pl.DataFrame({"timestamp": times, "at": range(len(times))})
    edges = [0, *sorted(cuts), len(times)]
    for number, (a, b) in enumerate(pairwise(edges)):
        part = frame[a:b]
        runs.append(part.with_columns(own=pl.col("at") * 2) if number % 2 else part)
    early = runs.column_before(["at"], 0.5)["at"].to_list()
    out = list(runs.buckets())
    runs.close()
    assert not folder.exists()
    return out, early


@settings(max_examples=60, deadline=None)
@given(TIMES, st.lists(st.integers(0, 60), max_size=5), st.integers(1, 20), st.integers(1, 30))
def test_runs(tmp_path_factory, times, cuts, held, per_bucket):
    folder = tmp_path_factory.getbasetemp() / "runs"
    cuts = [min(c, len(times)) for c in cuts]
    memory, early = buckets(folder, times, cuts, 10**6, per_bucket)
    spilled, early_spilled = buckets(folder, times, cuts, held, per_bucket)
    assert len(memory) == len(spilled)
    assert all(a.equals(b) and a.schema == b.schema for a, b in zip(memory, spilled, strict=True))
    whole = pl.concat(memory)
    assert whole["at"].to_list() == sorted(range(len(times)), key=lambda k: times[k])  # stable
    minutes = [set(b["timestamp"] // MINUTE) for b in memory]
    assert all(a.isdisjoint(b) for k, a in enumerate(minutes) for b in minutes[:k])
    assert all(b.height <= per_bucket or len(m) == 1 or b.height - per_bucket < max(
        (b["timestamp"] // MINUTE).value_counts()["count"]) for b, m in zip(memory, minutes, strict=True))  # fmt: skip
    ordered = sorted(times)
    first_minutes = ordered[int(np.ceil(len(times) / 2)) - 1] // MINUTE
    assert early == [k for k, t in enumerate(times) if t // MINUTE <= first_minutes]
    assert sorted(early_spilled) == sorted(early)


def test_runs_without_rows(tmp_path):
    runs = Runs(tmp_path / "none")
    runs.append(pl.DataFrame(schema={"timestamp": pl.Int64}))
    assert runs.column_before(["timestamp"], 0.7).is_empty()
    assert list(runs.buckets()) == []


@pytest.mark.parametrize("held", [0, 2, 99])
def test_runs_widen_types_and_refuse_what_does_not_go_together(held, tmp_path):
    runs = Runs(tmp_path / "spill", rows_in_memory=held)
    for own in ([1], [None], [2.5], ["x"]):
        runs.append(pl.DataFrame({"timestamp": [1], "own": own}))
    with pytest.raises(SchemaError, match=r"'own' is String in some files and List\(Int64\)"):
        runs.append(pl.DataFrame({"timestamp": [1], "own": [[1]]}))
    assert next(runs.buckets())["own"].to_list() == ["1", None, "2.5", "x"]


@pytest.mark.parametrize("held", [1, 300, 16_000_000])
def test_ingest_does_not_depend_on_the_memory_it_has(held, tmp_path, files_source):
    rng = derive(1, "order")
    frame = pl.DataFrame(
        {
            "user": rng.integers(50, size=3_000).astype(str),
            "item": rng.integers(90, size=3_000).astype(str),
            "ts": 1_700_000_000 + rng.integers(500, size=3_000),
            "dwell": rng.integers(100, 200, size=3_000),
        }
    )
    for part in range(6):
        frame[part * 500 : part * 500 + 500].write_csv(tmp_path / f"{part}.csv")
    source = files_source(tmp_path / "*.csv")
    whole = ingest(source, tmp_path / "whole")
    assert ingest(source, tmp_path / "log", rows_in_memory=held) == whole
    log, other = open_log(tmp_path / "log"), open_log(tmp_path / "whole")
    assert log.fingerprint == other.fingerprint
    assert log.events.collect().equals(other.events.collect())
    assert log.events.collect()["timestamp"].is_sorted()


def test_names_with_glob_characters(tmp_path, files_source, good_csv):
    (tmp_path / "in[1]*.csv").write_bytes(good_csv(4))
    (tmp_path / "in1.csv").write_bytes(good_csv(9))
    output = tmp_path / "log[1]*"
    ingest(files_source(tmp_path / "in[1]*.csv"), output, rows_in_memory=1)
    assert open_log(output, verify=True).events.collect().height == 4
    assert quarantine(output).collect().is_empty()


# -- vocabulary ---------------------------------------------------------------------------------

INTEGERS = st.integers(0, 50) | st.integers(-(2**63), 2**63 - 1) | st.integers(0, DIRECT_LIMIT + 9)
BATCHES = st.lists(
    st.lists(INTEGERS, max_size=12) | st.lists(st.text(max_size=3), min_size=1, max_size=12),
    max_size=6,
)


def series(values):
    return pl.Series(values, dtype=pl.Int64 if all(isinstance(v, int) for v in values) else None)


@settings(max_examples=100, deadline=None)
@given(BATCHES)
def test_vocabulary_against_a_dict(tmp_path_factory, batches):
    ours, theirs, text = Vocabulary(), {}, False
    for batch in batches:
        text = text or any(isinstance(v, str) for v in batch)
        got = ours.add(series(batch)).to_list()
        assert got == [theirs.setdefault(str(v), len(theirs)) for v in batch]
    wanted = list(theirs) if text else [int(v) for v in theirs]
    path = tmp_path_factory.getbasetemp() / "ids.parquet"
    ours.save(path)
    for vocabulary in (ours, Vocabulary.load(path)):
        assert len(vocabulary) == len(theirs)
        assert vocabulary.decode(range(len(theirs))) == wanted
        assert vocabulary.ids.dtype == (pl.String if text else pl.Int64)
        if theirs:
            assert vocabulary.encode(wanted[::-1]).to_list() == list(range(len(theirs)))[::-1]
            assert vocabulary.encode([str(w) for w in wanted]).to_list() == list(theirs.values())


def test_growth_keeps_indices_and_text_takes_over():
    ids = Vocabulary()
    assert ids.add(pl.Series([70, -5, 70])).to_list() == [0, 1, 0]
    assert ids.add(pl.Series([2**62, 70, 3])).to_list() == [2, 0, 3]
    assert ids.ids.dtype == pl.Int64
    assert ids.add(pl.Series(["70", "x", "07"])).to_list() == [0, 4, 5]
    assert ids.add(pl.Series([3, 9])).to_list() == [3, 6]
    assert ids.decode([0, 1, 2, 3, 4, 5, 6]) == ["70", "-5", str(2**62), "3", "x", "07", "9"]
    assert ids.decode([]) == []


@pytest.mark.parametrize(
    "asked", [[9], ["x"], [1.5], [None], [-1], pl.Series([2**64 - 1], dtype=pl.UInt64), [1, "x"]]
)
def test_unknown_ids(asked):
    ids = Vocabulary(pl.Series([1, 2, 5]))
    with pytest.raises(UnknownIdError, match=r"unknown id .*none of the 3 known.*\[1, 2, 5\]"):
        ids.encode(asked)


@pytest.mark.parametrize("index", [[3], [-1], [0, 2**32]])
def test_unknown_indices(index):
    with pytest.raises(UnknownIdError, match=r"no id has the index .*there are 3 ids"):
        Vocabulary(pl.Series([1, 2, 5])).decode(index)
