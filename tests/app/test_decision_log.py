"""Logs of decisions: what is read, what is refused and in which row, how context becomes numbers."""

import numpy as np
import polars as pl
import pytest

from muma.app.decision_log import LogColumns, read_decisions
from muma.app.log_context import ContextCoder
from muma.errors import DataError, SchemaError, SourceError
from muma.evaluation.off_policy.logged import check
from muma.serving.evidence.joining import DECISION_COLUMNS
from ope_support import frame, ranked, write


@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
def test_a_log_is_read_as_it_was_written(name, tmp_path):
    table = frame(60)
    log = read_decisions(write(table, tmp_path / name))
    check(log.logged)
    assert log.items == ("item 0", "item 1", "item 2", "item 3")
    assert [log.items[a] for a in log.logged.action_B] == table["item"].to_list()
    assert np.allclose(log.logged.propensity_B, table["propensity"])
    assert np.array_equal(log.logged.unit_B, table["user"])
    assert log.coder.names == ("ctx_a", "ctx_b")
    assert np.allclose(log.logged.context_BF[:, 1], table["ctx_b"], atol=1e-6)
    assert log.time_B.tolist() == table["time"].to_list()
    assert not log.ranked


def test_a_folder_of_decisions_is_a_log(tmp_path):
    table = frame(60)
    write(table[:25], tmp_path / "decisions-00000.parquet")
    write(table[25:], tmp_path / "decisions-00001.parquet")
    write(table[:3], tmp_path / "features-00000.parquet")
    assert read_decisions(tmp_path).frame.equals(table)


def test_the_log_of_the_service_has_these_names_and_types(tmp_path):
    table = frame(6).with_columns(slot=pl.lit(0), reward=pl.col("reward"))
    served = [name for name in DECISION_COLUMNS if name in LogColumns().model_dump().values()]
    assert set(served) == {"request_id", "time", "slot", "item", "propensity", "user"}
    table = table.cast({name: DECISION_COLUMNS[name] for name in served})
    write(table.select(*served, "reward"), tmp_path / "decisions-00000.parquet")
    log = read_decisions(tmp_path)
    assert log.logged.unit_B is not None
    assert log.logged.position_B.tolist() == [0] * 6


def test_rows_come_in_order_of_time(tmp_path):
    table = frame(60)
    log = read_decisions(write(table.reverse(), tmp_path / "log.parquet"))
    assert log.frame.equals(table)
    assert np.allclose(log.logged.reward_B, table["reward"])


