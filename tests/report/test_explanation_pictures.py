"""Pictures of explanations: their numbers against closed forms, PNGs that repeat, clear refusals."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.errors import ConfigError, DataError, MissingExtraError
from muma.report.beeswarm import draw_beeswarm, spread_out
from muma.report.dependence import draw_dependence, strongest_partner
from muma.report.importance import draw_importance, importance
from muma.report.palette import OTHER, group_colours, shades
from muma.report.waterfall import draw_waterfall

COLUMNS = ("user_category.click.count.7d", "item.age_s", "candidate.markov", "clock.hour")
GROUPS = ("history", "item", "candidates", "context")


def world(n=120, seed=0):
    rng = np.random.default_rng(seed)
    value_NF = rng.normal(size=(n, 4)).astype(np.float32)
    phi_NF = value_NF * np.array([1.0, -0.5, 0.3, 0.0])
    phi_NF[:, 0] = np.nan_to_num(value_NF[:, 0] * value_NF[:, 2])
    value_NF[::7, 1] = np.nan
    return value_NF, phi_NF


def drawings(value_NF, phi_NF):
    yield lambda p: draw_importance(phi_NF, COLUMNS, GROUPS, p, title="t")
    yield lambda p: draw_beeswarm(value_NF, phi_NF, COLUMNS, p, title="t")
    yield lambda p: draw_dependence(value_NF, phi_NF, COLUMNS, "item.age_s", p, title="t")
    yield lambda p: draw_waterfall(COLUMNS, phi_NF[0].tolist(), p, title="t", start=0.3, first=2)


@pytest.mark.parametrize("which", range(4))
def test_pictures_repeat_and_stand_one_row(tmp_path, which):
    for place, n in enumerate((120, 1)):
        draw = list(drawings(*world(n)))[which]
        first, second = tmp_path / f"{place}a.png", tmp_path / f"{place}b.png"
        draw(first)
        draw(second)
        assert first.read_bytes().startswith(b"\x89PNG")
        assert first.stat().st_size > 5_000
        assert first.read_bytes() == second.read_bytes()


def test_values_all_missing_are_drawn(tmp_path):
    value_NF, phi_NF = world(20)
    value_NF[:] = np.nan
    for at, draw in enumerate(drawings(value_NF, phi_NF)):
        draw(tmp_path / f"{at}.png")
        assert (tmp_path / f"{at}.png").exists()


def test_importance_and_its_interval_by_theory():
    size_N = np.random.default_rng(1).exponential(size=900)
    mean_F, low_F, high_F = importance(np.column_stack([size_N, -size_N]), n_resamples=3000)
    assert mean_F == pytest.approx([size_N.mean()] * 2)
    error = size_N.std() / 30
    assert (high_F - low_F) == pytest.approx([2 * 1.96 * error] * 2, rel=0.1)


def test_importance_resamples_lists():
    size_G = np.random.default_rng(1).exponential(size=100)
    _, low, high = importance(size_G[:, None], seed=3)
    _, low_rows, high_rows = importance(
        np.repeat(size_G, 9)[:, None], group_N=np.repeat(np.arange(100), 9), seed=3
    )
    np.testing.assert_allclose([low_rows, high_rows], [low, high])


@given(st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=60))
def test_a_swarm_keeps_its_row_and_hides_no_point(x):
    x_N = np.array(x)
    y_N = spread_out(x_N)
    assert (np.abs(y_N) <= 0.42 + 1e-9).all()
    assert len({*zip(x_N.tolist(), y_N.round(9).tolist(), strict=True)}) == len(x_N)


@pytest.mark.parametrize("partner", [1, 2, 3])
def test_the_planted_partner_is_found(partner):
    value_NF, phi_NF = world(300)
    value_NF = np.nan_to_num(value_NF)
    phi_NF[:, 0] = value_NF[:, 0] * (1 + value_NF[:, partner])
    assert strongest_partner(value_NF, phi_NF, 0) == partner


def test_without_interaction_there_is_no_partner():
    value_NF = np.ones((30, 2))
    value_NF[:, 0] = np.arange(30)
    assert strongest_partner(value_NF, value_NF, 0) is None
    assert strongest_partner(value_NF[:1], value_NF[:1], 0) is None


def test_shades_are_robust_and_keep_order():
    found_N = shades(np.array([0.0, 1, 2, 3, 1e9, np.nan, np.inf]))
    known_N = found_N[:5]
    assert (np.diff(known_N) >= 0).all()
    assert np.isnan(found_N[5:]).all()
    assert shades(np.full(3, 7.0)).tolist() == [0.5] * 3
    assert np.isnan(shades(np.full(2, np.nan))).all()


def test_groups_past_the_palette_are_grey():
    colours = group_colours([f"g{n}" for n in range(12)] + ["other"])
    assert len({colours[f"g{n}"] for n in range(10)}) == 10
    assert {colours["g10"], colours["g11"], colours["other"]} == {OTHER}


def test_wrong_arrays_are_refused(tmp_path):
    value_NF, phi_NF = world(5)
    path = tmp_path / "x.png"
    for bad in (phi_NF[:, :3], phi_NF[:0], np.where(phi_NF > 0, np.nan, phi_NF)):
        for draw in list(drawings(value_NF, bad))[:3]:
            with pytest.raises(DataError):
                draw(path)
    with pytest.raises(ConfigError, match=r"no feature 'x'; there are: user_category"):
        draw_dependence(value_NF, phi_NF, COLUMNS, "x", path, title="t")
    for labels, steps in (([], []), (["a"], [1.0, 2.0]), (["a"], [np.inf])):
        with pytest.raises(DataError):
            draw_waterfall(labels, steps, path, title="t", start=0.0)
    assert not path.exists()


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in drawings(*world(5)):
        with pytest.raises(MissingExtraError, match=r"muma\[plot\]"):
            draw(tmp_path / "a.png")
