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

from muma.interest.lstm_function import blocks, input_gradients, slopes, steps_of
from muma.interest.products import adding, inner_product, product


def _backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of every input, by one pass back through time."""
    (
        x_TBI, w_GI, u_GH, v_HH, loss_TB1, gate_TBG, h_TBH, c_TBH, tanh_TBH, kept_TBH, short_TBH
    ) = ctx.saved_tensors  # fmt: skip
    _, batch, width = h_TBH.shape
    slope_TBG = torch.empty_like(gate_TBG)
    grad_h_TBH = grad_TBH.clone(memory_format=torch.contiguous_format)
    grad_c_BH, add = gate_TBG.new_zeros(batch, width), adding(u_GH.T.contiguous(), batch)
    grad_c_B1H = grad_c_BH[:, None]
    grad_kept_TBH, grad_short_TBH = torch.empty_like(h_TBH), torch.empty_like(h_TBH)
    grad_h, grad_kept, grad_short, forget = (
        one.unbind()
        for one in (grad_h_TBH, grad_kept_TBH, grad_short_TBH, gate_TBG[..., width : 2 * width])
    )
    slope, by_memory, by_out, by_g = steps_of(slope_TBG, width)
    for begin, end in blocks(gate_TBG):
        at = slice(begin, end)
        to_c = slopes(gate_TBG[at], kept_TBH[at], tanh_TBH[at], None, slope_TBG[at]).unbind()
        by_short = torch.ops.aten.tanh_backward(
            -loss_TB1[at].expand_as(short_TBH[at]), short_TBH[at]
        ).unbind()
        for t in range(end - 1, begin - 1, -1):
            grad_c_BH.addcmul_(grad_h[t], to_c[t - begin])
            by_out[t].mul_(grad_h[t])
            by_memory[t].mul_(grad_c_B1H)
            by_g[t].mul_(grad_c_BH)
            if t:
                add(grad_h[t - 1], slope[t])
            torch.mul(grad_c_BH, forget[t], out=grad_kept[t])
            torch.mul(grad_kept[t], by_short[t - begin], out=grad_short[t])
            torch.addmm(grad_kept[t], grad_short[t], v_HH, out=grad_c_BH)
    grad_loss_TB1 = None
    if ctx.needs_input_grad[5]:
        grad_loss_TB1 = -(grad_kept_TBH.mul_(short_TBH)).sum(-1, keepdim=True)
    return (
        *input_gradients(ctx, slope_TBG, x_TBI, w_GI, h_TBH),
        inner_product(grad_short_TBH.flatten(0, 1), c_TBH[:-1].flatten(0, 1)),
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
        gate_TBG = product(x_TBI.flatten(0, 1), w_GI, b_G).view(steps, batch, 4 * width)
        h_TBH = gate_TBG.new_empty(steps, batch, width)
        tanh_TBH, kept_TBH = torch.empty_like(h_TBH), torch.empty_like(h_TBH)
        short_TBH = torch.empty_like(h_TBH)
        c_TBH = gate_TBG.new_empty(steps + 1, batch, width)  # c_TBH[t] is the cell before event t
        c_TBH[0] = 0.0
        turned_HH = v_HH.T.contiguous()
        sigmoids, inner = gate_TBG[..., : 3 * width], gate_TBG[..., 3 * width :]
        in_, forget, out = (one.unbind() for one in sigmoids.split(width, -1))
        gate, sigmoid, g, h, c, tanh = (
            one.unbind() for one in (gate_TBG, sigmoids, inner, h_TBH, c_TBH, tanh_TBH)
        )
        short, kept, loss = (one.unbind() for one in (short_TBH, kept_TBH, loss_TB1))
        add = adding(u_GH, batch)
        for t in range(steps):
            if t:
                add(gate[t], h[t - 1])
            sigmoid[t].sigmoid_()
            torch.mm(c[t], turned_HH, out=short[t]).tanh_()
            torch.addcmul(c[t], short[t], loss[t], value=-1, out=kept[t])
            torch.mul(in_[t], g[t].tanh_(), out=c[t + 1]).addcmul_(forget[t], kept[t])
            torch.mul(out[t], torch.tanh(c[t + 1], out=tanh[t]), out=h[t])
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
