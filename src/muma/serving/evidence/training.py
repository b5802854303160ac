"""What came of the decisions: a past for off-policy evaluation, and rows for training.

    folder/
    ├── decisions-00000.parquet ...   one row a slot: item, propensity, support, floor, reward ...
    ├── features-00000.parquet ...    one row a slot: the features of then, and `_`-columns beside
    └── joined.json                   counts and settings; written last, so it makes the folder whole

An event belongs to a slot when it names its request and its item and happened within the horizon.
The reward of a slot is the greatest weight among the signals that came, so it stays in [0, 1] and an
event that is sent twice changes nothing. A decision whose horizon is not over is left out: nobody
knows its reward yet. One that was erased is left out too: what came of it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from muma.config import Config
from muma.errors import ConfigError, DataError
from muma.events.vocabulary import Vocabulary
from muma.features.span import parse_span
from muma.serving.evidence.frames import ERASED, Frame, request_hash, tenant_hash
from muma.serving.evidence.joining import NO_EVENTS, Events, decisions, features
from muma.serving.evidence.reader import EvidenceReader
from muma.serving.evidence.segments import replace_file
from muma.serving.recommending import Evidence

A_PART = 2_000  # decisions of a file


class TrainingConfig(Config):
    """What counts as a reward.

    Attributes:
        signals: kind of event -> its weight in the reward, in [0, 1].
        shown_by: kind of event that says a slot was seen.
        horizon: time after the decision within which a signal counts, such as `"1d"`.
    """

    signals: dict[str, float] = Field(default={"click": 1.0}, min_length=1)
    shown_by: str = "impression"
    horizon: str = "1d"

    @field_validator("signals")
    @classmethod
    def _are_weights(cls, signals: dict[str, float]) -> dict[str, float]:
        if wrong := {k: w for k, w in signals.items() if not 0 <= w <= 1}:
            raise ValueError(f"got {wrong}; a weight lies in [0, 1], as rewards do")
        return signals

    @field_validator("horizon")
    @classmethod
    def _is_a_span(cls, text: str) -> str:
        try:
            parse_span(text)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return text


@dataclass(frozen=True)
class Joined:
    """What was joined, and what was not.

    Attributes:
        decisions, slots: written.
        erased: decisions left out: their person was forgotten.
        repeated: decisions left out: a later one has the same request id.
        open: decisions left out: their horizon is not over.
        unranked: slots without features: pins, or items that no ranker saw.
        events: events that name a request and are of a kind that counts.
        matched: events that belong to a written slot.
        duplicates: events that came again.
        early, late: events before their decision, or after its horizon.
        unknown_request: events of no written decision.
        unknown_item: events of a written decision, of an item that it did not show.
    """

    decisions: int = 0
    slots: int = 0
    erased: int = 0
    repeated: int = 0
    open: int = 0
    unranked: int = 0
    events: int = 0
    matched: int = 0
    duplicates: int = 0
    early: int = 0
    late: int = 0
    unknown_request: int = 0
    unknown_item: int = 0


def join(
    log: EvidenceReader,
    events: pl.DataFrame | Iterable[pl.DataFrame],
    folder: str | Path,
    *,
    now: int,
    item_ids: Vocabulary | None = None,
    since: int | None = None,
    until: int | None = None,
    tenant: str = "default",
    config: TrainingConfig | None = None,
) -> Joined:
    """Join events to the decisions that they name, and write both as Parquet.

    The events of the stretch are held in memory (of each, request, item, kind and time); decisions
    are read piece by piece.

    Args:
        log: the decisions.
        events: `request_id`, `item_id` (raw, as in the answers), `kind`, `timestamp` (microseconds),
            and `event_id` if there is one; other columns are not read.
        folder: where to write; new or empty.
        now: UTC microseconds up to which events are complete; decides which horizons are over.
        item_ids: raw item id <-> dense index of the decisions; without it no features are written.
        since: earliest time of a decision, microseconds; None for all.
        until: time before which decisions lie.
        tenant: whose decisions.
        config: what counts.

    Raises:
        DataError: a column is missing, or the folder holds something.
        StoreError: a decision cannot be read.
    """
    settings = config or TrainingConfig()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise DataError(f"{target} is not empty; name a new folder")
    horizon = parse_span(settings.horizon)
    came = Events.of(events, kinds=(settings.shown_by, *settings.signals))
    places = None if item_ids is None else _places(item_ids)
    counts = {"erased": 0, "repeated": 0, "open": 0, "decisions": 0, "slots": 0, "unranked": 0}
    wanted = _wanted(log, since, until, tenant, counts, last=now - horizon)
    part = 0
    while piece := list(islice(wanted, A_PART)):
        table = decisions(piece)
        taken = came.join(table, horizon) if came.frame.height else NO_EVENTS
        table = _rewarded(table, taken, settings)
        table.write_parquet(target / f"decisions-{part:05d}.parquet")
        counts["decisions"] += len(piece)
        counts["slots"] += table.height
        if places is not None:
            written = features(piece, table, places)
            counts["unranked"] += table.height - sum(frame.height for frame in written)
            for number, frame in enumerate(written):
                frame.write_parquet(target / f"features-{part:05d}-{number}.parquet")
        part += 1
    joined = Joined(**counts, **came.counts())
    summary = {"settings": settings.model_dump(), "counts": asdict(joined), "tenant": tenant,
               "now": now, "since": since, "until": until}  # fmt: skip
    replace_file(target / "joined.json", json.dumps(summary, indent=1).encode())
    return joined


def _wanted(
    log: EvidenceReader,
    since: int | None,
    until: int | None,
    tenant: str,
    counts: dict[str, int],
    *,
    last: int,
) -> Iterator[Evidence]:
    """Decisions to write, each request once: its newest."""
    mine = tenant_hash(tenant)
    newest: dict[int, int] = {}
    for frame in log.heads(since, until):
        if frame.tenant == mine:
            newest[frame.request] = max(frame.time, newest.get(frame.request, frame.time))
    done: set[int] = set()
    for frame, evidence in log.flagged(since, until, tenant=tenant):
        reason = _left_out(frame, newest, done, last)
        if reason is not None:
            counts[reason] += 1
            continue
        done.add(request_hash(evidence.ask.request_id))
        yield evidence


def _left_out(frame: Frame, newest: dict[int, int], done: set[int], last: int) -> str | None:
    if frame.flags & ERASED:
        return "erased"
    # one that was written after the heads were read counts as a repeat of nothing
    if frame.time < newest.get(frame.request, frame.time) or frame.request in done:
        return "repeated"
    return "open" if frame.time > last else None


def _rewarded(table: pl.DataFrame, taken: pl.DataFrame, settings: TrainingConfig) -> pl.DataFrame:
    """The decisions with the first time of each signal, whether they were seen, and the reward."""
    kinds = list(dict.fromkeys((settings.shown_by, *settings.signals)))
    first = taken.group_by("request_id", "item").agg(
        pl.col("timestamp").filter(pl.col("kind") == kind).min().alias(f"{kind}_at")
        for kind in kinds
    )
    table = table.join(first, on=["request_id", "item"], how="left", maintain_order="left")
    weights = [
        pl.when(pl.col(f"{kind}_at").is_not_null()).then(weight).otherwise(0.0)
        for kind, weight in settings.signals.items()
    ]
    seen = pl.any_horizontal(pl.col(f"{kind}_at").is_not_null() for kind in kinds)
    return table.with_columns(pl.max_horizontal(weights).alias("reward"), seen.alias("shown"))


def _places(item_ids: Vocabulary) -> dict[str, int]:
    texts = item_ids.ids.cast(pl.String).to_list()
    return dict(zip(texts, np.arange(len(texts)).tolist(), strict=True))
