"""JSON Lines: one object a line; every wanted value as text. Lines that are not are reported."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from muma.errors import SourceError
from muma.events.event import Unreadable
from muma.events.formats.piece import MAX_RECORD, MIB, Piece, lacking, opened

BLOCK = 16 * MIB
BOM = b"\xef\xbb\xbf"
LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


def read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Piece]:
    """Read a JSON Lines file; a key that a line lacks reads as null.

    Args:
        path: the file.
        columns: wanted keys.
    """
    schema = dict.fromkeys(columns, pl.String)
    seen: set[str] = set()
    line = objects = 0
    with opened(path) as stream:
        for block in _blocks(stream, path):
            count = block.count(b"\n") + (not block.endswith(b"\n"))
            piece = _fast(block, schema, line, count) or _slow(block, schema, line)
            height = piece.frame.height
            seen.update(c for c in columns if piece.frame.get_column(c).null_count() < height)
            line += count
            objects += height
            if height or piece.unreadable:
                yield piece
    absent = [c for c in columns if c not in seen]
    if objects and len(absent) == len(columns):
        raise lacking(path, absent, jsonl_columns(path))


def _blocks(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """Whole lines, some MiB at a time."""
    rest, line = b"", 0
    first = True
    while chunk := stream.read(BLOCK):
        if first:
            chunk, first = chunk.removeprefix(BOM), False
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest += chunk
            if len(rest) > MAX_RECORD:
                raise SourceError(
                    f"a line is longer than {MAX_RECORD // MIB} MiB; this is not JSON Lines",
                    file=str(path),
                    row=line + 1,
                )
            continue
        block = rest + chunk[:cut]
        rest = chunk[cut:]
        line += block.count(b"\n")
        yield block
    if rest:
        yield rest


def _fast(block: bytes, schema: dict[str, type[pl.String]], line: int, count: int) -> Piece | None:
    surrogates = b"\\ud" in block or b"\\uD" in block  # rare, and much cheaper to look for
    if surrogates and LONE_SURROGATE.search(block):  # the fast parser would read them as NUL
        return None
    try:
        frame = pl.read_ndjson(BytesIO(block), schema=schema)  # pyright: ignore[reportArgumentType]
    except pl.exceptions.PolarsError:
        return None
    if frame.height != count:
        return None
    numbers = np.arange(line + 1, line + 1 + count)
    return Piece(frame.with_columns(row=pl.Series(numbers, dtype=pl.Int64)))


def _slow(block: bytes, schema: dict[str, type[pl.String]], line: int) -> Piece:
    """Judge line by line, for blocks that hold something odd."""
    good: list[dict[str, str | None]] = []
    numbers, refused = [], []
    for number, raw in enumerate(block.split(b"\n"), start=line + 1):
        if not raw.strip():
            continue
        try:
            values = {key: _text(value) for key, value in _object(raw).items() if key in schema}
            "".join(text or "" for text in values.values()).encode("utf-8")
        except (ValueError, TypeError, RecursionError) as error:
            text = raw[:200].decode("utf-8", errors="replace")
            refused.append(Unreadable(number, None, text, f"not a JSON object: {error}"))
            continue
        good.append({key: values.get(key) for key in schema})
        numbers.append(number)
    frame = pl.DataFrame(good, schema=schema)  # pyright: ignore[reportArgumentType]
    return Piece(frame.with_columns(row=pl.Series(numbers, dtype=pl.Int64)), tuple(refused))


def _object(raw: bytes) -> dict[str, object]:
    found = json.loads(
        raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_first_of_each
    )
    if not isinstance(found, dict):
        raise TypeError(f"a JSON {type(found).__name__}, not an object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _first_of_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return dict(reversed(pairs))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and math.isfinite(value):  # as the fast parser writes it
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    return str(value)


def jsonl_columns(path: Path, *, lines: int = 1_000) -> list[str]:
    """Keys of the objects among a file's first lines, in order of appearance."""
    keys: dict[str, None] = {}
    with opened(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_RECORD), b"")):
            if number == lines:
                break
            with suppress(ValueError, TypeError, RecursionError):
                keys.update(dict.fromkeys(_object(line.removeprefix(BOM))))
    return list(keys)
