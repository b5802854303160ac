"""Serves an exported network with ONNX Runtime and NumPy; torch is never imported.

Shape: B users, L events, T longest history, D width, K interests, I items, M events of a state.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from muma.artifact import Artifact
from muma.errors import ArtifactError, DataError
from muma.features.feature import Sequences
from muma.interest.batch_arrays import KINDS, EventArrays, arrays_of, log_dwell, rows_of
from muma.interest.interest import Interests
from muma.interest.state import NO_TIME, States, StateShape
from muma.optional import require


class OnnxModel:
    """A network that `export` has written.

    Args:
        artifact: the opened folder.
        threads: of each call; one is right for small batches.

    Raises:
        ArtifactError: the folder holds no exported network.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        if "network.json" not in artifact.files:
            raise ArtifactError(f"{artifact.folder}: holds no exported network (no network.json)")
        described = json.loads(artifact.path("network.json").read_text(encoding="utf-8"))
        self.config: dict[str, Any] = described["config"]
        self.version: str = described["version"]
        self.state_shape = StateShape(**described["state"])
        tables = artifact.arrays("table.npz")
        self.weight_SD, self.row_I = tables["weight_SD"], tables["row_I"]
        runtime = require("onnxruntime", extra="neural")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        # a spinning thread pool would take a core from the rest of the service
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._sessions = {
            name: runtime.InferenceSession(
                str(artifact.path(f"{name}.onnx")), options, providers=["CPUExecutionProvider"]
            )
            for name in described["graphs"]
        }
        self._inputs = {
            name: {given.name for given in session.get_inputs()}
            for name, session in self._sessions.items()
        }

    def interests(
        self,
        sequences: Sequences,
        *,
        at_B: np.ndarray | None = None,
        source_BLD: np.ndarray | None = None,
    ) -> Interests:
        """User vectors from the feature engine's histories.

        Args:
            sequences: oldest event first, padded on the left; the newest `max_length` are read.
            at_B: int64 microseconds, when the vectors are used.
            source_BLD: fused source vectors of the events, if the network reads them.

        Raises:
            DataError: the arrays do not fit each other or the network.
        """
        events = replace(arrays_of(sequences, self.row_I, at_B=at_B), source_BLD=source_BLD)
        newest_B = np.where(sequences.mask_BL, sequences.time_BL, NO_TIME).max(1, initial=NO_TIME)
        return Interests(self.user(events), newest_B)

    def user(self, events: EventArrays) -> np.ndarray:
        """As `InterestNetwork.user`: float32 [B, D] or [B, K, D]; zeros without an event.

        Raises:
            DataError: a value is not finite, or what the network reads is missing.
        """
        events = _newest(events, self.config["max_length"])
        count_B = events.mask_BL.sum(1)
        front = _Front(count_B, events.mask_BL.shape[1])
        feed = {
            "item_BTD": self.weight_SD[front(events.row_BL)],
            "gap_BT": front(events.gap_BL),
            "kind_BT": front(events.kind_BL),
            "dwell_BT": front(events.dwell_BL),
            "count_B": count_B,
            "wait_BT": None if events.wait_BL is None else front(events.wait_BL),
            "source_BTD": None if events.source_BLD is None else front(events.source_BLD),
        }
        return self._run("user", feed)[0]

    def step(
        self,
        states: States,
        *,
        item_B: np.ndarray,
        kind_B: np.ndarray,
        dwell_B: np.ndarray,
        time_B: np.ndarray,
        source_BD: np.ndarray | None = None,
    ) -> States:
        """The states after one more event of every user.

        Args:
            states: of B users.
            item_B: int64 items, -1 for none.
            kind_B: int64 codes into `events.stream.ACTIONS`, -1 for none.
            dwell_B: int64 milliseconds, -1 for none.
            time_B: int64 microseconds.
            source_BD: fused source vectors, if the network reads them.

        Raises:
            DataError: an event is older than the state, a kind is unknown or a value not finite.
        """
        known_B = states.time_B != NO_TIME
        gap_B = np.where(known_B, time_B - states.time_B, 0)
        if gap_B.size and gap_B.min() < 0:
            raise DataError("step: an event is older than the state; rebuild it from the history")
        gap_B = (gap_B / 1e6).astype(np.float32)
        feed = {
            "item_BD": self.weight_SD[rows_of(item_B, self.row_I)],
            "gap_B": gap_B,
            "kind_B": np.asarray(kind_B, dtype=np.int64) + 1,
            "dwell_B": log_dwell(dwell_B),
            "carry_BSD": states.carry_BSD,
            "source_BD": source_BD,
        }
        carry_BSD, read_BW = self._run("step", feed)
        time_B = np.asarray(time_B, dtype=np.int64)
        if not self.state_shape.memory:
            return replace(states, carry_BSD=carry_BSD, time_B=time_B)
        memory_BMW, gap_BM = np.empty_like(states.memory_BMW), np.empty_like(states.gap_BM)
        memory_BMW[:, :-1], memory_BMW[:, -1] = states.memory_BMW[:, 1:], read_BW
        gap_BM[:, :-1], gap_BM[:, -1] = states.gap_BM[:, 1:], gap_B
        count_B = np.minimum(states.count_B + 1, self.state_shape.memory)
        return States(carry_BSD, memory_BMW, gap_BM, count_B, time_B)

    def rebuild(self, sequences: Sequences, *, source_BLD: np.ndarray | None = None) -> States:
        """States from histories, for users whose record is absent or another model's.

        Args:
            sequences: oldest event first, padded on the left.
            source_BLD: fused source vectors of the events, if the network reads them.
        """
        states = States.empty(len(sequences.mask_BL), self.state_shape)
        for place in range(sequences.mask_BL.shape[1]):
            user_N = np.flatnonzero(sequences.mask_BL[:, place])
            if not len(user_N):
                continue
            after = self.step(
                States(**{name: value[user_N] for name, value in vars(states).items()}),
                item_B=sequences.item_BL[user_N, place],
                kind_B=sequences.kind_BL[user_N, place],
                dwell_B=sequences.dwell_BL[user_N, place],
                time_B=sequences.time_BL[user_N, place],
                source_BD=None if source_BLD is None else source_BLD[user_N, place],
            )
            for name, value in vars(states).items():
                value[user_N] = getattr(after, name)
        return states

    def user_of(self, states: States, *, at_B: np.ndarray | None = None) -> np.ndarray:
        """As `InterestNetwork.user_of`: float32 [B, D] or [B, K, D]; zeros without an event.

        Args:
            states: of B users.
            at_B: int64 microseconds, when the vectors are used.
        """
        if not self.state_shape.memory:
            return states.carry_BSD[:, 0]
        front = _Front(states.count_B, self.state_shape.memory)
        gap_BT = front(states.gap_BM)
        wait_BT = None
        if at_B is not None:
            wait_B = np.maximum(at_B - states.time_B, 0) / 1e6
            wait_BT = np.append(gap_BT[:, 1:], np.zeros_like(gap_BT[:, :1]), axis=1)
            wait_BT[np.arange(len(wait_B)), np.maximum(states.count_B - 1, 0)] = wait_B
        feed = {
            "read_BTW": front(states.memory_BMW),
            "gap_BT": gap_BT,
            "count_B": states.count_B,
            "wait_BT": wait_BT,
        }
        return self._run("state", feed)[0]

    def _run(self, name: str, feed: dict[str, np.ndarray | None]) -> list[np.ndarray]:
        """Run one graph on the inputs that it has."""
        given: dict[str, np.ndarray] = {}
        for key in self._inputs[name]:
            value = feed[key]
            if value is None:
                raise DataError(f"the network reads {key}, which was not given")
            if value.dtype.kind == "f" and not np.isfinite(value.sum(dtype=np.float64)):
                raise DataError(f"{key} holds a value that is not finite")
            given[key] = value
        kind = given.get("kind_BT", given.get("kind_B"))
        if kind is not None and kind.size and not 0 <= kind.min() <= kind.max() < KINDS:
            raise DataError(f"kinds must lie in -1..{KINDS - 2}, codes into events.stream.ACTIONS")
        return self._sessions[name].run(None, given)


class _Front:
    """Moves left-padded arrays to the front and cuts them to the longest, T >= 1."""

    def __init__(self, count_B: np.ndarray, length: int) -> None:
        longest = max(int(count_B.max(initial=0)), 1)
        shift_B = length - count_B
        self._still = longest == length and not shift_B.any()
        place_T = np.arange(longest)
        self._from_BT = np.minimum(place_T + shift_B[:, None], length - 1)
        self._real_BT = place_T < count_B[:, None]

    def __call__(self, value: np.ndarray) -> np.ndarray:
        if self._still:
            return value
        user_B1 = np.arange(len(value))[:, None]
        real = self._real_BT if value.ndim == 2 else self._real_BT[..., None]
        return value[user_B1, self._from_BT] * real


def _newest(events: EventArrays, length: int) -> EventArrays:
    """The last `length` positions; the gap before the first of them is forgotten."""
    if events.row_BL.shape[1] <= length:
        return events
    given = {name: value for name, value in vars(events).items() if value is not None}
    cut = EventArrays(**{name: value[:, -length:] for name, value in given.items()})
    gap_BL = cut.gap_BL.copy()
    gap_BL[:, 0] = 0.0
    return replace(cut, gap_BL=gap_BL)
