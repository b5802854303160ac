"""The picture of a simulation: a line a policy, bands where there are intervals, a scale that shows all."""

import matplotlib as mpl
import numpy as np
import pytest

from muma.errors import DataError
from muma.report.policy_curves import draw_policy_curves


def curve(regret, bias, *, half=0.1):
    rounds_C = np.arange(10, 60, 10)
    regret_C, bias_C = regret * rounds_C, np.full(5, bias)
    return {
        "rounds": rounds_C,
        "regret": regret_C, "regret_low": regret_C - half, "regret_high": regret_C + half,
        "bias": bias_C, "bias_low": bias_C - half, "bias_high": bias_C + half,
    }  # fmt: skip


@pytest.fixture
def figure(monkeypatch):
    """The figure that was drawn, kept open."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    kept = []
    monkeypatch.setattr(plt, "close", kept.append)
    return kept


@pytest.mark.parametrize(("wild", "scale"), [(0.5, "linear"), (2000.0, "symlog")])
def test_lines_bands_and_scale(wild, scale, figure, tmp_path):
    curves = {"a": curve(1.0, 0.1), "b": curve(2.0, -0.1), "c": curve(3.0, wild)}
    draw_policy_curves(curves, tmp_path / "p.png", title="three")
    regret, bias = figure[0].axes
    labels = [line.get_label() for line in regret.get_lines()]
    assert labels == ["a", "b", "c"]
    np.testing.assert_array_equal(regret.get_lines()[1].get_ydata(), curves["b"]["regret"])
    assert len(regret.collections) == 3
    assert bias.get_yscale() == scale
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_and_many_policies(tmp_path):
    curves = {str(n): curve(1.0, 0.0, half=np.nan) for n in range(14)}
    draw_policy_curves(curves, tmp_path / "p.png", title="many")
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="no curves"):
        draw_policy_curves({}, tmp_path / "p.png", title="none")
    assert not list(tmp_path.iterdir())
