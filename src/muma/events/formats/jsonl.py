"""JSON Lines: one object a line; every wanted value as text. Lines that are not are reported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from muma.errors import SourceError
from muma.events.event import Unreadable
from muma.events.formats.piece import MAX_RECORD, MIB, Piece, lacking, opened


def read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Piece]:
    """Read a JSON Lines file; a key that a line lacks reads as null.

    Args:
        path: the file.
        columns: wanted keys.
    """
    schema = dict.fromkeys(columns, pl.String)
    seen: set[str] = set()
    line = 0
    with opened(path) as stream:
        for block in _blocks(stream, path):
            count = block.count(b"\n") + (not block.endswith(b"\n"))
            piece = _fast(block, schema, line, count) or _slow(block, schema, line)
            seen.update(c for c in columns if piece.frame.get_column(c).null_count() < count)
            line += count
            yield piece
    absent = [c for c in columns if c not in seen]
    if line and len(absent) == len(columns):
        raise lacking(path, absent, _keys(path))


def _blocks(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """Whole lines, some MiB at a time."""
    rest, line = b"", 0
    while chunk := stream.read(16 * MIB):
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
            found = _object(raw)
        except (ValueError, TypeError, RecursionError) as error:
            text = raw[:200].decode("utf-8", errors="replace")
            refused.append(Unreadable(number, None, text, f"not a JSON object: {error}"))
            continue
        good.append({key: _text(found.get(key)) for key in schema})
        numbers.append(number)
    frame = pl.DataFrame(good, schema=schema)  # pyright: ignore[reportArgumentType]
    return Piece(frame.with_columns(row=pl.Series(numbers, dtype=pl.Int64)), tuple(refused))


def _object(raw: bytes) -> dict[str, object]:
    found = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    if not isinstance(found, dict):
        raise TypeError(f"a JSON {type(found).__name__}, not an object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return str(value)


def _keys(path: Path) -> list[str]:
    with opened(path) as stream:
        try:
            first = json.loads(stream.readline(MAX_RECORD))
        except ValueError:
            return ["(the first line is not JSON)"]
    return list(first) if isinstance(first, dict) else ["(the first line is not an object)"]
