"""Learning curves: read from the folders of trainings, drawn with and without validation."""

import json

from muma.report.curves import draw_curves, read_curves


def test_curves_of_every_training_are_drawn(tmp_path):
    rows = [{"epoch": n, "train_loss": 9.0 / n, "value": n / 10} for n in (1, 2, 3)]
    for name, kept in {"a-1": rows, "b-2": [{"epoch": 1, "train_loss": 2.0}]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "curve.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept))
    (tmp_path / "c").mkdir()
    curves = read_curves(tmp_path)
    assert curves["a-1"] == rows
    assert list(curves) == ["a-1", "b-2"]
    draw_curves(curves, tmp_path / "x.png", title="t")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.png").stat().st_size > 5_000


def test_no_training_no_curve(tmp_path):
    assert read_curves(tmp_path / "none") == {}
