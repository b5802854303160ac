"""`muma match` as a person uses it."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from muma.cli.main import app
from muma.rng import derive


def muma(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def visits(tmp_path):
    """A table where the effect is 2, confounded by age and town."""
    rng = derive(1, "visits")
    age, town = rng.normal(40, 10, 2000).round(1), rng.choice(["north", "south", "west"], 2000)
    odds = (age - 40) / 10 + (town == "south") - 0.5
    saw = rng.random(2000) < 1 / (1 + np.exp(-odds))
    spent = 2.0 * saw + age / 10 + 3 * (town == "south") + rng.normal(size=2000)
    table = pl.DataFrame({"saw": saw.astype(int), "age": age, "town": town, "spent": spent,
                          "odd": rng.random(2000)})  # fmt: skip
    table.write_csv(tmp_path / "visits.csv")
    table.with_columns(pl.col("saw").cast(pl.Boolean)).write_parquet(tmp_path / "visits.parquet")
    return tmp_path / "visits.csv"


def test_the_design_comes_first_and_then_the_effect(visits, tmp_path):
    common = ["-t", "saw", "-c", "age,town", "--set", "method=weighting", "--to", tmp_path / "out"]
    shown = muma("match", visits, *common)
    assert shown.exit_code == 0, shown.output
    assert "balanced: largest |SMD|" in shown.stdout
    assert "town[south]" in shown.stdout
    assert "E-value" not in shown.stdout
    assert not (tmp_path / "out" / "openings.jsonl").exists()
    shown = muma("match", visits, *common, "-y", "spent")
    assert shown.exit_code == 0, shown.output
    for text in ("att of spent by weighting", "E-value", "blind to outcomes; the first look"):
        assert text in shown.stdout
    folder = tmp_path / "out"
    for name in ("balance", "overlap"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    design, effect = (json.loads((folder / f"{n}.json").read_text()) for n in ("design", "effect"))
    assert design["design"] == effect["design"]
    assert design["balanced"] is True
    assert effect["result"]["low"] < 2 < effect["result"]["high"]
    assert not effect["naive"]["low"] < 2 < effect["naive"]["high"]
    # another design after the look says so, even with other covariates
    again = muma("match", visits, *common[:2], "-c", "age", *common[4:], "-y", "spent", "--json")
    found = json.loads(again.stdout)
    assert (found["effect"]["blind"], found["effect"]["looks"]) == (False, 2)
    assert len((folder / "openings.jsonl").read_text().splitlines()) == 2
    assert "after another design had opened" in muma(
        "match", visits, *common[:2], "-c", "age", *common[4:], "-y", "spent"
    ).stdout.replace("\n", " ")


def test_parquet_booleans_and_given_terms(visits, tmp_path):
    found = json.loads(
        muma("match", visits.with_suffix(".parquet"), "-t", "saw", "-c", "age", "-c", "town", "--terms",
             "age,town[south],age:town[south]", "--set", "replacement=false", "--set", "caliper=0.2",
             "-y", "spent", "--to", tmp_path / "p", "--json").stdout
    )  # fmt: skip
    assert found["terms"] == ["age", "town[south]", "age:town[south]"]
    assert found["path"] == []
    assert found["effect"]["gamma"] > 1
    assert found["left_out"] > 0
    assert [place.rsplit("/", 1)[1] for place in found["pictures"]] == [
        "balance.png",
        "overlap.png",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-t", "saw", "-c", "agee"], "there is no column 'agee'"),
        (["-t", "seen", "-c", "age"], "there is no column 'seen'"),
        (["-t", "age", "-c", "odd"], "must be 0 or 1"),
        (["-t", "town", "-c", "odd"], "numbers or booleans"),
        (["-t", "saw", "-c", "age,spent", "-y", "spent"], "cannot be treatment or outcome"),
        (["-t", "saw", "-c", "age", "-y", "town"], "numbers or booleans"),
        (["-t", "saw", "-c", "age", "-y", "zzz"], "there is no column 'zzz'"),
        (["-t", "saw", "-c", "age", "--set", "calliper=1"], "did you mean 'caliper'"),
        (["-t", "saw", "-c", "age", "--set", "search.thresh=1"], "did you mean 'threshold'"),
        (["-t", "saw", "-c", "age", "--terms", "age^2,ag"], "did you mean 'age'"),
        (["-t", "saw", "-c", ","], "name the covariates"),
        (["-t", "saw", "-c", "saw"], "cannot be treatment or outcome"),
    ],
)
def test_mistakes_are_told(visits, tmp_path, options, said):
    shown = muma("match", visits, *options, "--to", tmp_path / "out")
    assert shown.exit_code == 2
    assert said in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.output


def test_missing_values_and_no_overlap_are_told(visits, tmp_path):
    table = pl.read_csv(visits)
    holes = table.with_columns(
        pl.when(pl.col("age") > 60).then(None).otherwise(pl.col("age")).alias("age")
    )
    holes.write_csv(tmp_path / "holes.csv")
    shown = muma("match", tmp_path / "holes.csv", "-t", "saw", "-c", "age", "--to", tmp_path / "o")
    assert shown.exit_code == 2
    assert "column 'age' has no value in row" in " ".join(shown.stderr.split())
    table.with_columns(pl.lit(float("nan")).alias("age")).write_parquet(tmp_path / "nan.parquet")
    shown = muma(
        "match", tmp_path / "nan.parquet", "-t", "saw", "-c", "age", "--to", tmp_path / "o"
    )
    assert "not finite in row 0 (2000 such values" in " ".join(shown.stderr.split())
    table.with_columns((pl.col("age") > 40).cast(int).alias("saw")).write_csv(
        tmp_path / "apart.csv"
    )
    shown = muma("match", tmp_path / "apart.csv", "-t", "saw", "-c", "age", "--to", tmp_path / "o")
    assert shown.exit_code == 2
    assert "overlap" in shown.stderr or "tells the groups apart" in " ".join(shown.stderr.split())


def test_files_that_cannot_be_read(tmp_path):
    for name, said in (("none.csv", "there is no such file"), ("x.xlsx", "give .csv or .parquet"),
                       ("bad.parquet", "cannot be read")):  # fmt: skip
        if name != "none.csv":
            (tmp_path / name).write_bytes(b"hello")
        shown = muma("match", tmp_path / name, "-t", "a", "-c", "b", "--to", tmp_path / "o")
        assert shown.exit_code == 2
        assert said in " ".join(shown.stderr.split())
