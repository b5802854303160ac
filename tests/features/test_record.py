"""Records: what is encoded comes back, what is damaged is refused, what nobody can read is left out."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import StoreError
from muma.features.online.kernel_tables import kernel_tables
from muma.features.online.record import HEADER, decode, encode, plan_signature, signature, view
from muma.features.store import Records
from online_support import (
    MINUTE,
    T0,
    clicks,
    committed,
    counts,
    engine_of,
    every_state,
    plan_of,
    random_events,
)

PLAN = every_state()
USER = PLAN.kinds[PLAN.kind("user")]
TABLES = kernel_tables(USER, len(PLAN.writes))
SIGN = signature(USER)
DAMAGE = r"a record of 'user' \(number 0 of the read\) (is|is of) (cut short|another|damaged)"


def rows_of(seed, n=400):
    """Rows as an engine leaves them, tidied: int64 [R, width]."""
    _, store = committed(PLAN, [random_events(seed, n)])
    with store.snapshot() as snapshot:
        [(_, held)] = snapshot.scan("user")
    return decoded(held)


def decoded(held, kind=USER, sign=SIGN):
    rows = np.full((len(held), kind.width), 99, np.int64)
    decode(held, rows, np.arange(len(held)), sign, kind.name)
    return rows


def encoded(rows):
    return encode(rows.copy(), np.arange(len(rows)), TABLES, SIGN)


ROWS = rows_of(1)
RECORD = encoded(ROWS)[0]


def test_rows_of_an_engine_come_back():
    assert len(ROWS) == 6
    assert (ROWS[:, 0] > T0).all()
    np.testing.assert_array_equal(decoded(encoded(ROWS)), ROWS)


def test_an_absent_record_is_a_row_of_zeros():
    held = encoded(ROWS[:2])
    rows = decoded(Records.of([held[0], None, held[1]]))
    assert not rows[1].any()
    np.testing.assert_array_equal(rows[[0, 2]], ROWS[:2])


def test_rows_may_lie_anywhere():
    held = encoded(ROWS[:2])
    rows = np.zeros((5, USER.width), np.int64)
    decode(held, rows, np.array([4, 1]), SIGN, "user")
    np.testing.assert_array_equal(rows[[4, 1]], ROWS[:2])
    assert not rows[[0, 2, 3]].any()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40), st.integers(0, 500))
def test_any_integers_come_back(words, gap):
    """Of states without a bound, which tidying leaves alone."""
    plan = plan_of(
        {"top": {"use": "topk.TopK", "keys": ("user",), "buckets": 1000, "windows": ("all",)}}
    )
    kind = plan.kinds[0]
    row = np.zeros((1, kind.width), np.int64)
    row[0, 0] = T0
    for place, word in enumerate(words):
        row[0, 1 + place * (1 + gap % 20) + gap] = word
    sign = signature(kind)
    held = encode(row.copy(), np.array([0]), kernel_tables(kind, len(plan.writes)), sign)
    np.testing.assert_array_equal(decoded(held, kind, sign), row)


def test_many_large_rows_do_not_outgrow_the_buffer():
    rng = np.random.default_rng(0)
    kind = plan_of(
        {"top": {"use": "topk.TopK", "keys": ("user",), "buckets": 4000, "windows": ("all",)}}
    ).kinds[0]
    rows = rng.integers(-(2**63), 2**63, (50, kind.width))
    sign = signature(kind)
    held = encode(rows.copy(), np.arange(50), kernel_tables(kind, 1), sign)
    np.testing.assert_array_equal(decoded(held, kind, sign), rows)


def test_records_are_small():
    plan = counts(("1h/5m", "1d/1h", "7d/1d"), of=("click", "play", "impression"))
    engine = engine_of(plan)
    engine.apply(clicks(np.arange(0, 300, 10) * MINUTE))
    [change] = engine.changes().tables
    assert plan.kinds[0].width * 8 > 1_400
    assert change.records.lengths.max() < 120


class TestDamage:
    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.data())
    def test_a_changed_byte_is_noticed(self, data):
        place = data.draw(st.integers(0, len(RECORD) - 1))
        flip = data.draw(st.integers(1, 255))
        wrong = bytearray(RECORD)
        wrong[place] ^= flip
        with pytest.raises(StoreError, match=DAMAGE):
            decoded(Records.of([bytes(wrong)]))

    @pytest.mark.parametrize("length", [*range(1, 30), len(RECORD) // 2, len(RECORD) - 1])
    def test_a_cut_is_noticed(self, length):
        with pytest.raises(StoreError, match=DAMAGE):
            decoded(Records.of([RECORD[:length]]))

    def test_more_than_there_was_is_noticed(self):
        with pytest.raises(StoreError, match=DAMAGE):
            decoded(Records.of([RECORD + b"\0"]))

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.binary(min_size=0, max_size=80))
    def test_nonsense_under_a_right_checksum_stays_inside_the_row(self, body):
        """What a checksum cannot catch must not write beyond the row."""
        rows = np.full((3, USER.width), 7, np.int64)
        record = sealed(body)
        with suppress(StoreError):
            decode(Records.of([record]), rows, np.array([1]), SIGN, "user")
        assert (rows[[0, 2]] == 7).all()

    def test_another_format_and_another_layout_say_what_to_do(self):
        with pytest.raises(StoreError, match="another format; rebuild the state"):
            decoded(Records.of([bytes([RECORD[0] + 1]) + RECORD[1:]]))
        other = counts(("1h/5m",)).kinds[0]
        with pytest.raises(StoreError, match="another feature set; rebuild the state"):
            decoded(Records.of([RECORD]), other, signature(other))

    def test_a_record_outside_its_data_is_refused(self):
        whole = Records.of([RECORD])
        for starts, lengths in (([1], [len(RECORD)]), ([-1], [len(RECORD)]), ([0], [-5])):
            with pytest.raises(StoreError, match="cut short"):
                decoded(Records(whole.data, np.array(starts), np.array(lengths)))


def sealed(body):
    """A record with a right header and checksum around any bytes."""
    check = 0x811C9DC5
    for byte in body:
        check = (check ^ byte) * 0x01000193 % 2**32
    head = bytes([RECORD[0]]) + SIGN.to_bytes(4, "little") + check.to_bytes(4, "little")
    assert len(head) == HEADER
    return head + body


def test_the_seal_is_the_right_one():
    assert sealed(RECORD[HEADER:]) == RECORD


def test_plans_are_told_apart():
    plans = [
        counts(("1h/5m",)),
        counts(("1h/10m",)),
        counts(("1h/5m",), of=("play",)),
        counts(("1h/5m",), keys=("item",)),
        counts(("1h/5m",), lateness="20m"),
    ]
    assert len({plan_signature(plan) for plan in plans}) == len(plans)
    assert plan_signature(plans[0]) == plan_signature(counts(("1h/5m",)))


def test_a_view_names_everything():
    shown = view(USER, ROWS[0])
    assert shown["newest_us"] == ROWS[0, 0] - 1
    kinds = ["sliding", "decay", "alltime", "gap", "sequence"]
    assert all(any(name.startswith(kind) for name in shown) for kind in kinds)
    entries = shown["sequence all"]
    assert [entry["time_us"] for entry in entries] == sorted(e["time_us"] for e in entries)
    assert all(0 <= entry["item"] < 12 for entry in entries)
