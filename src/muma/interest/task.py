"""Network, fusion and objective as one module: a training batch in, losses out.

One module, so that a wrapper for several processes sees every parameter in one forward pass.

Shape: B windows, L positions, N positions with a target, K interests, D width, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from muma.fusion.fusion import Fusion
from muma.interest.batch import UNKNOWN_ROW, Events, events_of
from muma.interest.batching import TrainingBatch
from muma.interest.network import InterestNetwork
from muma.interest.objectives.objective import Targets


class Inputs:
    """A training batch as tensors.

    Not a dataclass: wrappers for mixed precision look into those, and would round times in seconds
    to half precision.

    Args:
        events: what the network reads.
        item_BL: int64 dense items of the events, -1 for padding; what the fusion reads.
        user_B: int64 dense users.
        wanted_BL: bool, positions with a target.
        targets: the targets, in the order of `wanted_BL`.
    """

    def __init__(
        self, events: Events, item_BL: Tensor, user_B: Tensor, wanted_BL: Tensor, targets: Targets
    ) -> None:
        self.events, self.targets = events, targets
        self.item_BL, self.user_B, self.wanted_BL = item_BL, user_B, wanted_BL


class TrainingTask(nn.Module):
    """What the trainer minimises.

    Args:
        network: gives user vectors.
        objective: gives losses; see `objectives.objective`.
        fusion: source vectors of events; None without sources.
        row_I: int64 [I], the table's row of each item, `UNKNOWN_ROW` for one without.
        count_S: events of each row in the training log.
    """

    count_S: Tensor

    def __init__(
        self,
        network: InterestNetwork,
        objective: nn.Module,
        fusion: Fusion | None,
        *,
        row_I: np.ndarray,
        count_S: np.ndarray,
    ) -> None:
        super().__init__()
        self.network, self.objective, self.fusion = network, objective, fusion
        self.row_I = row_I
        self.register_buffer(
            "count_S", torch.from_numpy(count_S.astype(np.float32)), persistent=False
        )

    def collate(self, batch: TrainingBatch) -> Inputs:
        """Arrays to tensors; targets that have no row in the table are left out."""
        target_BL = self._rows(batch.target_BL)
        wanted_BL = target_BL > UNKNOWN_ROW
        skipped_N = self._rows(batch.skipped_BL)[wanted_BL]
        return Inputs(
            events_of(batch.sequences, self.row_I, at_B=batch.at_B),
            torch.from_numpy(batch.sequences.item_BL),
            torch.from_numpy(batch.user_B),
            torch.from_numpy(wanted_BL),
            Targets(
                torch.from_numpy(target_BL[wanted_BL]),
                torch.from_numpy(np.where(skipped_N > UNKNOWN_ROW, skipped_N, 0)),
                torch.from_numpy(batch.completion_BL[wanted_BL]),
                self.count_S,
            ),
        )

    def forward(self, inputs: Inputs) -> Mapping[str, Tensor]:
        """Losses of a batch by name; `loss` is what is minimised."""
        events = with_sources(inputs.events, self.fusion, inputs.item_BL, inputs.user_B)
        h_N = self.network(events)[inputs.wanted_BL]
        if h_N.dim() == 3:
            h_N = self._chosen(h_N, inputs.targets.row_N)
        return self.objective(h_N, self.network.table, inputs.targets)

    def _chosen(self, h_NKD: Tensor, row_N: Tensor) -> Tensor:
        """Of K interests, the one that likes the target most: the others are not to blame."""
        with torch.no_grad():
            e_ND1 = self.network.table.weight[row_N, :, None]
            best_N = (h_NKD @ e_ND1).squeeze(2).argmax(1)
        return h_NKD[torch.arange(len(best_N), device=best_N.device), best_N]

    def _rows(self, item_BL: np.ndarray) -> np.ndarray:
        return np.where(item_BL >= 0, self.row_I[np.maximum(item_BL, 0)], 0)


def with_sources(events: Events, fusion: Fusion | None, item_BL: Tensor, user_B: Tensor) -> Events:
    """The events with their fused source vectors.

    Each item (each pair of user and item, where a source knows users) is fused once.

    Args:
        events: of B users.
        fusion: the sources; None leaves the events as they are.
        item_BL: int64 dense items, -1 for none.
        user_B: int64 dense users, -1 for unknown ones.
    """
    if fusion is None:
        return events
    personal = any(fusion.encoder(name).entity == "user" for name in fusion.names)
    user_BL = (user_B if personal else torch.full_like(user_B, -1))[:, None].expand_as(item_BL)
    pair_BL = (item_BL + 1) + (user_BL + 1) * (item_BL.max() + 2)
    pair_P, at_BL = torch.unique(pair_BL, return_inverse=True)
    place_P = torch.empty_like(pair_P)
    place_P[at_BL.flatten()] = torch.arange(at_BL.numel(), device=at_BL.device)
    fused = fusion(item_BL.flatten()[place_P], user_BL.flatten()[place_P])
    source_BLD = fused.vector_ND[at_BL] * events.mask_BL[..., None]
    return replace(events, source_BLD=source_BLD)


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """Copy everything to a device."""
    targets = inputs.targets
    return Inputs(
        inputs.events.to(device),
        inputs.item_BL.to(device),
        inputs.user_B.to(device),
        inputs.wanted_BL.to(device),
        Targets(
            targets.row_N.to(device),
            targets.skipped_N.to(device),
            targets.completion_N.to(device),
            targets.count_S.to(device),
        ),
    )
