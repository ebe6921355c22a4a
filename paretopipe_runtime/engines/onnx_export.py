"""Export a stage as an ONNX graph.

Unlike ``torch.onnx.export``, this takes a fraction of a second instead of many on a Pi, gives the
same graph with every torch, and supports pooling to sizes that do not divide.

A translation of one of the six models' layers or functions adds a node and infers the output's
shape on meta tensors. Functions have the signatures of torch's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from paretopipe_runtime.engines.onnx_graph import INPUT, Graph, StoredTensor, Value
from paretopipe_runtime.errors import ParetoPipeError


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
            raise _unknown(type(layer).__name__)
        return translate(self._graph, str(target), layer, *args)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        translate = FUNCTIONS.get(target)
        if translate is None:
            raise _unknown(getattr(target, "__name__", str(target)))
        return translate(self._graph, *args, **kwargs)

    def call_method(self, target: Any, *_: Any) -> Any:
        """Refuse: no block calls tensor methods."""
        raise _unknown(str(target))


def _unknown(operation: str) -> ParetoPipeError:
    """Return the error for an operation without a translation."""
    return ParetoPipeError(
        "E_ENGINE",
        f"the onnxruntime engine has no translation for {operation} — add one to "
        "paretopipe_runtime/engines/onnx_export.py, or choose -e engine=eager",
    )


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _conv(graph: Graph, name: str, layer: nn.Conv2d, x: Value) -> Value:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise _unknown(f"{layer.padding_mode} padding of {layer.padding}")
    names = ["weight"] if layer.bias is None else ["weight", "bias"]
    return graph.add(
        "Conv",
        [x.name, *(graph.weight(f"{name}.{own}") for own in names)],
        layer(x.meta),
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[*layer.padding, *layer.padding],
        dilations=list(layer.dilation),
        group=layer.groups,
    )


def _batch_norm(graph: Graph, name: str, layer: nn.BatchNorm2d, x: Value) -> Value:
    names = ("weight", "bias", "running_mean", "running_var")
    inputs = [x.name, *(graph.weight(f"{name}.{own}") for own in names)]
    return graph.add("BatchNormalization", inputs, layer(x.meta), epsilon=layer.eps)


def _linear(graph: Graph, name: str, layer: nn.Linear, x: Value) -> Value:
    flat = _flatten(graph, x, 1)  # for FlattenLinear
    inputs = [flat.name, *(graph.weight(f"{name}.{own}") for own in ("weight", "bias"))]
    return graph.add("Gemm", inputs, layer(flat.meta), transB=1)


def _flatten(graph: Graph, x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    if (start_dim, end_dim) != (1, -1):
        raise _unknown(f"flatten from {start_dim} to {end_dim}")
    return graph.add("Flatten", [x.name], torch.flatten(x.meta, 1), axis=1)


def _relu(graph: Graph, x: Value, **_: bool) -> Value:
    return graph.add("Relu", [x.name], x.meta)


def _relu6(graph: Graph, x: Value) -> Value:
    bounds = [graph.constant(np.array(bound, np.float32)) for bound in (0, 6)]
    return graph.add("Clip", [x.name, *bounds], x.meta)


def _add(graph: Graph, x: Value, y: Value) -> Value:
    return graph.add("Add", [x.name, y.name], x.meta + y.meta)


def _cat(graph: Graph, tensors: list[Value], dim: int = 0) -> Value:
    meta = torch.cat([tensor.meta for tensor in tensors], dim)
    return graph.add("Concat", [tensor.name for tensor in tensors], meta, axis=dim)


def _max_pool(
    graph: Graph,
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:
    if return_indices:
        raise _unknown("the indices of max_pool2d")
    return graph.add(
        "MaxPool",
        [x.name],
        functional.max_pool2d(x.meta, kernel_size, stride, padding, dilation, ceil_mode),
        kernel_shape=_pair(kernel_size),
        strides=_pair(stride or kernel_size),
        pads=2 * _pair(padding),
        dilations=_pair(dilation),
        ceil_mode=int(ceil_mode),
    )


def _avg_pool(
    graph: Graph, x: Value, kernel_size: Any, stride: Any = None, padding: Any = 0
) -> Value:
    return graph.add(
        "AveragePool",
        [x.name],
        functional.avg_pool2d(x.meta, kernel_size, stride, padding),
        kernel_shape=_pair(kernel_size),
        strides=_pair(stride or kernel_size),
        pads=2 * _pair(padding),
        count_include_pad=1,
    )


def _adaptive_avg_pool(graph: Graph, x: Value, size: Any) -> Value:
    have, want = (x.meta.shape[-2], x.meta.shape[-1]), (_pair(size)[0], _pair(size)[1])
    if have == want:
        return x
    if want == (1, 1):
        return graph.add("GlobalAveragePool", [x.name], functional.adaptive_avg_pool2d(x.meta, 1))
    if have[0] % want[0] == have[1] % want[1] == 0:
        return _avg_pool(graph, x, (have[0] // want[0], have[1] // want[1]))
    # Average unequal windows by two small matrix products, over columns and rows.
    rows, columns = (_windows(h, w) for h, w in zip(have, want, strict=True))
    meta = functional.adaptive_avg_pool2d(x.meta, want)
    down = graph.add("MatMul", [graph.constant(rows), x.name], meta)
    return graph.add("MatMul", [down.name, graph.constant(columns.T.copy())], meta)


def _windows(have: int, want: int) -> np.ndarray:
    """Matrix (want, have) that averages torch's adaptive windows."""
    matrix = np.zeros((want, have), np.float32)
    for index in range(want):
        first, end = index * have // want, -(-(index + 1) * have // want)
        matrix[index, first:end] = 1 / (end - first)
    return matrix


#: By class name; called with graph, name, layer and input.
LAYERS: dict[str, Callable[..., Value]] = {
    "Conv2d": _conv,
    "BatchNorm2d": _batch_norm,
    "Linear": _linear,
    "FlattenLinear": _linear,
    "ReLU": lambda graph, _name, _layer, x: _relu(graph, x),
    "ReLU6": lambda graph, _name, _layer, x: _relu6(graph, x),
    "Dropout": lambda _graph, _name, _layer, x: x,
    "Flatten": lambda graph, _name, layer, x: _flatten(graph, x, layer.start_dim, layer.end_dim),
    "MaxPool2d": lambda graph, _name, layer, x: _max_pool(
        graph, x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode
    ),
    "AdaptiveAvgPool2d": lambda graph, _name, layer, x: _adaptive_avg_pool(
        graph, x, layer.output_size
    ),
}
#: Functions that blocks call between their layers.
FUNCTIONS: dict[Any, Callable[..., Value]] = {
    operator.add: _add,
    operator.iadd: _add,
    torch.cat: _cat,
    torch.flatten: _flatten,
    functional.relu: _relu,
    functional.max_pool2d: _max_pool,
    functional.avg_pool2d: _avg_pool,
}
