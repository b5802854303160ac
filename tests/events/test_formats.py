"""The byte stream in front of the CSV parser, and the two ways through JSON Lines."""

from __future__ import annotations

import io
import json
import threading
import time
from io import BytesIO

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.events.formats import csv
from muma.events.formats.csv import read_csv
from muma.events.formats.jsonl import _fast, _slow, read_jsonl
from muma.events.formats.utf8 import MARK, PATIENCE_MS, SafeStream

BYTES = st.lists(
    st.binary(max_size=6) | st.sampled_from(["é", "€", "😀", '"', "\n", "ab"]).map(str.encode)
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(BYTES, st.integers(1, 12))
def test_safe_stream(data, size):
    stream = SafeStream(BytesIO(data))
    chunks = []
    while chunk := stream.read(size):
        chunks.append(chunk)
    # whole blocks but for the last: the parser takes a short one for the end of a record's room
    assert all(len(c) == size for c in chunks[:-1])
    escaped = data.decode("utf-8", errors="surrogateescape")
    expected = "".join(MARK if "\udc80" <= c <= "\udcff" else c for c in escaped)
    assert b"".join(chunks).decode("utf-8") == expected
    assert stream.damaged == (escaped != expected)
    assert stream.quotes == data.count(b'"')
    assert stream.read(5) == b""
    assert SafeStream(BytesIO(data)).read() == expected.encode()


def test_a_stopped_stream_ends():
    stream = SafeStream(BytesIO(b"abcdef"))
    assert stream.read(2) == b"ab"
    stream.stop()
    assert stream.read(2) == b""


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
OBJECTS = st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(OBJECTS, st.booleans())
def test_both_ways_through_json_agree(objects, ascii_only):
    """A value must not read otherwise because a neighbour in the block was odd."""
    block = "".join(json.dumps(o, ensure_ascii=ascii_only) + "\n" for o in objects).encode()
    schema: dict[str, type[pl.String]] = dict.fromkeys("ab", pl.String)
    fast, slow = _fast(block, schema, 4, len(objects)), _slow(block, schema, 4)
    assert not slow.unreadable
    assert slow.frame["row"].to_list() == list(range(5, 5 + len(objects)))
    for column in "ab" if fast is not None else "":
        pairs = zip(fast.frame[column], slow.frame[column], objects, strict=True)
        for a, b, sent in pairs:
            value = sent.get(column)
            fraction = isinstance(value, float) and not value.is_integer()
            # of two shortest spellings of one fraction either may be chosen
            assert float(a) == float(b) == value if fraction else a == b
    for column in "ab":
        for got, sent in zip(slow.frame[column], objects, strict=True):
            value = sent.get(column)
            if isinstance(value, str) or value is None:
                assert got == value
            elif isinstance(value, float):
                assert float(got) == value
            else:
                assert json.loads(got) == value


def test_the_first_of_equal_keys_counts(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "a": 2}\n')
    fast = [p.frame["a"].to_list() for p in read_jsonl(path, ["a"])]
    path.write_text('{"a": 1, "a": 2}\nodd\n')
    assert [p.frame["a"].to_list() for p in read_jsonl(path, ["a"])] == fast == [["1"]]


ROWS = st.lists(st.sampled_from([2, 2, 2, 1, 3, 0]), max_size=300)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(30, 400))
def test_csv_numbers_its_records(tmp_path_factory, widths, block):
    """Records of 1 or 3 fields are refused, blank lines are none, whatever the blocks are."""

    path = tmp_path_factory.getbasetemp() / "n.csv"
    lines = [",".join(f"{k}é{f}" for f in range(width)) for k, width in enumerate(widths)]
    path.write_text("x,y\n" + "".join(f"{line}\n" for line in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv, "BLOCK", block)
        pieces = list(read_csv(path, ["x", "y"]))
    records = [(k, width) for k, width in enumerate(widths) if width]
    kept = [(n, f"{k}é0", f"{k}é1") for n, (k, width) in enumerate(records, 1) if width == 2]
    refused = [(n, lines[k]) for n, (k, width) in enumerate(records, 1) if width != 2]
    found = [
        row for p in pieces if p.frame.height for row in p.frame.select("row", "x", "y").rows()
    ]
    assert found == kept
    assert [(r.row, r.value) for p in pieces for r in p.unreadable] == refused


def test_stop_waits_for_a_read_under_way():
    """However slow: a thread that still reads when Python shuts down would abort the process."""
    reading, done = threading.Event(), []

    class Slow(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            reading.set()
            time.sleep(2 * PATIENCE_MS / 1_000)
            done.append(size)
            return b"x" * size

    safe = SafeStream(Slow())
    thread = threading.Thread(target=safe.read, args=(8,))
    thread.start()
    reading.wait()
    safe.stop()
    assert done == [8]
    thread.join()
