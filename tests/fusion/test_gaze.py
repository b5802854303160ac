"""Heat maps against a plain loop, and on pages that people looked at."""

import gzip
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from muma.fusion.encoders.gaze import GazeConfig, GazeEncoder, heat_maps
from muma.testing.logs import tiny_log

CONFIG = GazeConfig(width=4, side=8, sigma=0.1, fade=0.25)
FIXATIONS = [(0, 0.1, 0.2, 0, 300), (0, 0.9, 0.5, 350, 100), (2, 0.5, 0.5, 10, 50)]


def log_with(fixations, n_items=4):
    frame = pl.LazyFrame(
        [(0, item, x, y, 1000 * start, length) for item, x, y, start, length in fixations],
        schema={
            "user_id": pl.UInt32, "item_id": pl.UInt32, "x": pl.Float64, "y": pl.Float64,
            "start": pl.Int64, "duration_ms": pl.Int32,
        },
        orient="row",
    )  # fmt: skip
    return replace(tiny_log({0: [0]}, n_items=n_items), gaze=frame)


def test_a_heat_map_is_a_weighted_sum_of_bumps():
    encoder = GazeEncoder(CONFIG).fit(log_with(FIXATIONS))
    heat = encoder.get_buffer("heat_RCPP").numpy()
    assert heat.shape == (2, 3, 8, 8)
    place = (np.arange(8) + 0.5) / 8
    expected = np.zeros((3, 8, 8))
    weights = [[0.75, 0.25], [0.3, 0.1], [0.2, 0.8]]
    for channel in range(3):
        for weight, (_, x, y, _, _) in zip(weights[channel], FIXATIONS[:2], strict=True):
            for row in range(8):
                for column in range(8):
                    away = (place[column] - x) ** 2 + (place[row] - y) ** 2
                    bump = np.exp(-away / (2 * 0.1**2))
                    expected[channel, row, column] += weight * bump
    expected[1] = np.log1p(expected[1])
    np.testing.assert_allclose(heat[0], expected, atol=1e-6)


def test_no_gaze_is_missing_and_blank_fixations_do_not_count():
    encoder = GazeEncoder(CONFIG).fit(log_with([*FIXATIONS, (3, 0.5, 0.5, 0, 0)]))
    assert encoder.present(torch.arange(4)).tolist() == [True, False, True, False]
    empty = GazeEncoder(CONFIG).fit(log_with([]))
    assert not bool(empty.present(torch.arange(4)).any())
    assert bool((empty(torch.arange(4)) == 0).all())


def test_order_of_rows_and_the_hour_do_not_matter():
    plain = GazeEncoder(CONFIG).fit(log_with(FIXATIONS)).get_buffer("heat_RCPP")
    turned = GazeEncoder(CONFIG).fit(log_with(FIXATIONS[::-1])).get_buffer("heat_RCPP")
    torch.testing.assert_close(plain, turned)
    later = [(i, x, y, start + 10_000, length) for i, x, y, start, length in FIXATIONS]
    torch.testing.assert_close(
        plain, GazeEncoder(CONFIG).fit(log_with(later)).get_buffer("heat_RCPP")
    )


def test_the_third_channel_remembers_the_last_look():
    left, right = (0.1, 0.5), (0.9, 0.5)
    looks = [(0, *left, 0, 500), (0, *right, 600, 300), (1, *right, 0, 300), (1, *left, 400, 500)]
    heat = GazeEncoder(CONFIG).fit(log_with(looks)).get_buffer("heat_RCPP")
    share = heat[:, :, :, 4:].sum(dim=(2, 3)) / heat.sum(dim=(2, 3))
    assert abs(float(share[0, 0] - share[1, 0])) < 1e-5  # the same looks in all
    assert share[0, 2] > 0.7 > 0.3 > share[1, 2]


def test_blocks_leave_no_trace(monkeypatch):
    rng = np.random.Generator(np.random.PCG64(1))
    row_F = np.sort(np.append(rng.integers(5, size=95), range(5)))
    parts = (row_F, rng.random((100, 2)), rng.random(100) + 0.1, CONFIG)
    whole = heat_maps(*parts)
    monkeypatch.setattr("muma.fusion.encoders.gaze._CELLS", 3 * 64 * 7)
    np.testing.assert_allclose(heat_maps(*parts), whole, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_pages_that_people_looked_at_encode(published):
    with gzip.open(published / "gaze-fiwi-webpages" / "eye_fixations.csv.gz") as stream:
        fixations = pl.read_csv(stream.read())
    pages = fixations["image"].unique(maintain_order=True).to_list()
    rows = [
        (pages.index(page), min(max(x / 1366, 0), 1), min(max(y / 768, 0), 1), start, 200)
        for page, x, y, start in fixations.select("image", "x", "y", "onset_ms").iter_rows()
    ]
    z_ND = GazeEncoder(CONFIG).fit(log_with(rows, len(pages)))(torch.arange(len(pages)))
    assert len(pages) == 51
    assert bool(torch.isfinite(z_ND).all())
    assert len(torch.unique(z_ND, dim=0)) == 51
