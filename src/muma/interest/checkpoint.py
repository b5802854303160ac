"""Where a training stands, on disk: written whole or not at all, and read only by the same run.

Randomness needs no saving: every step derives its own from the run's seed and its number, so that
the next step after a kill draws what it would have drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muma import artifact
from muma.errors import ArtifactError

KIND, VERSION = "interest-checkpoint", 1
FOLDER = "checkpoint"
CURVE = "curve.jsonl"


@dataclass
class Progress:
    """Everything that the next step depends on, beside the tensors.

    Attributes:
        epoch: the epoch under way.
        step: steps of it that are done.
        total: steps done in all.
        first_loss: loss of the very first step, which the guard compares with.
        loss_sum: sum of the losses of this epoch's steps so far, by name.
        best_value: best validation value so far; None before the first.
        best_epoch: its epoch.
        curve: one row an epoch.
    """

    epoch: int = 0
    step: int = 0
    total: int = 0
    first_loss: float | None = None
    loss_sum: dict[str, float] = field(default_factory=dict)
    best_value: float | None = None
    best_epoch: int = -1
    curve: list[dict[str, Any]] = field(default_factory=list)


def save(
    folder: Path, progress: Progress, tensors: Mapping[str, Mapping[str, Tensor]], *, run: str
) -> None:
    """Write a checkpoint and the learning curve into a run folder.

    Args:
        folder: the run folder.
        progress: where the training stands.
        tensors: groups of named tensors.
        run: fingerprint of config and data.
    """
    with artifact.write(folder / FOLDER, kind=KIND, version=VERSION) as writer:
        writer.meta |= {"run": run, "progress": asdict(progress)}
        for group, named in tensors.items():
            arrays = {name: value.detach().cpu().numpy() for name, value in named.items()}
            writer.arrays(f"{group}.npz", arrays)
    lines = [json.dumps(row) for row in progress.curve]
    (folder / CURVE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def load(folder: Path, *, run: str) -> tuple[Progress, dict[str, dict[str, Tensor]]] | None:
    """Read what `save` wrote; None when the folder holds no checkpoint.

    Raises:
        ArtifactError: it is damaged, or belongs to a run with another config or other data.
    """
    if not (folder / FOLDER / artifact.MANIFEST).exists():
        return None
    found = artifact.read(folder / FOLDER, kind=KIND, version=VERSION)
    if found.meta["run"] != run:
        raise ArtifactError(
            f"{folder} holds the checkpoint of a run with another config or other data; choose "
            "another folder, or remove it to start anew"
        )
    groups = {
        name.removesuffix(".npz"): {
            key: torch.from_numpy(value) for key, value in found.arrays(name).items()
        }
        for name in found.files
    }
    return Progress(**found.meta["progress"]), groups


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's parameters by name."""
    return {name: value.detach().clone() for name, value in module.named_parameters()}


@torch.no_grad()
def install(module: nn.Module, named: Mapping[str, Tensor]) -> None:
    """Put parameters back in place.

    Raises:
        ArtifactError: a parameter is missing, too many, or of another shape.
    """
    own = dict(module.named_parameters())
    odd = set(own) ^ set(named)
    odd |= {n for n in set(own) & set(named) if own[n].shape != named[n].shape}
    if odd:
        raise ArtifactError(f"the weights do not fit the network: {', '.join(sorted(odd))}")
    for name, value in own.items():
        value.copy_(named[name])


def moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies of the optimiser's state, named `parameter/entry`."""
    return {
        f"{name}/{key}": value.detach().clone()
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def install_moments(
    module: nn.Module, optimizer: torch.optim.Optimizer, named: Mapping[str, Tensor]
) -> None:
    """Give the optimiser the state of an earlier run.

    A parameter that has more rows now (a table that grew) starts its new rows at zero; parameters
    without a stored state start fresh.
    """
    for name, parameter in module.named_parameters():
        found = {k.rpartition("/")[2]: v for k, v in named.items() if k.rpartition("/")[0] == name}
        if found:
            optimizer.state[parameter] = {k: _fitted(v, parameter) for k, v in found.items()}


def _fitted(value: Tensor, parameter: Tensor) -> Tensor:
    if value.dim() == 0:
        return value.clone()
    larger = torch.zeros_like(parameter)
    rows = min(len(value), len(parameter))
    larger[:rows] = value[:rows].to(parameter.device)
    return larger


def fingerprint(*parts: str | np.ndarray) -> str:
    """A short digest of texts and arrays."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]
