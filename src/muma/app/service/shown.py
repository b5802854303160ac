"""What came of past answers: the events of the stream, joined to the slots that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import polars as pl

from muma.events.stream import EventStream
from muma.serving.evidence.rewards import RewardConfig

PIECE = 50_000


@dataclass
class Earned:
    """Rewards of one answer.

    Attributes:
        time: of the decision, microseconds.
        reward: item -> the greatest weight that came; items that were not shown are absent.
    """

    time: int
    reward: dict[str, float] = field(default_factory=dict)


def earned_by(
    stream: EventStream, decided: dict[str, int], rule: RewardConfig
) -> dict[str, Earned]:
    """Request -> what its slots earned, by the one rule of `RewardConfig`.

    Args:
        stream: the events.
        decided: request -> time of the decision, microseconds.
        rule: what counts.
    """
    found = {request: Earned(time) for request, time in decided.items()}
    if not found:
        return found
    ids = stream.item_ids.ids
    for frame in _events(stream, min(decided.values()), decided.keys(), rule):
        items = ids.gather(frame["item_id"]).cast(pl.String)
        columns = (
            frame["request_id"],
            items,
            frame["kind"],
            frame["timestamp"],
            frame["received_at"],
        )
        for request, item, kind, at, arrived in zip(*(c.to_list() for c in columns), strict=True):
            one, weight = found[request], rule.weight(kind)
            if weight is not None and rule.counts(one.time, at, arrived):
                one.reward[item] = max(weight, one.reward.get(item, 0.0))
    return found


def _events(
    stream: EventStream, since: int, requests: Collection[str], rule: RewardConfig
) -> Iterator[pl.DataFrame]:
    kinds = [*rule.kinds, *([rule.shown_by] if rule.shown_by else [])]
    wanted = pl.col("request_id").is_in(list(requests)) & pl.col("item_id").is_not_null()
    ends = stream.ends()
    for partition, end in ends.items():
        offset = first_since(stream, partition, since)
        while offset < end:
            batch = stream.read(partition, offset, limit=PIECE)
            if batch is None:
                break
            offset = batch.next_offset
            yield batch.frame.filter(wanted & pl.col("kind").cast(pl.String).is_in(kinds))


def first_since(stream: EventStream, partition: int, since: int) -> int:
    """First offset of a partition whose event arrived at `since` or later, by halving.

    Times of arrival rise within a partition.
    """
    low, high = stream.starts().get(partition, 0), stream.ends().get(partition, 0)
    while low < high:
        middle = (low + high) // 2
        batch = stream.read(partition, middle, limit=1)
        if batch is not None and int(batch.frame.item(0, "received_at")) < since:
            low = middle + 1
        else:
            high = middle
    return low
