"""`muma features`, `muma stream` and `muma inspect` over a small log and a live feed."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

FEATURES = """
[features.blocks.activity]
use = "muma.features.families.count.Count"
keys = ["user", "item"]
of = ["click", "any"]
windows = ["1d/1h", "all"]

[features.blocks.last]
use = "muma.features.families.recency.Recency"
keys = ["user"]

[features.sequences.recent]
length = 5
"""
MUMA = [str(Path(sys.executable).parent / "muma")]


def muma(*arguments, feed=None):
    shown = subprocess.run(
        [*MUMA, *map(str, arguments)],
        input=feed,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in shown.stderr, shown.stderr
    return shown


@pytest.fixture
def recipe(small_recipe):
    small_recipe.write_text(small_recipe.read_text() + FEATURES)
    return small_recipe


def test_a_log_is_streamed_once_and_inspected(recipe, tmp_path):
    first = json.loads(muma("stream", recipe, "--json").stdout)
    assert first["new_events"] == first["events"] > 0
    assert first["lag_events"] == 0
    again = json.loads(muma("stream", recipe, "--json").stdout)
    assert again["new_events"] == 0
    assert again["events"] == first["events"]
    table = json.loads(muma("features", recipe, "--kind", "click", "--json").stdout)
    parts = sorted(Path(table["folder"]).rglob("*.parquet"))
    rows = pl.concat([pl.read_parquet(part) for part in parts])
    assert rows.height == table["rows"]
    assert "user.click.count.1d" in rows.columns
    found = json.loads(muma("inspect", recipe, "u1", "--json").stdout)
    values = {value["column"]: value for value in found["values"]}
    assert values["user.any.count.all"]["value"] == values["user.any.count.all"]["count"] > 0
    assert len(found["sequences"]["recent"]) <= 5
    assert found["key"].startswith("USER:")
    assert "user.any.count.all" in muma("inspect", recipe, "u1").stdout


def test_a_live_feed_takes_what_it_can_and_keeps_what_it_cannot(recipe, tmp_path):
    before = json.loads(muma("stream", recipe, "--json").stdout)
    good = [
        {"event_id": f"e{n}", "user_id": "newcomer", "item_id": "a1", "domain": "news", "kind": "click",
         "timestamp": 1_703_000_000_000_000 + n}
        for n in range(3)
    ]  # fmt: skip
    lines = [json.dumps(event) for event in (*good, good[0])]
    lines += ["{broken", json.dumps({**good[0], "kind": "stare"})]
    done = json.loads(muma("stream", recipe, "--feed", "-", "--json", feed="\n".join(lines)).stdout)
    assert (done["lines"], done["taken"], done["refused"]) == (6, 4, 2)
    assert done["events"] == before["events"] + 4
    assert done["duplicates"] == 1
    refused = (tmp_path / "runs" / "small" / "refused.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in refused] == [5, 6]
    found = json.loads(muma("inspect", recipe, "newcomer", "--json").stdout)
    values = {value["column"]: value["value"] for value in found["values"]}
    assert values["user.any.count.all"] == 3


def test_mistakes_are_answered(recipe, small_recipe, tmp_path):
    assert muma("inspect", recipe, "u1").returncode == 2  # nothing was streamed yet
    assert "muma stream" in muma("inspect", recipe, "u1").stderr
    assert muma("features", recipe, "--kind", "hide").returncode == 2
    assert muma("features", recipe, "--rows", tmp_path / "none.csv").returncode == 2
    muma("stream", recipe, "--json")
    assert muma("inspect", recipe, "nobody").returncode == 2
    assert muma("inspect", recipe, "u1", "--at", "yesterday").returncode == 2
    assert muma("stream", recipe, "--feed", tmp_path / "none").returncode == 2


def test_a_recipe_without_features_says_so(small_recipe):
    shown = muma("features", small_recipe, "--list")
    assert shown.returncode == 2
    assert "[features]" in shown.stderr


def test_a_feed_before_the_log_loses_nothing_of_it(recipe):
    event = {"user_id": "u1", "item_id": "a1", "kind": "click", "timestamp": 1_703_000_000_000_000}
    fed = json.loads(muma("stream", recipe, "--feed", "-", "--json", feed=json.dumps(event)).stdout)
    after = json.loads(muma("stream", recipe, "--json").stdout)
    assert after["events"] == fed["events"] == 40 * 25 + 1
    assert after["quarantined"] == 0  # an event without a domain counts as other


def test_another_log_under_a_stream_is_refused(recipe, tmp_path):
    muma("stream", recipe, "--json")
    log = tmp_path / "log.csv"
    log.write_text(log.read_text() + "u1,a1,1702000000,click\n")
    shown = muma("stream", recipe)
    assert shown.returncode == 2
    assert "is not the one" in shown.stderr


def test_what_the_state_no_longer_needs_can_go(recipe, tmp_path):
    flags = ("--set", "stream.keep=needed", "--set", "stream.checkpoint_s=0.000001")
    first = json.loads(muma("stream", recipe, "--json", *flags).stdout)
    assert (tmp_path / "runs" / "small" / "state" / "snapshots").is_dir()
    again = json.loads(muma("stream", recipe, "--json", *flags).stdout)
    assert again["events"] == first["events"]
