"""A request's body: bounded in size, time and depth, JSON and nothing else; answers as JSON.

A control character, NaN, an infinity or an unknown field never gets past here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
import numpy as np
from litestar import Request, Response

from muma.serving.http.problem import Problem
from muma.serving.http.service import DoorConfig
from muma.serving.parts import Id

T = TypeVar("T")
JSON = "application/json"


def _plain(value: Any) -> Any:
    """What msgspec cannot write by itself: NumPy's numbers and arrays, tables of any kind."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"{type(value).__name__} is not plain data")


encode = msgspec.json.Encoder(enc_hook=_plain).encode


def answer(value: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    """A good answer; a NaN in it is written as null."""
    return Response(encode(value), status_code=200, media_type=JSON, headers=dict(headers or {}))


async def read(request: Request, config: DoorConfig, *, media: str = JSON) -> bytes:
    """The whole body.

    Raises:
        Problem: 415 for another type than `media`, 413 when it is too large, 408 when it is too slow.
    """
    _check_head(request.scope["headers"], config, media)
    too_large = Problem(
        413,
        "too-large",
        f"a body may have {config.most_bytes} bytes; send less at once",
        headers={"connection": "close"},
    )
    pieces, size, more = [], 0, True
    try:
        async with asyncio.timeout(config.body_s):
            while more:
                message: Any = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "gone", "the sender left before the body was complete")
                pieces.append(piece := message.get("body", b""))
                size += len(piece)
                if size > config.most_bytes:
                    raise too_large
                more = message.get("more_body", False)
    except TimeoutError:
        raise Problem(
            408,
            "too-slow",
            f"the body did not come within {config.body_s:g} s",
            headers={"connection": "close"},
        ) from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _check_head(headers: Iterable[tuple[bytes, bytes]], config: DoorConfig, media: str) -> None:
    kind = b""
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise Problem(415, "encoding", "send the body as it is, without Content-Encoding")
        elif name == b"content-length" and value.isdigit() and int(value) > config.most_bytes:
            raise Problem(
                413,
                "too-large",
                f"a body may have {config.most_bytes} bytes; got {int(value)}",
                headers={"connection": "close"},
            )
    got, _, options = kind.partition(b";")
    charset = options.strip().lower().replace(b'"', b"")
    if got.strip().lower() != media.encode() or charset not in (b"", b"charset=utf-8"):
        what = "JSON" if media == JSON else "a form"
        raise Problem(415, "type", f"send {what} in UTF-8, with 'Content-Type: {media}'")


def decode(decoder: msgspec.json.Decoder[T], raw: bytes, config: DoorConfig) -> T:
    """Bytes as the decoder's type.

    Raises:
        Problem: 400 when it is no JSON or too deep, 422 when it is not of the type.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", _sentence(error)) from None
    except RecursionError:
        raise too_deep(config) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed", _sentence(error)) from None


def too_deep(config: DoorConfig) -> Problem:
    """The answer to JSON that is nested too deep."""
    return Problem(400, "too-deep", f"JSON may be nested {config.most_depth} deep; send it flatter")


def check_depth(value: Any, config: DoorConfig, *, depth: int = 1) -> None:
    """Bound the depth of plain data, where no type does.

    Raises:
        Problem: 400 when it is too deep.
    """
    if isinstance(value, dict | list):
        if depth > config.most_depth:
            raise too_deep(config)
        for inner in value.values() if isinstance(value, dict) else value:
            check_depth(inner, config, depth=depth + 1)


def query(request: Request, kind: type[T]) -> T:
    """The query string as a type; repeated names make a list.

    Raises:
        Problem: 422 when it is not of the type.
    """
    given: dict[str, Any] = {}
    lists = {f.name for f in msgspec.structs.fields(kind) if "tuple" in str(f.type)}  # pyright: ignore[reportArgumentType]
    for name, value in request.query_params.multi_items():
        if name in lists:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise Problem(422, "invalid", f"{name!r:.80} is given twice in the query string")
        else:
            given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", _sentence(error)) from None


def path_id(request: Request, name: str) -> str:
    """An id from the address, percent-decoded, checked as any id.

    Raises:
        Problem: 422 when it is no id.
    """
    try:
        text = unquote(str(request.path_params[name]), errors="strict")
        return msgspec.convert(text, Id)
    except (msgspec.ValidationError, UnicodeDecodeError):
        raise Problem(
            422, "invalid", f"{name}: 1 to 200 characters in UTF-8, without control characters"
        ) from None


def _sentence(error: Exception) -> str:
    """A decoder's message; it names fields and places, never values."""
    text = str(error) if isinstance(error, msgspec.MsgspecError) else "the text is not UTF-8"
    return text.replace(TEXT_SHOWN, "no control characters")


TEXT_SHOWN = repr(r"^[^\x00-\x1f\x7f]+(?![\s\S])")
