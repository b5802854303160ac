"""A state fed with blanked events equals one that never met them; a forgotten user reads as new."""

import numpy as np
import polars as pl

from muma.backends.state_memory import MemoryStore
from muma.features.forget import forget, holds
from online_support import MINUTE, T0, clicks, engine_of, every_state

ME = 3


def made(n=60):
    return clicks(
        [k * MINUTE for k in range(n)], user=[k % 5 for k in range(n)],
        item=[k % 7 for k in range(n)], received_at=T0 + n * MINUTE,
    )  # fmt: skip


def blanked(frame):
    left = pl.all().exclude("received_at")
    return frame.with_columns(pl.when(pl.col("user_id") != ME).then(left).otherwise(None))


def content(store):
    with store.snapshot() as view:
        return {
            (table, int(key)): records[place]
            for table in view.tables()
            for keys, records in view.scan(table)
            for place, key in enumerate(keys)
        }


def fed(frame, store=None):
    store = store or MemoryStore()
    engine = engine_of(every_state(), store)
    engine.apply(frame, offset=0)
    engine.commit()
    return engine, store


def test_blanked_events_are_counted_and_change_nothing():
    engine, store = fed(blanked(made()))
    _, without = fed(made().filter(pl.col("user_id") != ME))
    assert content(store) == content(without)
    counted = engine.counters
    assert (counted.events, counted.applied, counted.erased, counted.quarantined) == (60, 48, 12, 0)
    assert engine.offsets == {0: 60}
    assert not engine.quarantined().height
    again = engine_of(every_state(), store)
    assert again.counters == counted


def test_an_event_that_is_only_partly_null_is_no_erased_one():
    frame = blanked(made()).with_columns(item_id=pl.lit(1, dtype=pl.UInt32))
    engine, _ = fed(frame)
    assert (engine.counters.erased, engine.counters.quarantined) == (0, 12)


def test_a_forgotten_user_reads_as_one_never_seen():
    _, store = fed(made())
    before = content(store)
    mine = holds(store, ME)
    assert mine > 0
    assert forget(store, ME) == mine
    after = content(store)
    assert len(before) - len(after) == mine
    assert after.items() <= before.items()  # the others' records are the same bytes
    engine = engine_of(every_state(), store)
    at = T0 + 61 * MINUTE
    items = np.arange(7)
    got, never = (engine.lookup(user, items, at).values_BF for user in (ME, 4_000))
    np.testing.assert_array_equal(got, never)
    engine.apply(clicks([62 * MINUTE], user=ME), offset=60)
    assert engine.commit()
    assert holds(store, ME) > 0  # an index that comes back is met as a new one
