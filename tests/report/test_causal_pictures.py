"""Love plot and overlap are drawn, with infinite differences and without."""

from itertools import pairwise

import numpy as np
import pytest

from muma.errors import DataError
from muma.evaluation.causal.balance import Balance, BalanceTable
from muma.evaluation.causal.design import DesignConfig, make_design
from muma.evaluation.causal.study import study_of
from muma.report.balance import draw_balance
from muma.report.overlap import draw_overlap, probability_ticks
from muma.rng import derive


def test_both_are_drawn(tmp_path):
    rng = derive(1, "pictures")
    x = rng.normal(size=(300, 4))
    design = make_design(
        study_of(rng.random(300) < 1 / (1 + np.exp(-x[:, 0])), x), DesignConfig(method="weighting")
    )
    draw_balance(design.balance, tmp_path / "b.png", title="t")
    draw_overlap(design.overlap, tmp_path / "o.png", title="t")
    for name in "bo":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.png").stat().st_size > 8000


def test_many_terms_and_infinite_differences(tmp_path):
    nan = float("nan")
    rows = [Balance(f"x{i}", 0, 0, 0.01 * i, -0.005 * i, nan, nan) for i in range(80)]
    rows.append(Balance("apart", 1, 0, np.inf, -np.inf, nan, nan))
    draw_balance(BalanceTable(tuple(rows)), tmp_path / "b.png", title="t", most=10)
    assert (tmp_path / "b.png").stat().st_size > 8000
    with pytest.raises(DataError, match="no balance term"):
        draw_balance(BalanceTable(()), tmp_path / "c.png", title="t")


def test_ticks_stay_inside_and_apart():
    for low, high in ((-12.0, 3.0), (-0.2, 0.2), (-1e-9, 1e-9), (2.0, 9.0), (-12.0, 12.0)):
        places, names = probability_ticks(low, high)
        assert len(places) == len(names) >= 1
        assert all(b - a > 0.07 * (high - low) for a, b in pairwise(places))
        assert len(set(names)) == len(names)
