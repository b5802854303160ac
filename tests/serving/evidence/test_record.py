"""Records come back bit for bit, whatever they hold; what is no record is refused."""

from contextlib import suppress
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from muma.errors import StoreError
from muma.serving.evidence.record import decode, encode
from muma.serving.recommending import Answer, Ask, Evidence, Filters, Hit, ServedItem
from muma.testing.evidence_suite import same, small

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.just("ü" * 300)
number = st.floats(allow_nan=True, allow_infinity=True)
whole = st.integers(-(2**63), 2**63 - 1)
some_text = st.lists(text, max_size=3).map(tuple)
dtypes = st.sampled_from(["<f4", "<f8", "<i8", "<i4", ">f4", "|b1", "|u1"])


@st.composite
def array(draw, ndim):
    shape = draw(arrays.array_shapes(min_dims=ndim, max_dims=ndim, min_side=0, max_side=5))
    made = draw(arrays.arrays(draw(dtypes), shape))
    return np.asfortranarray(made) if draw(st.booleans()) else made


asks = st.builds(
    Ask, text, whole, tenant=text, user=st.none() | text, session=some_text,
    count=st.integers(1, 200), context=st.dictionaries(text, number | text, max_size=3),
    region=st.none() | text, age=st.none() | st.integers(0, 120),
    filters=st.builds(Filters, some_text, some_text, some_text, some_text, some_text),
    exclude=some_text, candidates=st.none() | some_text, explain=st.booleans(),
    profiling=st.booleans(), consent=some_text, deadline_us=whole,
)  # fmt: skip
served = st.builds(
    ServedItem, text, st.none() | text, st.none() | text, number, number, st.booleans(),
    st.dictionaries(text, number, max_size=2), some_text, st.none() | text,
    st.dictionaries(text, number, max_size=2), some_text,
)  # fmt: skip
answers = st.builds(
    Answer, text, st.lists(served, max_size=3).map(tuple), some_text,
    st.dictionaries(text, text, max_size=2), whole, st.dictionaries(text, whole, max_size=2),
)  # fmt: skip
evidence = st.builds(
    Evidence, asks, answers, array(1), array(2), some_text, array(1), array(1), number,
    st.lists(st.builds(Hit, text, text, some_text, whole), max_size=2).map(tuple),
    whole, st.none() | array(1), st.none() | array(1),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(evidence)
def test_every_bit_comes_back(given_one):
    got = decode(encode(given_one))
    assert same(got, given_one)
    assert got.value_NF.flags.c_contiguous
    assert not got.value_NF.flags.writeable


def test_same_would_notice():
    one = small("r")
    assert same(one, small("r"))
    for other in (
        replace(one, floor=0.02),
        replace(one, value_NF=one.value_NF.astype(np.float64)),
        replace(one, value_NF=-one.value_NF),
        replace(one, vector_D=None),
        replace(one, ask=replace(one.ask, context={"page": 1.0})),
        replace(one, answer=replace(one.answer, items=one.answer.items[:1])),
    ):
        assert not same(one, other)


def test_scalars_of_numpy_are_numbers():
    ask = replace(small("r").ask, context={"a": np.float32(0.5), "b": np.int64(3)})
    assert decode(encode(replace(small("r"), ask=ask))).ask.context == {"a": 0.5, "b": 3.0}


@pytest.mark.parametrize(
    "wrong",
    [{"item_N": np.array(["a"])}, {"item_N": np.array([None])}, {"hits": (object(),)},
     {"user_index": 2**70}, {"ask": Ask("\ud800", 1)}],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(wrong):
    with pytest.raises(StoreError, match="cannot be kept"):
        encode(replace(small("r"), **wrong))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_other_bytes_are_refused(raw):
    with pytest.raises(StoreError):
        decode(raw)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_scribble_is_refused_or_read(data):
    raw = bytearray(encode(small("r")))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(StoreError):
        decode(bytes(raw))


def test_a_later_version_may_add_and_drop_fields():
    tree = msgspec.msgpack.decode(encode(small("r")))
    tree["new"] = {"a": 1}
    del tree["user_index"]
    assert decode(msgspec.msgpack.encode(tree)).user_index == -1
    del tree["floor"]
    with pytest.raises(StoreError, match="floor"):
        decode(msgspec.msgpack.encode(tree))
