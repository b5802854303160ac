"""One exact time-aware LSTM, in one differentiable step: the short-term part of the cell fades.

    s_t = tanh(V c_{t-1}),   c*_t = c_{t-1} - loss_t s_t
    i, f, o = sigmoid(W x_t + U h_{t-1} + b),  g = tanh(...)
    c_t = f c*_t + i g,      h_t = o tanh(c_t)

Baytas et al., "Patient subtyping via time-aware LSTM networks", KDD 2017, with loss_t = 1 - g(gap):
c - s is the long-term part, which stays, and g(gap) s what is left of the short-term one. V has no
bias, so that an empty memory has nothing to lose. Built as `lstm_function`, with one product more.

Shape: T events, B users, I width of inputs, H width, G = 4 H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from muma.interest.lstm_function import blocks, input_gradients, slopes


def _backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of every input, by one pass back through time."""
    (
        x_TBI, w_GI, u_GH, v_HH, loss_TB1, gate_TBG, h_TBH, c_TBH, tanh_TBH, kept_TBH, short_TBH
    ) = ctx.saved_tensors  # fmt: skip
    _, batch, width = h_TBH.shape
    slope_TBG = torch.empty_like(gate_TBG)
    grad_h_TBH = grad_TBH.clone(memory_format=torch.contiguous_format)
    grad_c_BH = gate_TBG.new_zeros(batch, width)
    grad_kept_TBH, grad_short_TBH = torch.empty_like(h_TBH), torch.empty_like(h_TBH)
    for begin, end in blocks(gate_TBG):
        at = slice(begin, end)
        to_c = slopes(gate_TBG[at], kept_TBH[at], tanh_TBH[at], None, slope_TBG[at])
        by_short = torch.ops.aten.tanh_backward(
            -loss_TB1[at].expand_as(short_TBH[at]), short_TBH[at]
        )
        for t in range(end - 1, begin - 1, -1):
            grad_BH, slope_BG = grad_h_TBH[t], slope_TBG[t]
            grad_c_BH.addcmul_(grad_BH, to_c[t - begin])
            slope_BG[:, 2 * width : 3 * width].mul_(grad_BH)
            slope_BG[:, : 2 * width].view(batch, 2, width).mul_(grad_c_BH[:, None])
            slope_BG[:, 3 * width :].mul_(grad_c_BH)
            if t:
                grad_h_TBH[t - 1].addmm_(slope_BG, u_GH)
            torch.mul(grad_c_BH, gate_TBG[t, :, width : 2 * width], out=grad_kept_TBH[t])
            torch.mul(grad_kept_TBH[t], by_short[t - begin], out=grad_short_TBH[t])
            torch.addmm(grad_kept_TBH[t], grad_short_TBH[t], v_HH, out=grad_c_BH)
    grad_loss_TB1 = None
    if ctx.needs_input_grad[5]:
        grad_loss_TB1 = -(grad_kept_TBH.mul_(short_TBH)).sum(-1, keepdim=True)
    return (
        *input_gradients(ctx, slope_TBG, x_TBI, w_GI, h_TBH),
        grad_short_TBH.flatten(0, 1).T @ c_TBH[:-1].flatten(0, 1),
        grad_loss_TB1,
    )


class ShortTermLSTM(torch.autograd.Function):
    """`apply(x_TBI, w_GI, u_GH, b_G, v_HH, loss_TB1)` -> h_TBH."""

    @staticmethod
    def forward(
        ctx: Any, x_TBI: Tensor, w_GI: Tensor, u_GH: Tensor, b_G: Tensor, v_HH: Tensor,
        loss_TB1: Tensor,
    ) -> Tensor:  # fmt: skip
        """Outputs after each event."""
        steps, batch, _ = x_TBI.shape
        width = u_GH.shape[1]
        gate_TBG = torch.addmm(b_G, x_TBI.flatten(0, 1), w_GI.T).view(steps, batch, 4 * width)
        h_TBH = gate_TBG.new_empty(steps, batch, width)
        tanh_TBH, kept_TBH = torch.empty_like(h_TBH), torch.empty_like(h_TBH)
        short_TBH = torch.empty_like(h_TBH)
        c_TBH = gate_TBG.new_empty(steps + 1, batch, width)  # c_TBH[t] is the cell before event t
        c_TBH[0] = 0.0
        u_HG, turned_HH = u_GH.T.contiguous(), v_HH.T.contiguous()
        sigmoids, inner = gate_TBG[..., : 3 * width], gate_TBG[..., 3 * width :]
        in_TBH, forget_TBH, out_TBH = sigmoids.split(width, -1)
        for t in range(steps):
            if t:
                gate_TBG[t].addmm_(h_TBH[t - 1], u_HG)
            sigmoids[t].sigmoid_()
            g_BH = inner[t].tanh_()
            short_BH = torch.mm(c_TBH[t], turned_HH, out=short_TBH[t]).tanh_()
            kept_BH = torch.addcmul(c_TBH[t], short_BH, loss_TB1[t], value=-1, out=kept_TBH[t])
            c_BH = torch.mul(in_TBH[t], g_BH, out=c_TBH[t + 1]).addcmul_(forget_TBH[t], kept_BH)
            torch.mul(out_TBH[t], torch.tanh(c_BH, out=tanh_TBH[t]), out=h_TBH[t])
        ctx.save_for_backward(
            x_TBI, w_GI, u_GH, v_HH, loss_TB1, gate_TBG, h_TBH, c_TBH, tanh_TBH, kept_TBH, short_TBH
        )
        return h_TBH

    @staticmethod
    def symbolic(
        g: Any, x_TBI: Any, w_GI: Any, u_GH: Any, b_G: Any, v_HH: Any, loss_TB1: Any
    ) -> Any:
        """One node of an ONNX graph; `export_scan` spells it out."""
        # inputs and outputs are equally wide in every branch
        node = g.op("muma::ShortTermLSTM", x_TBI, w_GI, u_GH, b_G, v_HH, loss_TB1)
        return node.setType(x_TBI.type())

    backward: Any = staticmethod(once_differentiable(_backward))
