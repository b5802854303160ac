"""Where the eyes rested: fixations become a heat map, a small network of convolutions reads it.

    H(p) = sum_k w_k exp(-|p - p_k|^2 / 2 s^2),      coordinates in [0, 1]

Three channels differ in the weight of a fixation k of duration d_k: its share d_k / sum d of all
looking; its seconds d_k, as log(1 + H), because a long look is surer than a short one; and its
place in time, fade^(fixations after k), normalised, because a map of durations forgets order and
the last look says most about a choice.

Without a fixation the source is missing, never a blank map. Gaze is personal data: the source is off
unless a recipe names it.

Shape: R entities with fixations, F fixations, P side of the map, C channels (3), D width.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from muma.events.event import EventLog
from muma.fusion.encoder import Encoder, EncoderConfig
from muma.fusion.layers import generator, linear
from muma.fusion.rows import Rows
from muma.fusion.tables import KEYS

CHANNELS = 3
_CELLS = 1 << 22  # kernel values held at once


class GazeConfig(EncoderConfig):
    """Parameters of `GazeEncoder`.

    Attributes:
        side: P; a multiple of 4.
        sigma: s, as a share of the screen's side.
        fade: weight of a fixation in the third channel against the one after it.
        filters: feature maps of the first convolution; the second has twice as many.
    """

    name: str = "gaze"
    side: int = Field(default=12, ge=4, multiple_of=4)
    sigma: float = Field(default=0.08, gt=0)
    fade: float = Field(default=0.3, gt=0, lt=1)
    filters: int = Field(default=8, ge=1)


class GazeEncoder(Encoder):
    """Heat map and convolutions.

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> GazeEncoder(GazeConfig(width=4)).fit(media_log())(torch.tensor([0])).shape
        torch.Size([1, 4])
    """

    def __init__(self, config: GazeConfig) -> None:
        super().__init__(config)
        self.gaze = config
        self._declare(dense=("heat_RCPP",))
        rng = generator(config.seed, config.name)
        maps = (CHANNELS, config.filters, 2 * config.filters)
        self.see = nn.Sequential(
            _convolution(maps[0], maps[1], rng),
            nn.GELU(),
            nn.AvgPool2d(2),
            _convolution(maps[1], maps[2], rng),
            nn.GELU(),
            nn.AvgPool2d(2),
        )
        self.out = linear(maps[2] * (config.side // 4) ** 2, config.width, rng)

    def _read(self, log: EventLog) -> Rows:
        key = KEYS[self.entity]
        found = (
            log.gaze.filter(pl.col(key).is_not_null() & (pl.col("duration_ms") > 0))
            .select(pl.col(key).cast(pl.Int64), "x", "y", "start", "duration_ms")
            .sort(key, "start", maintain_order=True)
            .collect()
        )
        index_R, row_F = np.unique(found[key].to_numpy(), return_inverse=True)
        heat_RCPP = heat_maps(
            row_F,
            found.select("x", "y").to_numpy(),
            found["duration_ms"].to_numpy() / 1000,
            self.gaze,
        )
        return Rows(index_R.astype(np.int64), {"heat_RCPP": heat_RCPP})

    def _encode(self, slot_n: Tensor) -> Tensor:
        heat_nCPP = self.get_buffer("heat_RCPP")[slot_n]
        return self.out(self.see(heat_nCPP).flatten(1))


def heat_maps(
    row_F: np.ndarray,
    xy_F2: np.ndarray,
    seconds_F: np.ndarray,
    config: GazeConfig,
) -> np.ndarray:
    """Heat maps, float32 [R, 3, P, P], first index of a map downwards.

    Args:
        row_F: entity of each fixation, ascending in [0, R) without gaps; each one's in order of time.
        xy_F2: places in [0, 1].
        seconds_F: durations, above 0.
        config: side, sigma and fade.
    """
    rows, side = (int(row_F.max()) + 1 if len(row_F) else 0), config.side
    centre_P = (np.arange(side) + 0.5) / side
    last_F = np.searchsorted(row_F, row_F, side="right") - 1
    recent_F = config.fade ** (last_F - np.arange(len(row_F)))
    total_R, recent_R = (np.bincount(row_F, w, minlength=rows) for w in (seconds_F, recent_F))
    weight_CF = np.stack([seconds_F / total_R[row_F], seconds_F, recent_F / recent_R[row_F]])
    near_2FP = np.exp(-((centre_P - xy_F2.T[:, :, None]) ** 2) / (2 * config.sigma**2))
    heat_RCPP = np.zeros((rows, CHANNELS, side, side), dtype=np.float32)
    step = max(1, _CELLS // (CHANNELS * side * side))
    for start in range(0, len(row_F), step):
        part = slice(start, start + step)
        kernel = np.einsum(
            "cf,fp,fq->fcpq", weight_CF[:, part], near_2FP[1, part], near_2FP[0, part]
        )
        np.add.at(heat_RCPP, row_F[part], kernel)
    heat_RCPP[:, 1] = np.log1p(heat_RCPP[:, 1])
    return heat_RCPP


def _convolution(inputs: int, outputs: int, rng: torch.Generator) -> nn.Conv2d:
    meta = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False, device="meta")
    layer = meta.to_empty(device="cpu")
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=rng)
    return layer
