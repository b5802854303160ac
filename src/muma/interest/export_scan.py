"""Spells the decayed LSTMs out in an ONNX graph: one product for all inputs, then a Scan.

`lstm_function` puts one node into the graph that torch writes; here it becomes operators that every
ONNX runtime knows. The weights stay initialisers of the graph outside, which a Scan's body may read.

Shape: T events, B users, H width, G = 4 H, gates in the order i, f, o, g.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

DOMAIN = "muma"
OUTPUT, SHORT = "OutputDecayedLSTM", "ShortTermLSTM"


def expand(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every node of the domain `muma`, in place; the model itself is returned."""
    graph = model.graph
    nodes: list[NodeProto] = []
    for place, node in enumerate(graph.node):
        nodes.extend(_recurrence(node, f"scan{place}") if node.domain == DOMAIN else [node])
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _recurrence(node: NodeProto, name: str) -> list[NodeProto]:
    """The nodes that stand for one recurrence; its inputs are those of the function."""
    short = node.op_type == SHORT
    x, w, u, b, *more = node.input
    fade = more[-1]

    def at(part: str) -> str:
        return f"{name}.{part}"

    nodes = [
        helper.make_node("Transpose", [w], [at("w")], perm=[1, 0]),
        helper.make_node("Transpose", [u], [at("u")], perm=[1, 0]),
        helper.make_node("MatMul", [x, at("w")], [at("product")]),
        helper.make_node("Add", [at("product"), b], [at("gates")]),
        # zeros [B, H]: the shape comes from one event of x and the width of u
        helper.make_node("Shape", [x], [at("steps")], start=1, end=2),
        helper.make_node("Shape", [u], [at("width")], start=1, end=2),
        helper.make_node("Concat", [at("steps"), at("width")], [at("size")], axis=0),
        helper.make_node(
            "ConstantOfShape", [at("size")], [at("zeros")],
            value=numpy_helper.from_array(np.zeros(1, dtype=np.float32)),
        ),
    ]  # fmt: skip
    if short:
        nodes.append(helper.make_node("Transpose", [more[0]], [at("v")], perm=[1, 0]))
    nodes.append(
        helper.make_node(
            "Scan", [at("zeros"), at("zeros"), at("gates"), fade],
            [at("last_h"), at("last_c"), node.output[0]],
            num_scan_inputs=2, body=_body(at, short=short),
        )
    )  # fmt: skip
    return nodes


def _body(at: Callable[[str], str], *, short: bool) -> onnx.GraphProto:
    """One step: (h, c, gates, fade) -> (h, c, h)."""
    c = "c"
    nodes = [
        helper.make_node("MatMul", ["h", at("u")], ["recurrent"]),
        helper.make_node("Add", ["gates", "recurrent"], ["before"]),
        helper.make_node("Split", ["before"], ["i0", "f0", "o0", "g0"], axis=-1, num_outputs=4),
        *(helper.make_node("Sigmoid", [f"{gate}0"], [gate]) for gate in "ifo"),
        helper.make_node("Tanh", ["g0"], ["g"]),
    ]
    if short:
        nodes += [
            helper.make_node("MatMul", ["c", at("v")], ["short0"]),
            helper.make_node("Tanh", ["short0"], ["short"]),
            helper.make_node("Mul", ["short", "fade"], ["lost"]),
            helper.make_node("Sub", ["c", "lost"], ["kept"]),
        ]
        c = "kept"
    nodes += [
        helper.make_node("Mul", ["f", c], ["fc"]),
        helper.make_node("Mul", ["i", "g"], ["ig"]),
        helper.make_node("Add", ["fc", "ig"], ["c_next"]),
        helper.make_node("Tanh", ["c_next"], ["tanh_c"]),
        helper.make_node("Mul", ["o", "tanh_c"], ["h_next" if short else "h_whole"]),
    ]
    if not short:
        nodes.append(helper.make_node("Mul", ["h_whole", "fade"], ["h_next"]))
    nodes.append(helper.make_node("Identity", ["h_next"], ["h_out"]))
    return helper.make_graph(
        nodes, "step", _values("h", "c", "gates", "fade"), _values("h_next", "c_next", "h_out")
    )


def _values(*names: str) -> Sequence[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in names]
