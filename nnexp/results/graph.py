"""The graph of a network as TensorBoard draws it: a box a layer, nested as the modules are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from torch import Tensor, fx, nn


def layer_graph(network: nn.Module, example: Tensor) -> GraphDef:
    """The layers of ``network`` and the shapes [B, ...] between them when it is given ``example``.

    Traced by torch.fx, in milliseconds; torch.jit.trace, which torch.utils.tensorboard uses, takes
    most of a second, is deprecated and spreads each layer over a dozen boxes. The network is left
    in the mode it was in, and no random numbers are drawn.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        recorder = _GraphRecorder(network, _LayerTracer().trace(network))
        with torch.no_grad():
            recorder.run(example)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return GraphDef(node=recorder.nodes)


class _LayerTracer(fx.Tracer):
    """Follows the data between the modules that have no modules inside, not into them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        empty = next(m.children(), None) is None
        return empty and not isinstance(m, nn.Sequential)  # one without layers does nothing


class _GraphRecorder(fx.Interpreter):
    """Runs the traced network and notes each step as a node, with the shape that came out."""

    def __init__(self, network: nn.Module, steps: fx.Graph) -> None:
        super().__init__(network, graph=steps)
        self.nodes: list[NodeDef] = []
        self._names: dict[fx.Node, str] = {}
        self._uses: Counter[str] = Counter()

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        name, kind, details = self._describe(n)
        self._uses[name] += 1
        if self._uses[name] > 1:  # a layer that the data passes again
            name += f"_{self._uses[name] - 1}"
        self._names[n] = name
        attributes = {"layer": AttrValue(s=details.encode())} if details else {}
        if isinstance(result, Tensor):
            dims = [TensorShapeProto.Dim(size=size) for size in result.shape]
            shapes = AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)])
            attributes["_output_shapes"] = AttrValue(list=shapes)
        inputs = [self._names[source] for source in n.all_input_nodes]
        self.nodes.append(NodeDef(name=name, op=kind, input=inputs, attr=attributes))
        return result

    def _describe(self, node: fx.Node) -> tuple[str, str, str]:
        """A node's name, whose slashes nest it, its kind, and a layer's settings."""
        if node.op == "call_module":
            layer = self.module.get_submodule(str(node.target))
            return self._nested(str(node.target)), type(layer).__name__, layer.extra_repr()
        if node.op == "placeholder":
            return "x", "Input", ""
        if node.op == "output":
            return "y", "Output", ""
        kind = str(getattr(node.target, "__name__", node.target))
        inside = next(reversed(node.meta.get("nn_module_stack", {"": None})))
        return f"{self._nested(inside)}/{kind}".lstrip("/"), kind, ""

    def _nested(self, path: str) -> str:
        """``hidden.0.linear`` as ``hidden/Layer[0]/linear``: a bare number says little on a box."""
        parts = path.split(".") if path else []
        for depth, part in enumerate(parts):
            if part.isdigit():
                inner = self.module.get_submodule(".".join(path.split(".")[: depth + 1]))
                parts[depth] = f"{type(inner).__name__}[{part}]"
        return "/".join(parts)
