"""One exact LSTM with a factor on its output, in one differentiable step (eq. 6).

    i, f, o = sigmoid(W x_t + U h_{t-1} + b),  g = tanh(...)
    c_t = f c_{t-1} + i g,   h_t = factor_t o tanh(c_t)

The input is projected by one product before the loop; the loop writes into buffers that were made
once; the backward pass is written by hand and takes the local derivatives in blocks of steps that
fit the cache, so that a step costs five small operations. Time comes first, so that a step's slice
is contiguous. Gates lie in the order i, f, o, g: three sigmoids side by side, then one tanh.

Shape: T events, B users, I width of inputs, H width, G = 4 H.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from muma.interest.products import adding, inner_product, product

BLOCK_BYTES = 1 << 18  # of one step-block of gates: a quarter of a usual second-level cache


def _backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of every input, by one pass back through time."""
    x_TBI, w_GI, u_GH, gate_TBG, h_TBH, c_TBH, tanh_TBH, factor = ctx.saved_tensors
    _, batch, width = h_TBH.shape
    slope_TBG = torch.empty_like(gate_TBG)
    grad_h_TBH = grad_TBH.clone(memory_format=torch.contiguous_format)
    grad_c_BH, add = gate_TBG.new_zeros(batch, width), adding(u_GH.T.contiguous(), batch)
    grad_c_B1H = grad_c_BH[:, None]
    grad_h, forget = grad_h_TBH.unbind(), gate_TBG[..., width : 2 * width].unbind()
    slope, by_memory, by_out, by_g = steps_of(slope_TBG, width)
    for begin, end in blocks(gate_TBG):
        at = slice(begin, end)
        fade = None if factor is None else factor[at]
        to_c = slopes(gate_TBG[at], c_TBH[at], tanh_TBH[at], fade, slope_TBG[at]).unbind()
        for t in range(end - 1, begin - 1, -1):
            grad_c_BH.addcmul_(grad_h[t], to_c[t - begin])
            by_out[t].mul_(grad_h[t])
            by_memory[t].mul_(grad_c_B1H)
            by_g[t].mul_(grad_c_BH)
            if t:
                add(grad_h[t - 1], slope[t])
                grad_c_BH.mul_(forget[t])
    grad_factor = None
    if factor is not None and ctx.needs_input_grad[4]:
        grad_factor = grad_h_TBH.mul_(gate_TBG[..., 2 * width : 3 * width]).mul_(tanh_TBH)
        if factor.shape[-1] == 1:
            grad_factor = grad_factor.sum(-1, keepdim=True)
    return *input_gradients(ctx, slope_TBG, x_TBI, w_GI, h_TBH), grad_factor


def input_gradients(
    ctx: Any, slope_TBG: Tensor, x_TBI: Tensor, w_GI: Tensor, h_TBH: Tensor
) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
    """Gradients of x, w, u and b from those of the gates before their functions."""
    flat = slope_TBG.flatten(0, 1)
    return (
        product(flat, w_GI.T).view_as(x_TBI) if ctx.needs_input_grad[0] else None,
        inner_product(flat, x_TBI.flatten(0, 1)),
        inner_product(slope_TBG[1:].flatten(0, 1), h_TBH[:-1].flatten(0, 1)),
        flat.sum(0),
    )


