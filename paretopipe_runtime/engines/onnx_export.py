"""A stage as an ONNX graph.

Written from the modules rather than by ``torch.onnx.export``: these models need a dozen operators,
a graph takes a fraction of a second instead of many (a Pi makes one for every split), every version
of torch gives the same, and pooling to a size that does not divide is no exception.
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
    """Return the model for an input of exactly `shape`, weights referred to and not contained.

    Parameters
    ----------
    modules : nn.Sequential
        The blocks, on the meta device.
    shape : tuple of int
        The float32 input's.
    stored : mapping
        For each parameter's and buffer's name in `modules`, where its values are.

    Raises
    ------
    ParetoPipeError
        ``E_ENGINE`` for a layer that has no translation here.
    """
    graph = Graph(dict(modules.state_dict()), stored)
    with torch.inference_mode():
        given = Value(INPUT, torch.empty(shape, device="meta"))
        result: Value = _Translation(modules, _Tracer().trace(modules), graph).run(given)
    return graph.finish(given, result)


class _Tracer(fx.Tracer):
    """Follows the blocks' own code; a layer with weights is one step, ours included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether to stop at this module."""
        return isinstance(m, nn.Linear) or super().is_leaf_module(m, module_qualified_name)


class _Translation(fx.Interpreter):
    """Runs the traced stage on shapes alone and writes each step down as an ONNX node."""

    def __init__(self, modules: nn.Module, traced: fx.Graph, graph: Graph) -> None:
        super().__init__(modules, graph=traced)
        self._graph = graph

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Translate a layer."""
        layer = self.fetch_attr(target)
        translate = LAYERS.get(type(layer).__name__)
        if translate is None or kwargs:
            raise unknown(type(layer).__name__)
        return translate(self._graph, str(target), layer, *args)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Translate a function that a block calls."""
        translate = FUNCTIONS.get(target)
        if translate is None:
            raise unknown(getattr(target, "__name__", str(target)))
        return translate(self._graph, *args, **kwargs)

    def call_method(self, target: Any, *_: Any) -> Any:
        """Refuse: no block calls a tensor's methods."""
        raise unknown(str(target))
