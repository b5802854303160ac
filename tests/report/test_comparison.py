"""The picture: it is a PNG, it stands without a view or an interval, and names a missing library."""

import sys

import numpy as np
import pytest

from muma.errors import MissingExtraError
from muma.evaluation.result import Result
from muma.report.comparison import draw_comparison

RESULTS = {
    "popularity": {"all": Result(0.03, 0.02, 0.04, 10, 10.0), "cold_user": Result(0.1, 0.0, 0.2, 2, 2.0)},
    "markov": {"all": Result(0.05, 0.045, 0.055, 10, 10.0)},
    "one": {"all": Result(0.01, np.nan, np.nan, 1, 1.0)},
}  # fmt: skip


def draw(path):
    users = {"all": 10, "cold_user": 2, "cold_item": 0}
    draw_comparison(RESULTS, path, metric="ndcg@10", users=users, best="markov", title="a")


def test_draws_a_png_twice_the_same(tmp_path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    first = (tmp_path / "a.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert len(first) > 5_000
    assert first == (tmp_path / "b.png").read_bytes()


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"muma\[plot\]"):
        draw(tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
