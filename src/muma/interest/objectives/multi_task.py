"""Several things at once: what is taken next, whether it is clicked, and how far it is watched.

    loss = w_next next + w_click click + w_completion completion

`next` is another objective. `click` is a binary cross-entropy between the item that was taken (1) and
one that was shown with it and passed over (0). `completion` is a binary cross-entropy with the
duration-conditional completion quantile as a soft label. Both heads read [h, e, h * e], e the item's
row. A position without a label adds nothing to that head; a batch without any has a loss of 0 there.

Shape: N positions, D width, S rows of the table in use.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from muma.config import Config, Spec, build
from muma.interest.objectives.objective import Targets
from muma.interest.table import ItemTable

NEXT = Spec(use="muma.interest.objectives.full_softmax.FullSoftmax")


class MultiTaskConfig(Config):
    """Parameters of `MultiTask`.

    Attributes:
        width: D of the network.
        hidden: width of each head's hidden layer.
        next: the objective for the next item.
        next_weight: w_next.
        click_weight: w_click; 0 leaves the head out.
        completion_weight: w_completion; 0 leaves the head out.
    """

    width: int = Field(default=64, ge=1)
    hidden: int = Field(default=64, ge=1)
    next: Spec = NEXT
    next_weight: float = Field(default=1.0, ge=0)
    click_weight: float = Field(default=0.2, ge=0)
    completion_weight: float = Field(default=0.2, ge=0)


class MultiTask(nn.Module):
    """A weighted sum of the next-item loss and two heads."""

    def __init__(self, config: MultiTaskConfig = MultiTaskConfig()) -> None:
        super().__init__()
        self.config = config
        self.next = build(config.next, where="objective.next")
        self.click = _Head(config.width, config.hidden)
        self.completion = _Head(config.width, config.hidden)

    def forward(self, h_ND: Tensor, table: ItemTable, targets: Targets) -> Mapping[str, Tensor]:
        """The weighted sum and its parts; see `Objective`."""
        config = self.config
        parts = {
            "next": self.next(h_ND, table, targets)["loss"],
            "click": self._click(h_ND, table, targets),
            "completion": self._completion(h_ND, table, targets),
        }
        loss = (
            config.next_weight * parts["next"]
            + config.click_weight * parts["click"]
            + config.completion_weight * parts["completion"]
        )
        return {"loss": loss, **parts}

    def chances(self, h_ND: Tensor, e_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Chance of a click and expected completion quantile of items `e_ND`, each [N] in (0, 1)."""
        return self.click(h_ND, e_ND).sigmoid(), self.completion(h_ND, e_ND).sigmoid()

    def _click(self, h_ND: Tensor, table: ItemTable, targets: Targets) -> Tensor:
        pair_N = targets.skipped_N > 0
        h = h_ND[pair_N]
        taken = self.click(h, table.weight[targets.row_N[pair_N]])
        passed = self.click(h, table.weight[targets.skipped_N[pair_N]])
        return _mean(functional.softplus(-taken) + functional.softplus(passed)) / 2

    def _completion(self, h_ND: Tensor, table: ItemTable, targets: Targets) -> Tensor:
        known_N = ~torch.isnan(targets.completion_N)
        logit = self.completion(h_ND[known_N], table.weight[targets.row_N[known_N]])
        label = targets.completion_N[known_N].to(logit.dtype)
        return _mean(functional.binary_cross_entropy_with_logits(logit, label, reduction="none"))


class _Head(nn.Module):
    """A logit for each pair of user and item."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3 * width, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, h_ND: Tensor, e_ND: Tensor) -> Tensor:
        return self.layers(torch.cat([h_ND, e_ND, h_ND * e_ND], dim=1)).squeeze(1)


def _mean(value: Tensor) -> Tensor:
    """Mean, or a differentiable 0 of nothing."""
    return value.sum() / max(1, len(value))
