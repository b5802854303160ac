"""Evidence as bytes and back, bit for bit.

    record = MessagePack of `Evidence`, an array being an extension: dtype, shape and raw bytes

A matrix is laid down column by column: what is the same for all candidates (the user's features) then
takes next to no room once compressed. Fields are named, so that one that a later version adds reads
as its default, and one that it dropped is passed over.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np

from muma.errors import StoreError
from muma.serving.recommending import Evidence

ARRAY = 1  # code of the MessagePack extension
KINDS = "biuf"


def encode(evidence: Evidence) -> bytes:
    """The record of evidence.

    Raises:
        StoreError: a value is neither text, a number, an array of numbers nor a collection of them.

    Example:
        >>> from muma.testing.evidence_suite import small
        >>> decode(encode(small("r-1"))).propensity_K
        array([0.25, 0.5 ])
    """
    try:
        return _ENCODER.encode(evidence)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise StoreError(
            f"evidence of {evidence.ask.request_id!r:.80} cannot be kept: {error}"
        ) from None


def decode(record: bytes | memoryview) -> Evidence:
    """The evidence of a record; its arrays are C-contiguous and read-only.

    Raises:
        StoreError: it is not one, or of a later version that this one cannot read.
    """
    try:
        return _DECODER.decode(record)
    except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
        raise StoreError(f"a record of evidence cannot be read: {error}") from None


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in KINDS:
            raise TypeError(f"an array of {value.dtype}; allowed are numbers and booleans")
        by_column = value.ndim == 2 and value.shape[0] > 1
        head = json.dumps([value.dtype.str, value.shape, by_column]).encode()
        body = value.tobytes(order="F" if by_column else "C")
        return msgspec.msgpack.Ext(ARRAY, len(head).to_bytes(2, "little") + head + body)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"got a {type(value).__name__}; give text, numbers or arrays of numbers")


def _array(code: int, data: memoryview) -> np.ndarray:
    if code != ARRAY:
        raise ValueError(f"an extension of the code {code}")
    begin = 2 + int.from_bytes(data[:2], "little")
    kind, shape, by_column = json.loads(bytes(data[2:begin]))
    dtype = np.dtype(kind)
    if dtype.kind not in KINDS or len(data) - begin != dtype.itemsize * math.prod(shape):
        raise ValueError(f"an array of {dtype} and shape {shape} in {len(data) - begin} bytes")
    flat = np.frombuffer(data, dtype=dtype, offset=begin)
    found = np.ascontiguousarray(flat.reshape(shape, order="F" if by_column else "C"))
    found = found.reshape(shape)  # a scalar array stays one
    found.flags.writeable = False
    return found


def _as_asked(kind: type[Any], value: Any) -> Any:
    if kind is np.ndarray and isinstance(value, np.ndarray):
        return value
    raise ValueError(f"got a {type(value).__name__} where a {kind.__name__} belongs")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_packed)
_DECODER = msgspec.msgpack.Decoder(Evidence, dec_hook=_as_asked, ext_hook=_array)
