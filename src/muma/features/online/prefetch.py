"""Ask the processor for memory before it is needed: random rows are bound by its latency, not its speed."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def prefetch(array: np.ndarray, index: int) -> None:
    """Start loading the line of `array[index]` (one dimension, in place); a hint without effect on results."""


@intrinsic
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:  # pragma: no cover - compiled
    del typing_context
    signature = types.void(array, types.uint64)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type = signature.args[0]
        held = context.make_array(array_type)(context, builder, arguments[0])
        place = builder.gep(held.data, [arguments[1]])
        pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), word, word, word])
        name = (
            "llvm.prefetch.p0"
            if ir.types.PointerType().__class__ and _opaque()
            else "llvm.prefetch.p0i8"
        )
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        # for writing, keep in every cache, data
        builder.call(function, [pointer, word(1), word(3), word(1)])
        return context.get_dummy_value()

    return signature, build
