"""The contract of the recurrent branch: a whole history at once, or one event at a time.

Histories start at position 0 (`batch.flush_left`), so a branch needs no mask: what stands after the
last event is ignored by the caller.

Shape: B users, T events, D width, S vectors of state (2 for an LSTM: output and cell; 1 for a GRU).
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class Branch(Protocol):
    """A causal recurrence over events, `h_t = f(x_t, gap_t, state_{t-1})`."""

    states: int
    """S."""

    def __call__(self, x_BTD: Tensor, gap_BT: Tensor) -> Tensor:
        """Outputs after each event.

        Args:
            x_BTD: float [B, T, D], vectors of the events.
            gap_BT: float [B, T], seconds since the event before.

        Returns:
            float [B, T, D].
        """
        ...

    def step(self, x_BD: Tensor, gap_B: Tensor, carry_BSD: Tensor) -> Tensor:
        """The state after one more event, [B, S, D]; its first vector is the output.

        Equal to one position of `__call__`; a new user's state is zeros.
        """
        ...


def cell_weights(cell: nn.RNNBase) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights by input and by state, then both biases, of torch's one-layer recurrences."""
    by_input, by_state, bias_input, bias_state = cell.all_weights[0]
    return by_input, by_state, bias_input, bias_state
