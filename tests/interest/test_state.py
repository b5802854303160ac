"""States as bytes: exact, small, and refused when they are not this model's."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.backends.state_memory import MemoryStore
from muma.errors import ConfigError
from muma.features.store import Changes, Records, TableChange
from muma.interest.state import TABLE, States, StateShape, model_key, pack, unpack

SHAPE = StateShape(states=2, width=4, memory=5, read=8)


def states(users=3, shape=SHAPE, seed=1):
    """Random states whose memory is zeros beyond `count`."""
    rng = np.random.default_rng(seed)
    count_B = rng.integers(0, shape.memory + 1, users)
    kept_BM = np.arange(shape.memory) >= shape.memory - count_B[:, None]
    normal = lambda *size: rng.normal(size=size).astype(np.float32)  # noqa: E731
    return States(
        normal(users, shape.states, shape.width),
        normal(users, shape.memory, shape.read) * kept_BM[..., None],
        np.abs(normal(users, shape.memory)) * kept_BM,
        count_B,
        rng.integers(0, 2**60, users),
    )


def assert_same(one, two):
    for name, value in vars(one).items():
        other = getattr(two, name)
        assert value.dtype == other.dtype
        np.testing.assert_array_equal(value, other)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 4), st.integers(0, 2), st.integers(1, 5), st.integers(0, 6),
    st.integers(1, 9), st.integers(0, 99),
)  # fmt: skip
def test_exact(users, n_states, width, memory, read, seed):
    shape = StateShape(n_states, width, memory, read)
    before = states(users, shape, seed)
    after, found_B = unpack(pack(before, "v1"), "v1", shape)
    assert found_B.all()
    assert_same(before, after)


def test_a_short_history_takes_little():
    empty, whole = pack(States.empty(1, SHAPE), "v1")[0], pack(states(50), "v1")
    assert len(empty) == 30 + 4 * SHAPE.states * SHAPE.width + 4
    assert max(map(len, whole)) == len(empty) + 4 * SHAPE.memory * (1 + SHAPE.read)


def test_absent_or_another_models_is_empty():
    records = pack(states(), "v1")
    for given_ in ([None] * 3, [b""] * 3, [*records[:1], None, b"MI"]):
        found, found_B = unpack(given_, "v1", SHAPE)
        assert found_B.sum() == (given_[0] is not None and len(given_[0]) > 0)
        assert_same(
            replace(found, **{n: v[1:] for n, v in vars(found).items()}), States.empty(2, SHAPE)
        )
    assert not unpack(records, "v2", SHAPE)[1].any()
    for name in ("states", "width", "memory", "read"):
        other = replace(SHAPE, **{name: getattr(SHAPE, name) + 1})
        found, found_B = unpack(records, "v1", other)
        assert not found_B.any()
        assert_same(found, States.empty(3, other))


def test_another_format_is_absent():
    body = bytearray(pack(states(1), "v1")[0][:-4])
    struct.pack_into("<H", body, 2, 2)
    record = bytes(body) + struct.pack("<I", zlib.crc32(body))
    assert not unpack([record], "v1", SHAPE)[1].any()


def test_more_events_than_the_memory_holds_is_absent():
    larger = replace(SHAPE, memory=SHAPE.memory + 2)
    before = replace(states(1, larger), count_B=np.array([SHAPE.memory + 1]))
    body = bytearray(pack(before, "v1")[0][:-4])
    struct.pack_into("<H", body, 16, SHAPE.memory)
    record = bytes(body) + struct.pack("<I", zlib.crc32(body))
    assert not unpack([record], "v1", SHAPE)[1].any()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_is_absent(data):
    record = pack(states(1), "v1")[0]
    place = data.draw(st.integers(0, len(record) - 1))
    flipped = bytearray(record)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not unpack([bytes(flipped)], "v1", SHAPE)[1].any()
    assert not unpack([record[:place]], "v1", SHAPE)[1].any()
    assert not unpack([record + record[:place]], "v1", SHAPE)[1][0] or place == 0


def test_lives_in_the_feature_store():
    store, before = MemoryStore(), states()
    key_B = np.array([7, 3, 9], dtype=np.uint64)
    store.commit(Changes([TableChange(TABLE, key_B, Records.of(pack(before, "v1")))]))
    with store.snapshot() as snapshot:
        found = snapshot.get(TABLE, np.array([7, 3, 9, 4], dtype=np.uint64))
    after, found_B = unpack([found[user] for user in range(4)], "v1", SHAPE)
    assert found_B.tolist() == [True, True, True, False]
    assert_same(before, replace(after, **{n: v[:3] for n, v in vars(after).items()}))


def test_versions_have_their_own_keys():
    assert len({model_key(f"v{n}") for n in range(1000)}) == 1000
    assert model_key("v1") == model_key("v1")


def test_sizes_must_fit():
    with pytest.raises(ConfigError, match="65535"):
        StateShape(2, 70_000, 5, 4)