@pytest.mark.parametrize(
    "time",
    [
        pl.col("time"),
        pl.from_epoch("time", time_unit="us"),
        pl.from_epoch("time", time_unit="us").dt.replace_time_zone("UTC"),
        pl.from_epoch("time", time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%S"),
    ],
)
def test_times_may_be_written_in_several_ways(time, tmp_path):
    table = frame(60).with_columns(time=time)
    log = read_decisions(write(table, tmp_path / "log.parquet"))
    assert log.time_B.tolist() == [n * 1_000_000 for n in range(60)]


def test_slots_begin_at_0_or_1(tmp_path):
    one = read_decisions(write(ranked(20), tmp_path / "one.parquet"))
    table = ranked(20).with_columns(slot=pl.col("slot") - 1)
    nought = read_decisions(write(table, tmp_path / "nought.parquet"))
    assert one.logged.position_B.tolist() == nought.logged.position_B.tolist() == [0, 1] * 20
    assert one.answers == 20
    assert one.ranked


def test_guests_are_units_by_answer(tmp_path):
    table = frame(6).with_columns(user=pl.Series([5, 5, None, None, 7, None]))
    unit_B = read_decisions(write(table, tmp_path / "log.parquet")).logged.unit_B
    assert unit_B[0] == unit_B[1]
    assert len(set(unit_B.tolist())) == 5
    nobody = frame(6).with_columns(user=pl.lit(None, pl.String))
    assert read_decisions(write(nobody, tmp_path / "nobody.parquet")).logged.unit_B is None


def test_columns_may_have_other_names(tmp_path):
    table = frame(20).rename({"reward": "click", "item": "article"})
    columns = LogColumns(reward="click", item="article", context=("ctx_b", "country"))
    log = read_decisions(write(table, tmp_path / "log.csv"), columns)
    assert log.coder.names == ("ctx_b", "country = de", "country = fr")


BROKEN = [
    (pl.col("propensity") * 0, "propensity", SourceError, "row 1: column 'propensity' is 0.0 .60 such"),
    (pl.lit(1.5), "propensity", SourceError, r"is 1.5 .* allowed is in \(0, 1\]"),
    (pl.lit(None, pl.Float64), "propensity", SourceError, "is nan"),
    (pl.lit("high"), "propensity", SchemaError, "must be numbers"),
    (pl.lit(float("nan")), "reward", SourceError, "not known yet"),
    (pl.lit(float("inf")), "reward", SourceError, "a finite number"),
    (pl.lit(None, pl.String), "item", SourceError, "column 'item' is empty"),
    (pl.lit(None, pl.String), "request_id", SourceError, "column 'request_id' is empty"),
    (pl.lit(0.5), "slot", SchemaError, "must be integers"),
    (pl.lit("noon"), "time", SchemaError, "ISO 8601"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "column", "error", "message"), BROKEN)
def test_broken_rows_are_told(value, column, error, message, tmp_path):
    path = write(frame(60).with_columns(value.alias(column)), tmp_path / "log.parquet")
    with pytest.raises(error, match=message):
        read_decisions(path)


def test_missing_columns_and_files_are_told(tmp_path):
    path = write(frame(5).rename({"propensity": "propensity_score"}), tmp_path / "log.csv")
    with pytest.raises(SchemaError, match=r"did you mean 'propensity_score'.*--column propensity="):
        read_decisions(path)
    with pytest.raises(SchemaError, match="no column 'request_id'"):
        read_decisions(write(ranked(5).drop("request_id"), tmp_path / "slots.csv"))
    with pytest.raises(SourceError, match="no such file"):
        read_decisions(tmp_path / "nothing.csv")
    with pytest.raises(SourceError, match=r"neither \.parquet nor \.csv"):
        read_decisions(__file__)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match="cannot be read"):
        read_decisions(tmp_path / "broken.parquet")
    with pytest.raises(SourceError, match="no rows"):
        read_decisions(write(frame(5)[:0], tmp_path / "empty.parquet"))


def test_negative_slots_are_refused(tmp_path):
    table = ranked(5).with_columns(slot=pl.col("slot") - 4)
    log = read_decisions(write(table, tmp_path / "log.parquet"))
    with pytest.raises(DataError, match="position is -3"):
        check(log.logged)


def test_context_is_read_alike_on_a_later_table():
    coder = ContextCoder.learn(
        pl.DataFrame({"age": [20.0, None, 40.0], "tab": ["a", "b", None]}), ["age", "tab"]
    )
    later = pl.DataFrame({"tab": ["b", "new"], "age": [None, 25.0]})
    assert coder.encode(later).tolist() == [[30.0, 1.0, 0.0, 1.0], [25.0, 0.0, 0.0, 0.0]]
    assert ContextCoder.from_json(coder.to_json()) == coder
    with pytest.raises(SchemaError, match="no column 'age'"):
        coder.encode(later.drop("age"))
    with pytest.raises(SchemaError, match="learned as numbers"):
        coder.encode(later.with_columns(age=pl.lit("old")))
    with pytest.raises(SchemaError, match="numbers, truth values or text"):
        ContextCoder.learn(pl.DataFrame({"when": [[1]]}), ["when"])


def test_an_empty_slot_is_told_with_its_row(tmp_path):
    table = ranked(3).with_columns(
        slot=pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise("slot")
    )
    with pytest.raises(SourceError, match="row 3: column 'slot' is empty"):
        read_decisions(write(table, tmp_path / "log.parquet"))