class OutputDecayedLSTM(torch.autograd.Function):
    """`apply(x_TBI, w_GI, u_GH, b_G, factor)` -> h_TBH; `factor` is [T, B, 1], [T, B, H] or None."""

    @staticmethod
    def forward(
        ctx: Any, x_TBI: Tensor, w_GI: Tensor, u_GH: Tensor, b_G: Tensor, factor: Tensor | None
    ) -> Tensor:
        """Outputs after each event."""
        steps, batch, _ = x_TBI.shape
        width = u_GH.shape[1]
        gate_TBG = product(x_TBI.flatten(0, 1), w_GI, b_G).view(steps, batch, 4 * width)
        h_TBH = gate_TBG.new_empty(steps, batch, width)
        c_TBH = gate_TBG.new_empty(steps + 1, batch, width)  # c_TBH[t] is the cell before event t
        c_TBH[0] = 0.0
        tanh_TBH = torch.empty_like(h_TBH)
        sigmoids, inner = gate_TBG[..., : 3 * width], gate_TBG[..., 3 * width :]
        in_, forget, out = (one.unbind() for one in sigmoids.split(width, -1))
        gate, sigmoid, g, h, c, tanh = (
            one.unbind() for one in (gate_TBG, sigmoids, inner, h_TBH, c_TBH, tanh_TBH)
        )
        fade = None if factor is None else factor.unbind()
        add = adding(u_GH, batch)
        for t in range(steps):
            if t:
                add(gate[t], h[t - 1])
            sigmoid[t].sigmoid_()
            torch.mul(in_[t], g[t].tanh_(), out=c[t + 1]).addcmul_(forget[t], c[t])
            torch.mul(out[t], torch.tanh(c[t + 1], out=tanh[t]), out=h[t])
            if fade is not None:
                h[t].mul_(fade[t])
        ctx.save_for_backward(x_TBI, w_GI, u_GH, gate_TBG, h_TBH, c_TBH, tanh_TBH, factor)
        return h_TBH

    @staticmethod
    def symbolic(g: Any, x_TBI: Any, w_GI: Any, u_GH: Any, b_G: Any, factor: Any) -> Any:
        """One node of an ONNX graph; `export_scan` spells it out."""
        # inputs and outputs are equally wide in every branch
        node = g.op("muma::OutputDecayedLSTM", x_TBI, w_GI, u_GH, b_G, factor)
        return node.setType(x_TBI.type())

    backward: Any = staticmethod(once_differentiable(_backward))


def steps_of(slope_TBG: Tensor, width: int) -> tuple[tuple[Tensor, ...], ...]:
    """Views of each step of the gates' gradients, made at once: all, [i, f] as [B, 2, H], o, g."""
    by_memory_TBG, by_out_TBH, by_g_TBH = slope_TBG.split((2 * width, width, width), -1)
    by_memory_TB2H = by_memory_TBG.unflatten(-1, (2, width))
    return tuple(one.unbind() for one in (slope_TBG, by_memory_TB2H, by_out_TBH, by_g_TBH))


def blocks(gate_TBG: Tensor) -> Iterator[tuple[int, int]]:
    """Begin and end of blocks of steps that fit the cache, the last block first."""
    size = max(1, BLOCK_BYTES // max(1, gate_TBG[0].numel() * gate_TBG.element_size()))
    for end in range(len(gate_TBG), 0, -size):
        yield max(0, end - size), end


def slopes(
    gate: Tensor, before: Tensor, tanh: Tensor, factor: Tensor | None, out: Tensor
) -> Tensor:
    """Local derivatives of one block of N steps.

    Args:
        gate: [N, B, G], the gates i, f, o, g.
        before: [N, B, H], the cell that the forget gate met.
        tanh: [N, B, H], of the cell after the step.
        factor: on the output; None for 1.
        out: [N, B, G], takes the derivative of the cell by i, f and g, and of the output by o.

    Returns:
        [N, B, H], the derivative of the output by the cell.
    """
    width = tanh.shape[-1]
    i, _, o, g = gate.split(width, -1)
    by_i, by_f, by_o, by_g = out.split(width, -1)
    by_i.copy_(g)
    by_f.copy_(before)
    if factor is None:
        by_o.copy_(tanh)
    else:
        torch.mul(tanh, factor, out=by_o)
    sigmoids = out[..., : 3 * width]
    torch.ops.aten.sigmoid_backward.grad_input(
        sigmoids, gate[..., : 3 * width], grad_input=sigmoids
    )
    torch.ops.aten.tanh_backward.grad_input(i, g, grad_input=by_g)
    return torch.ops.aten.tanh_backward(o if factor is None else o * factor, tanh)
