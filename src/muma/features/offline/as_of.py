"""Point-in-time features: what was known of each row's user and item at its own moment.

A row at time t sees the events with time < t and nothing else.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from muma import progress
from muma.events.event import EventLog
from muma.features.catalogue import Catalogue
from muma.features.feature import FeatureTable
from muma.features.followers import Followers
from muma.features.offline import lasts
from muma.features.offline.chunk import chunks, padding, read, size_of
from muma.features.offline.history import load
from muma.features.offline.rows import Rows
from muma.features.plan import Plan


def as_of(
    log: EventLog,
    rows: pl.DataFrame | pl.LazyFrame,
    plan: Plan,
    *,
    catalogue: Catalogue | None = None,
    followers: Followers | None = None,
    chunk_rows: int | None = None,
) -> FeatureTable:
    """Features of every row at its own time, in the order of `rows`.

    Args:
        log: the events, the items and the edges.
        rows: `user_id`, `item_id` (dense; null or -1 for none) and `timestamp` (microseconds).
        plan: the features.
        catalogue: attributes of items; the log's by default.
        followers: who follows whom; the log's by default.
        chunk_rows: rows worked on together; by default what fits a GiB. It changes no value.

    Returns:
        the features, the sequences and the times.

    Raises:
        SchemaError: a column of `rows` is missing or of the wrong type.
        DataError: a timestamp is null, or an id is no index.
        ConfigError: `chunk_rows` is less than 1.
    """
    size = size_of(chunk_rows, 8 * plan.merged)
    asked = Rows.of(rows)
    history = load(log, asked, plan, catalogue=catalogue, followers=followers)
    values_BF = np.empty((len(asked), len(plan.columns)))
    sequences = padding(plan, len(asked))
    with progress.task("features", total=len(asked)) as task:
        for start, stop in chunks(len(asked), size):
            into = {name: lasts.part_of(seq, start, stop) for name, seq in sequences.items()}
            read(history, asked.part(start, stop), values_BF[start:stop], into)
            task.advance(stop - start)
    return FeatureTable(plan.columns, values_BF, asked.at_B, sequences)
