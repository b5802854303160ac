"""A user's state as bytes for the feature store: a new event costs one step, not a history.

A record is

    magic "MI", format u16, model u64, S u16, D u16, M u16, W u16, count u16, time i64,
    carry f32 [S D], gap f32 [count], memory f32 [count W], CRC-32 of all before

little-endian. A record of another format or model, of other sizes, or damaged is treated as absent:
the caller rebuilds the state from the history. Packing and unpacking are exact.

Shape: B users, D width, M events kept, S state vectors of the recurrence, W width of what is kept of
an event.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muma.errors import ConfigError

TABLE = "interest"
"""Name of the states' table in a `features.store.StateStore`."""

FORMAT = 1
NO_TIME = -1
_HEAD = struct.Struct("<2sHQHHHHHq")
_MAGIC = b"MI"
_LARGEST = 65_535


@dataclass(frozen=True)
class StateShape:
    """Sizes of a network's states: S, D, M and W."""

    states: int
    width: int
    memory: int
    read: int

    def __post_init__(self) -> None:
        """Refuse sizes that a record's 16 bits cannot hold."""
        if max(self.states, self.width, self.memory, self.read) > _LARGEST:
            raise ConfigError(f"a state's sizes must not exceed {_LARGEST}; got {self}")


@dataclass(frozen=True)
class States:
    """The states of B users as arrays.

    Attributes:
        carry_BSD: float32, state of the recurrence.
        memory_BMW: float32, what is kept of the last M events, newest last.
        gap_BM: float32 seconds before each of them.
        count_B: int64, how many of them there are.
        time_B: int64 microseconds, time of the newest event; -1 without any.
    """

    carry_BSD: np.ndarray
    memory_BMW: np.ndarray
    gap_BM: np.ndarray
    count_B: np.ndarray
    time_B: np.ndarray

    def __len__(self) -> int:
        return len(self.time_B)

    @classmethod
    def empty(cls, users: int, shape: StateShape) -> States:
        """States of users without a history."""
        return cls(
            np.zeros((users, shape.states, shape.width), np.float32),
            np.zeros((users, shape.memory, shape.read), np.float32),
            np.zeros((users, shape.memory), np.float32),
            np.zeros(users, np.int64),
            np.full(users, NO_TIME, np.int64),
        )

    @property
    def shape(self) -> StateShape:
        """S, D, M and W."""
        return StateShape(*self.carry_BSD.shape[1:], *self.memory_BMW.shape[1:])


def model_key(version: str) -> int:
    """64 bits that stand for a model's version in a record."""
    return int.from_bytes(hashlib.sha256(version.encode()).digest()[:8], "little")


def pack(states: States, version: str) -> list[bytes]:
    """One record a user, for `features.store.Records.of`.

    Args:
        states: of B users.
        version: of the model that made them.
    """
    shape, key = states.shape, model_key(version)
    sizes = (shape.states, shape.width, shape.memory, shape.read)
    records = []
    for user in range(len(states)):
        count = int(states.count_B[user])
        begin = shape.memory - count
        body = b"".join([
            _HEAD.pack(_MAGIC, FORMAT, key, *sizes, count, int(states.time_B[user])),
            states.carry_BSD[user].astype("<f4").tobytes(),
            states.gap_BM[user, begin:].astype("<f4").tobytes(),
            states.memory_BMW[user, begin:].astype("<f4").tobytes(),
        ])  # fmt: skip
        records.append(body + struct.pack("<I", zlib.crc32(body)))
    return records


def unpack(
    records: Sequence[bytes | None], version: str, shape: StateShape
) -> tuple[States, np.ndarray]:
    """Read records back.

    Args:
        records: one a user; None or empty where there is none.
        version: of the model that will go on with them.
        shape: of that model's states.

    Returns:
        The states, empty where a record is absent or another model's, and bool [B], true where
        the record was good.

    Example:
        >>> shape = StateShape(states=2, width=4, memory=3, read=4)
        >>> states, found_B = unpack([pack(States.empty(1, shape), "v1")[0], None], "v1", shape)
        >>> found_B.tolist()
        [True, False]
    """
    states = States.empty(len(records), shape)
    found_B = np.zeros(len(records), dtype=bool)
    key = model_key(version)
    for user, record in enumerate(records):
        found_B[user] = bool(record) and _read(record or b"", key, states, user)
    return states, found_B


def _read(record: bytes, key: int, states: States, user: int) -> bool:
    """Fill the user's row, if the record is whole and made by this model."""
    if (
        len(record) < _HEAD.size + 4
        or zlib.crc32(record[:-4]) != struct.unpack("<I", record[-4:])[0]
    ):
        return False
    magic, version, made_by, *sizes, count, time = _HEAD.unpack_from(record)
    shape = states.shape
    if (magic, version, made_by) != (_MAGIC, FORMAT, key) or count > shape.memory:
        return False
    if sizes != [shape.states, shape.width, shape.memory, shape.read]:
        return False
    split = np.cumsum([shape.states * shape.width, count, count * shape.read])
    if len(record) != _HEAD.size + 4 * split[-1] + 4:
        return False
    values = np.frombuffer(record, "<f4", int(split[-1]), _HEAD.size)
    begin = shape.memory - count
    states.carry_BSD[user] = values[: split[0]].reshape(shape.states, shape.width)
    states.gap_BM[user, begin:] = values[split[0] : split[1]]
    states.memory_BMW[user, begin:] = values[split[1] :].reshape(count, shape.read)
    states.count_B[user], states.time_B[user] = count, time
    return True
