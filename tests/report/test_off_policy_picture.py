"""The picture of an off-policy evaluation: trusted, untrusted and undefined rows are drawn."""

import numpy as np
import pytest

from muma.evaluation.off_policy.asymptotic import Asymptotic
from muma.evaluation.off_policy.evaluate import PER_ANSWER, evaluate_policy
from muma.evaluation.off_policy.logged import Logged
from muma.report import off_policy
from muma.report.off_policy import draw_off_policy
from muma.rng import derive
from muma.testing.bandit_world import BanditWorld
from muma.testing.slate_world import SlateWorld


@pytest.fixture
def report():
    logged, target_BA, _ = BanditWorld(sharpness=5.0, overlap=0.0).log(800, derive(1, "picture"))
    return evaluate_policy(logged, target_BA, interval=Asymptotic()).to_json()


def test_the_picture_is_drawn(report, tmp_path):
    draw_off_policy(report, tmp_path / "a.png", title="A day", on_policy=0.4)
    draw_off_policy(report, tmp_path / "b.png", title="A day")
    for name in "ab":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_rows_say_value_setting_and_reason(report):
    said = {row["result"]["label"]: off_policy._said(row) for row in report["rows"]}
    assert "do not trust: " in said["IPS"]
    assert "(chosen on this log)" in said["clipped IPS"]
    assert f"{report['rows'][0]['result']['value']:.4g}" in said["IPS"]
    assert max(len(line) for text in said.values() for line in text.split("\n")) < 85


def test_what_is_undefined_is_said(tmp_path):
    logged = Logged(np.zeros(50, int), np.ones(50), np.ones(50), 2)
    target_BA = np.tile([0.0, 1.0], (50, 1))
    report = evaluate_policy(logged, target_BA, prediction_BA=np.full((50, 2), 0.3)).to_json()
    assert off_policy._said(report["rows"][1]).startswith("undefined")
    assert "100.0% of the target without support" in off_policy._summary(report)
    draw_off_policy(report, tmp_path / "c.png", title="No overlap")
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_answers_are_drawn(tmp_path):
    logged, target_BA = SlateWorld().log(300, derive(2, "picture"))
    report = evaluate_policy(logged, target_BA, estimators=PER_ANSWER).to_json()
    draw_off_policy(report, tmp_path / "d.png", title="Answers", on_policy=SlateWorld().value)
    assert (tmp_path / "d.png").stat().st_size > 10_000
