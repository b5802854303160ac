"""Drift between two stretches of a feed: none where none is, an alarm where tastes turn."""

import json

import pytest

from muma.app.config import read_recipe
from muma.app.drift import check_drift, draw, write_drift
from muma.app.training import train_recipe
from muma.errors import ConfigError
from muma.ranking.drift.monitor import DriftConfig
from ranked_support import feed_rows, write_feed

QUICK = DriftConfig(resamples=100, blocks=40, seed=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_recipe(read_recipe(write_feed(tmp_path_factory.mktemp("still"))))


def test_a_world_that_turns_alarms_where_it_turns(trained, tmp_path):
    """From the test window on half of what was not clicked is: the label's rate and residuals move."""
    start = trained.folds[-1].start
    clicked = {row[4] for row in feed_rows() if row[3] == "click"}
    rows = []
    for row in feed_rows():
        rows.append(row)
        late = row[3] == "impression" and row[2] * 1_000_000 >= start
        if late and row[4] not in clicked and int(row[4][1:]) % 2:
            rows.append((*row[:2], row[2] + 1, "click", row[4]))
    turned = train_recipe(read_recipe(write_feed(tmp_path, rows)))
    still, moved = (check_drift(one, config=QUICK).report for one in (trained, turned))
    (was,), (now,) = (tuple(r.of("label").values()) for r in (still, moved))
    assert not was.alarm
    assert now.alarm
    (residual,) = moved.of("residual").values()
    assert residual.alarm
    assert residual.value > 0.1
    assert moved.recalibration.intercept - 1.96 * moved.recalibration.intercept_error > 0.3


def test_what_is_written_can_be_read(trained, tmp_path):
    found = check_drift(
        trained, reference="train", current="valid", label="long_view", config=QUICK
    )
    data = json.loads(write_drift(found, tmp_path).read_text())
    assert (data["label"], data["reference"], data["current"]) == ("long_view", "train", "valid")
    assert data["reference_rows"] == 848 + 849 + 850
    assert len(data["findings"]) == len(found.report.findings)
    kinds = {one["kind"] for one in data["findings"]}
    assert {"psi", "ks", "share", "wasserstein", "residual", "label"} <= kinds
    ratio = [one.value / max(one.threshold, 1e-12) for one in found.worst]
    assert ratio == sorted(ratio, reverse=True)
    assert draw(found, tmp_path, name="feed").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"reference": "test"}, "must come later than 'test'"),
        ({"reference": "past"}, "no stretch 'past'; there are: train, valid, test"),
        ({"label": "like"}, "no label 'like'; the recipe has: click, long_view"),
    ],
)
def test_mistakes_are_told(trained, asked, message):
    with pytest.raises(ConfigError, match=message):
        check_drift(trained, **asked)


def test_a_log_without_impressions_is_told(tmp_path):
    rows = [row for row in feed_rows() if row[3] == "click"]
    trained = train_recipe(read_recipe(write_feed(tmp_path, rows)))
    assert list(trained.rankers) == ["lists"]
    with pytest.raises(ConfigError, match="checked on impressions"):
        check_drift(trained)
