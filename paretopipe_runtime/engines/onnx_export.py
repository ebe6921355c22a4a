"""Export a stage as an ONNX graph.

Unlike ``torch.onnx.export``, this takes a fraction of a second instead of many on a Pi, gives the
same graph with every torch, and supports pooling to sizes that do not divide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from paretopipe_runtime.engines.onnx_graph import INPUT, Graph, StoredTensor, Value, unknown
from paretopipe_runtime.engines.onnx_layers import FUNCTIONS, LAYERS


def build(
    modules: nn.Sequential, shape: tuple[int, ...], stored: Mapping[str, StoredTensor]
) -> bytes:
    """Return the model for one input shape, with references to the weights.

    Parameters
    ----------
    modules : nn.Sequential
        The blocks, on the meta device.
    shape : tuple of int
        The float32 input's.
    stored : mapping
        All parameters and buffers of `modules`, by name.

    Raises
    ------
    ParetoPipeError
        ``E_ENGINE`` for an untranslatable layer.
    """
    graph = Graph(dict(modules.state_dict()), stored)
    with torch.inference_mode():
        given = Value(INPUT, torch.empty(shape, device="meta"))
        result: Value = _Translation(modules, _Tracer().trace(modules), graph).run(given)
    return graph.finish(given, result)


class _Tracer(fx.Tracer):
    """Trace layers with weights as one step, subclasses of Linear too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Linear) or super().is_leaf_module(m, module_qualified_name)


class _Translation(fx.Interpreter):
    """Run the traced stage on meta tensors and emit an ONNX node per step."""

    def __init__(self, modules: nn.Module, traced: fx.Graph, graph: Graph) -> None:
        super().__init__(modules, graph=traced)
        self._graph = graph

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self.fetch_attr(target)
        translate = LAYERS.get(type(layer).__name__)
        if translate is None or kwargs:
            raise unknown(type(layer).__name__)
        return translate(self._graph, str(target), layer, *args)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        translate = FUNCTIONS.get(target)
        if translate is None:
            raise unknown(getattr(target, "__name__", str(target)))
        return translate(self._graph, *args, **kwargs)

    def call_method(self, target: Any, *_: Any) -> Any:
        """Refuse: no block calls tensor methods."""
        raise unknown(str(target))
