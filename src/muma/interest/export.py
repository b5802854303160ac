"""Writes a network for serving without torch: three ONNX graphs, the item table and a description.

- `user.onnx`: histories, moved to the front, to user vectors;
- `step.onnx`: one event and the state before it to the state after it;
- `state.onnx`: what a state keeps to user vectors (absent when the recurrence alone decides);
- `table.npz`: item vectors and each item's row; `network.json`: config, sizes, version.

Graphs read item vectors, not rows, so that a grown table needs no new graph. torch's TorchScript
exporter writes them (its successor needs a further library); decayed recurrences become a Scan.

Shape: B users, T events, D width, S state vectors, W width of what a state keeps of an event.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from muma.artifact import Writer
from muma.interest.batch import FIRST_ROW, Events
from muma.interest.export_scan import expand
from muma.interest.network import InterestNetwork, newest

OPSET = 18
DESCRIPTION = "network.json"
TABLE = "table.npz"
GRAPHS = {"user": "user.onnx", "step": "step.onnx", "state": "state.onnx"}


Graph = tuple[nn.Module, dict[str, Tensor], list[str]]
"""A part of the network, one example of its inputs by name, and its outputs' names."""


def export(network: InterestNetwork, writer: Writer, *, row_I: np.ndarray | None = None) -> None:
    """Write the files of this module into an artifact.

    Args:
        network: a trained network on the CPU; it is read in evaluation mode and left as it was.
        writer: of the artifact.
        row_I: int64 [I], the table's row of each item; without it, item `i` has row `2 + i`.
    """
    was_training = network.training
    network.eval()
    try:
        graphs = {"user": _user(network), "step": _step(network)}
        if network.state_shape.memory:
            graphs["state"] = _state(network)
        for name, (part, example, outputs) in graphs.items():
            _write(writer.path(GRAPHS[name]), part, example, outputs)
    finally:
        network.train(was_training)
    weight_SD = network.table.live().detach().numpy()
    rows = np.arange(FIRST_ROW, len(weight_SD)) if row_I is None else np.asarray(row_I)
    writer.arrays(TABLE, {"weight_SD": weight_SD, "row_I": rows.astype(np.int64)})
    description = {
        "config": network.config.model_dump(mode="json"),
        "state": asdict(network.state_shape),
        "version": fingerprint(network),
        "graphs": sorted(graphs),
    }
    writer.path(DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def fingerprint(network: InterestNetwork) -> str:
    """A version of the network that changes with its config or any weight outside the item table.

    The table may grow, and rows may be trained on, without making the users' states useless.
    """
    digest = hashlib.sha256(network.config.model_dump_json().encode())
    for name, value in sorted(network.state_dict().items()):
        if not name.startswith("table."):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _User(nn.Module):
    """Histories to vectors."""

    def __init__(self, network: InterestNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, item_BTD: Tensor, gap_BT: Tensor, kind_BT: Tensor, dwell_BT: Tensor, count_B: Tensor,
        wait_BT: Tensor, source_BTD: Tensor,
    ) -> Tensor:  # fmt: skip
        network = self.network
        events = Events(kind_BT, gap_BT, kind_BT, dwell_BT, kind_BT > 0, source_BTD, wait_BT)
        x_BTD = network.inputs(item_BTD, events)
        h_BTD = None if network.recurrent is None else network.recurrent(x_BTD, gap_BT)
        return newest(network.join(x_BTD, h_BTD, gap_BT, wait_BT), count_B)


class _Step(nn.Module):
    """One event; the state's vectors and what is kept of the event."""

    def __init__(self, network: InterestNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, item_BD: Tensor, gap_B: Tensor, kind_B: Tensor, dwell_B: Tensor, carry_BSD: Tensor,
        source_BD: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        network = self.network
        kind_B1, gap_B1 = kind_B[:, None], gap_B[:, None]
        events = Events(kind_B1, gap_B1, kind_B1, dwell_B[:, None], kind_B1 > 0, source_BD[:, None])
        x_BD = network.inputs(item_BD[:, None], events)[:, 0]
        if network.recurrent is None:
            return carry_BSD, x_BD
        carry_BSD = network.recurrent.step(x_BD, gap_B, carry_BSD)
        h_BD = carry_BSD[:, 0]
        return carry_BSD, torch.cat([x_BD, h_BD], 1) if network.keeps_both else h_BD


class _State(nn.Module):
    """What a state keeps, moved to the front, to vectors."""

    def __init__(self, network: InterestNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, read_BTW: Tensor, gap_BT: Tensor, count_B: Tensor, wait_BT: Tensor) -> Tensor:
        network, width = self.network, self.network.config.width
        h_BTD = None if network.recurrent is None else read_BTW[..., -width:]
        return newest(network.join(read_BTW[..., :width], h_BTD, gap_BT, wait_BT), count_B)


def _user(network: InterestNetwork) -> Graph:
    width, sources = network.config.width, network.config.source_width
    users, steps = 2, 3
    example = {
        "item_BTD": torch.zeros(users, steps, width),
        "gap_BT": torch.zeros(users, steps),
        "kind_BT": torch.zeros(users, steps, dtype=torch.int64),
        "dwell_BT": torch.zeros(users, steps),
        "count_B": torch.full((users,), steps),
        "wait_BT": torch.zeros(users, steps),
        "source_BTD": torch.zeros(users, steps, sources),
    }
    return _User(network), example, ["user"]


def _step(network: InterestNetwork) -> Graph:
    width, sources, users = network.config.width, network.config.source_width, 2
    example = {
        "item_BD": torch.zeros(users, width),
        "gap_B": torch.zeros(users),
        "kind_B": torch.zeros(users, dtype=torch.int64),
        "dwell_B": torch.zeros(users),
        "carry_BSD": torch.zeros(users, network.state_shape.states, width),
        "source_BD": torch.zeros(users, sources),
    }
    return _Step(network), example, ["carry", "read"]


def _state(network: InterestNetwork) -> Graph:
    users, steps = 2, 3
    example = {
        "read_BTW": torch.zeros(users, steps, network.state_shape.read),
        "gap_BT": torch.zeros(users, steps),
        "count_B": torch.full((users,), steps),
        "wait_BT": torch.zeros(users, steps),
    }
    return _State(network), example, ["user"]


def _write(
    path: Path, part: nn.Module, example: Mapping[str, Tensor], outputs: Sequence[str]
) -> None:
    """Trace one part; users and events are free sizes, named in the inputs' suffixes."""
    free = {
        name: {axis: size for axis, size in enumerate(name.rpartition("_")[2]) if size in "BT"}
        for name in example
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the exporter's age and on traced sizes, both intended
        torch.onnx.export(
            part.eval(), tuple(example.values()), path, dynamo=False, opset_version=OPSET,
            input_names=list(example), output_names=list(outputs),
            dynamic_axes={**free, **{name: {0: "B"} for name in outputs}},
        )  # fmt: skip
    model = expand(onnx.load(path))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
