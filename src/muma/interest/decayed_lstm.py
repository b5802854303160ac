"""The short-term branch: an LSTM whose memory fades with the time between events (eq. 6).

    h_t = LSTM(x_t, h_{t-1}) decay(gap_t)

The faded output is what the next step reads. A decay may instead let the short-term part of the
cell fade (T-LSTM). Without a decay, torch's own LSTM runs. Training can run a C++ kernel (extra
`cpp`); serving never does, so that what it trained runs where there is no compiler.

Shape: B users, T events, D width.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from muma.config import Config, Spec, build
from muma.interest.branches.branch import cell_weights
from muma.interest.decays.decay import Decay
from muma.interest.decays.short_term import ShortTerm
from muma.interest.lstm_function import OutputDecayedLSTM
from muma.interest.lstm_function_short import ShortTermLSTM


class DecayedLSTMConfig(Config):
    """Parameters of `DecayedLSTM`.

    Attributes:
        width: D, of inputs and outputs.
        decay: how memory fades; a class of `muma.interest.decays`. None is a plain LSTM.
        kernel: what trains a decay on the CPU: torch's operations, or C++ that is compiled on first
            use. Both give the same numbers up to rounding.
    """

    width: int = Field(default=64, ge=1)
    decay: Spec | None = None
    kernel: Literal["portable", "cpp"] = "portable"


class DecayedLSTM(nn.Module):
    """An LSTM as a `Branch`; its weights are those of `torch.nn.LSTM`, whatever fades.

    Example:
        >>> fading = {"use": "muma.interest.decays.exponential.Exponential", "rate": 1.0, "unit": 1.0}
        >>> lstm = DecayedLSTM(DecayedLSTMConfig(width=4, decay=fading))
        >>> after_a_year = lstm(torch.ones(1, 1, 4), torch.full((1, 1), 3e7))
        >>> after_a_year.abs().max().item()
        0.0
    """

    states = 2

    def __init__(self, config: DecayedLSTMConfig | None = None) -> None:
        super().__init__()
        self.config = config or DecayedLSTMConfig()
        width, decay = self.config.width, self.config.decay
        self.cell = nn.LSTM(width, width, batch_first=True)
        self.decay = None if decay is None else build(decay, where="decay", width=width)

    def forward(self, x_BTD: Tensor, gap_BT: Tensor) -> Tensor:
        """Outputs after each event, [B, T, D]."""
        if self.decay is None:
            return self._plain(x_BTD)
        # the recurrence is short in arithmetic and long in time: half precision would only drift
        with torch.autocast(x_BTD.device.type, enabled=False):
            by_input, by_state, bias_input, bias_state = cell_weights(self.cell)
            dtype = by_state.dtype
            w_GD, u_GD = _reorder(by_input), _reorder(by_state)
            b_G = _reorder(bias_input + bias_state)
            x_TBD = x_BTD.transpose(0, 1).to(dtype).contiguous()
            left_TB = self._left(gap_BT).to(dtype).transpose(0, 1).contiguous()
            output, short = self._functions()
            if isinstance(self.decay, ShortTerm):
                v_DD = self.decay.short.weight
                h_TBD = short.apply(x_TBD, w_GD, u_GD, b_G, v_DD, 1.0 - left_TB)
            else:
                h_TBD = output.apply(x_TBD, w_GD, u_GD, b_G, left_TB)
        return cast("Tensor", h_TBD).transpose(0, 1)

    def _plain(self, x_BTD: Tensor) -> Tensor:
        """Torch's own LSTM; in single precision where the processor has none in bfloat16."""
        on_cpu = x_BTD.device.type == "cpu"
        half = on_cpu and torch.is_autocast_enabled("cpu")
        if not half or torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 - no other name
            return self.cell(x_BTD)[0]
        with torch.autocast("cpu", enabled=False):
            return self.cell(x_BTD.to(cell_weights(self.cell)[0].dtype))[0]

    def step(self, x_BD: Tensor, gap_B: Tensor, carry_BSD: Tensor) -> Tensor:
        """The output and the cell after one more event, [B, 2, D]."""
        h_BD, c_BD = carry_BSD[:, 0], carry_BSD[:, 1]
        left_BD = None if self.decay is None else self._left(gap_B[:, None])[:, 0]
        if left_BD is not None and isinstance(self.decay, ShortTerm):
            c_BD = c_BD - (1.0 - left_BD) * torch.tanh(self.decay.short(c_BD))
        h_BD, c_BD = torch.lstm_cell(x_BD, (h_BD, c_BD), *cell_weights(self.cell))
        if left_BD is not None and not isinstance(self.decay, ShortTerm):
            h_BD = h_BD * left_BD
        return torch.stack([h_BD, c_BD], 1)

    def _functions(self) -> tuple[Any, Any]:
        """What runs the recurrence: where the output fades, and where the cell does."""
        if self.config.kernel == "cpp" and self.training:
            from muma.interest import lstm_kernel  # noqa: PLC0415 - it needs a compiler

            return lstm_kernel.OutputDecayedLSTM, lstm_kernel.ShortTermLSTM
        return OutputDecayedLSTM, ShortTermLSTM

    def _left(self, gap: Tensor) -> Tensor:
        return cast("Decay", self.decay)(gap)


def _reorder(weight: Tensor) -> Tensor:
    """Rows of torch's gates i, f, g, o in the order i, f, o, g of `lstm_function`."""
    i, f, g, o = weight.chunk(4)
    return torch.cat([i, f, o, g])
