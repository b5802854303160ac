"""The decayed LSTMs by a C++ kernel that is compiled once, where there is a compiler.

The same arguments, the same numbers (up to rounding) and the same gradients as `lstm_function` and
`lstm_function_short`, in fewer passes over memory: `lstm_kernel.cpp` says how. torch keeps the
compiled library in its extension folder (`TORCH_EXTENSIONS_DIR`), so that a later process only loads it.

Shape: T events, B users, I width of inputs, H width, G = 4 H.
"""

from __future__ import annotations

import os
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import cpp_extension

from muma.errors import ConfigError, MissingExtraError
from muma.interest.lstm_function import input_gradients
from muma.interest.products import inner_product, product
from muma.optional import require

SOURCE = Path(__file__).with_name("lstm_kernel.cpp")
PORTABLE = 'or set kernel = "portable"'
FLAGS = {
    "AVX2": ["-mavx2", "-mfma"],
    "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
}


@cache
def load() -> Any:
    """The compiled operators; compiled by the first call on a machine, which takes some ten seconds.

    Raises:
        MissingExtraError: there is no ninja, or no C++ compiler.
        ConfigError: the compiler refused the kernel.
    """
    compiler = shlex.split(os.environ.get("CXX") or "c++")[0]
    if shutil.which(compiler) is None:
        raise MissingExtraError(
            f'kernel = "cpp" needs a C++ compiler, and {compiler} is not on the PATH; install one '
            f'(Debian: apt-get install g++) beside pip install "muma[cpp]", {PORTABLE}'
        )
    if shutil.which("ninja") is None:
        folder = require("ninja", extra="cpp").BIN_DIR
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])
    capability = torch.backends.cpu.get_cpu_capability()
    try:
        cpp_extension.load(
            name=f"muma_lstm_{capability.lower().replace(' ', '_')}",
            sources=[str(SOURCE)],
            extra_cflags=["-O3", "-fopenmp-simd", *FLAGS.get(capability, [])],
            is_python_module=False,
        )
    except (RuntimeError, OSError) as error:
        lines = str(error).strip().splitlines()
        said = next((line for line in lines if "error:" in line), lines[-1])
        raise ConfigError(f"the C++ kernel does not compile ({said}); {PORTABLE}") from error
    return torch.ops.muma


class OutputDecayedLSTM(torch.autograd.Function):
    """As `lstm_function.OutputDecayedLSTM`, on the CPU."""

    @staticmethod
    def forward(
        ctx: Any, x_TBI: Tensor, w_GI: Tensor, u_GH: Tensor, b_G: Tensor, factor: Tensor | None
    ) -> Tensor:
        """Outputs after each event."""
        gate_TBG = _projected(x_TBI, w_GI, b_G)
        h_TBH, c_TBH, tanh_TBH, _, _ = load().lstm_forward(gate_TBG, u_GH, factor, None)
        ctx.save_for_backward(x_TBI, w_GI, u_GH, gate_TBG, h_TBH, c_TBH, tanh_TBH, factor)
        return h_TBH

    @staticmethod
    def _backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of every input."""
        x_TBI, w_GI, u_GH, gate_TBG, h_TBH, c_TBH, tanh_TBH, factor = ctx.saved_tensors
        wanted = factor is not None and ctx.needs_input_grad[4]
        slope_TBG, _, grad_factor = load().lstm_backward(
            _own(grad_TBH), gate_TBG, c_TBH[:-1], tanh_TBH, u_GH, factor, None, None, wanted
        )
        return (
            *input_gradients(ctx, slope_TBG, x_TBI, w_GI, h_TBH),
            grad_factor if wanted else None,
        )

    backward: Any = staticmethod(once_differentiable(_backward))


class ShortTermLSTM(torch.autograd.Function):
    """As `lstm_function_short.ShortTermLSTM`, on the CPU."""

    @staticmethod
    def forward(
        ctx: Any, x_TBI: Tensor, w_GI: Tensor, u_GH: Tensor, b_G: Tensor, v_HH: Tensor,
        loss_TB1: Tensor,
    ) -> Tensor:  # fmt: skip
        """Outputs after each event."""
        gate_TBG = _projected(x_TBI, w_GI, b_G)
        h_TBH, c_TBH, *left = load().lstm_forward(gate_TBG, u_GH, loss_TB1, v_HH)
        ctx.save_for_backward(x_TBI, w_GI, u_GH, v_HH, loss_TB1, gate_TBG, h_TBH, c_TBH, *left)
        return h_TBH

    @staticmethod
    def _backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of every input."""
        x_TBI, w_GI, u_GH, v_HH, loss_TB1, gate_TBG, h_TBH, c_TBH, tanh_TBH, kept_TBH, short_TBH = (
            ctx.saved_tensors
        )
        wanted = ctx.needs_input_grad[5]
        slope_TBG, grad_short_TBH, grad_loss_TB1 = load().lstm_backward(
            _own(grad_TBH), gate_TBG, kept_TBH, tanh_TBH, u_GH, loss_TB1, v_HH, short_TBH, wanted
        )
        return (
            *input_gradients(ctx, slope_TBG, x_TBI, w_GI, h_TBH),
            inner_product(grad_short_TBH.flatten(0, 1), c_TBH[:-1].flatten(0, 1)),
            grad_loss_TB1 if wanted else None,
        )

    backward: Any = staticmethod(once_differentiable(_backward))


def _projected(x_TBI: Tensor, w_GI: Tensor, b_G: Tensor) -> Tensor:
    """What the inputs add to the gates, [T, B, G]."""
    if x_TBI.device.type != "cpu" or x_TBI.dtype not in (torch.float32, torch.float64):
        raise ConfigError(
            f"the C++ kernel reads float32 and float64 on the cpu, not {x_TBI.dtype} on "
            f'{x_TBI.device}: set kernel = "portable"'
        )
    return product(x_TBI.flatten(0, 1), w_GI, b_G).view(*x_TBI.shape[:2], -1)


def _own(grad: Tensor) -> Tensor:
    """A copy that may be written to."""
    return grad.clone(memory_format=torch.contiguous_format)
