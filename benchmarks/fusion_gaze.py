"""Gaze for `fusion.py`: fixations over three snacks tell which one is taken.

Krajbich and Rangel (PNAS 2011): 30 people, three pictures side by side, one is chosen. A trial is an
entity, its fixations lie at the middles of the left, middle and right third. People are split into
folds, so that nobody is both trained on and tested. Baselines are what the last fixation and the
longest total look point at; ties fall to the one looked at last.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

from muma.events.event import EventLog
from muma.fusion.encoders.gaze import GazeConfig, GazeEncoder
from muma.fusion.layers import generator, linear
from muma.rng import derive
from muma.testing.logs import tiny_log

FOLDS = 5
PLACES = (1 / 6, 1 / 2, 5 / 6)
ROIS = ("leftroi", "middleroi", "rightroi")
CHOICES = ("choice1", "choice2", "choice3")


@dataclass(frozen=True)
class Trials:
    """What was looked at and taken, T trials and F fixations."""

    log: EventLog
    person_T: np.ndarray
    chosen_T: np.ndarray
    last_T: np.ndarray
    longest_T: np.ndarray
    fixations: int


def trials(data: Path) -> Trials:
    """Read the experiment."""
    frame = read(data / "gaze-trinary-choice" / "data.csv.gz")
    frame = frame.with_columns(
        roi=pl.concat_list(ROIS).list.arg_max().cast(pl.Int64),
        chosen=pl.concat_list(CHOICES).list.arg_max().cast(pl.Int64),
    ).sort("subject", "trial", "fix_num", maintain_order=True)
    frame = frame.with_columns(
        index=pl.struct("subject", "trial").rle_id().cast(pl.UInt32),
    ).with_columns(
        start=(pl.col("eventduration").cum_sum().over("index") - pl.col("eventduration")) * 1000
    )
    seconds = np.zeros((frame["index"].n_unique(), 3))
    np.add.at(seconds, (frame["index"].to_numpy(), frame["roi"].to_numpy()),
              frame["eventduration"].to_numpy())  # fmt: skip
    each = frame.group_by("index", maintain_order=True).agg(
        pl.col("subject").first(), pl.col("chosen").first(), last=pl.col("roi").last()
    )
    last_T = each["last"].to_numpy()
    tied = seconds == seconds.max(axis=1, keepdims=True)
    longest_T = np.where(tied[np.arange(len(last_T)), last_T], last_T, seconds.argmax(axis=1))
    gaze = frame.select(
        pl.lit(0, pl.UInt32).alias("user_id"),
        item_id="index",
        x=pl.col("roi").replace_strict(dict(enumerate(PLACES)), return_dtype=pl.Float64),
        y=pl.lit(0.5),
        start=pl.col("start").cast(pl.Int64),
        duration_ms=pl.col("eventduration").cast(pl.Int32),
    )
    log = replace(tiny_log({0: [0]}, n_items=each.height), gaze=gaze.lazy())
    return Trials(log, each["subject"].to_numpy(), each["chosen"].to_numpy(), last_T, longest_T,
                  frame.height)  # fmt: skip


def predicted(found: Trials, *, epochs: int, seed: int, config: GazeConfig) -> np.ndarray:
    """Chosen item as the encoder predicts it for people it never saw, int64 [T]."""
    people = derive(seed, "people").permutation(np.unique(found.person_T))
    guess_T = np.full(len(found.person_T), -1)
    chosen_T = torch.tensor(found.chosen_T)
    for number in range(FOLDS):
        test = np.isin(found.person_T, people[number::FOLDS])
        train = np.flatnonzero(~test)
        rng = derive(seed, "gaze", number)
        encoder = GazeEncoder(config).fit(found.log)
        head = linear(config.width, 3, generator(seed, "head"))
        layers = [*encoder.parameters(), *head.parameters()]
        adam = torch.optim.AdamW(layers, lr=3e-3, weight_decay=1e-2)
        for _ in range(epochs):
            for batch in np.array_split(rng.permutation(train), -(-len(train) // 64)):
                index = torch.from_numpy(batch)
                loss = nn.functional.cross_entropy(
                    head(torch.tanh(encoder(index))), chosen_T[index]
                )
                adam.zero_grad()
                loss.backward()
                adam.step()
        with torch.no_grad():
            scores = head(torch.tanh(encoder(torch.from_numpy(np.flatnonzero(test)))))
        guess_T[test] = scores.argmax(dim=1).numpy()
    return guess_T


def pages(data: Path) -> dict[str, int]:
    """Encode the heat map of every web page of FiWI; counts of pages, fixations and failures."""
    folder = data / "gaze-fiwi-webpages"
    sizes = read(folder / "image_sizes.csv.gz")
    seen = read(folder / "eye_fixations.csv.gz").join(sizes, on="image", maintain_order="left")
    images = sizes["image"].to_list()
    place = {image: number for number, image in enumerate(images)}
    inside = pl.col("x").is_between(0, pl.col("width")) & pl.col("y").is_between(
        0, pl.col("height")
    )
    # the set has onsets only: a fixation lasts until the same viewer's next one, at most a second
    gap = pl.col("onset_ms").shift(-1).over("image", "viewer_index") - pl.col("onset_ms")
    gaze = seen.with_columns(gap=gap).filter(inside).select(
        user_id=pl.col("viewer_index").cast(pl.UInt32),
        item_id=pl.col("image").replace_strict(place, return_dtype=pl.UInt32),
        x=pl.col("x") / pl.col("width"),
        y=pl.col("y") / pl.col("height"),
        start=(pl.col("onset_ms") * 1000).cast(pl.Int64),
        duration_ms=pl.col("gap").fill_null(250).clip(1, 1000).cast(pl.Int32),
    )  # fmt: skip
    log = replace(tiny_log({0: [0]}, n_items=len(images)), gaze=gaze.lazy())
    encoder = GazeEncoder(GazeConfig(side=24, sigma=0.04)).fit(log)
    index = torch.arange(len(images))
    with torch.no_grad():
        vectors = encoder(index)
    well = encoder.present(index) & torch.isfinite(vectors).all(dim=1)
    return {
        "fiwi_pages": len(images),
        "fiwi_pages_encoded": int(well.sum()),
        "fiwi_pages_told_apart": len(torch.unique(vectors, dim=0)),
        "fiwi_fixations": gaze.height,
        "fiwi_fixations_off_screen": seen.height - gaze.height,
    }


def read(path: Path) -> pl.DataFrame:
    """A gzipped table."""
    with gzip.open(path) as stream:
        return pl.read_csv(stream.read())
