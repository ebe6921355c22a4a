"""Blocks of an ONNX file as tensors to store: a graph beside its weights."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

#: Beside weights, whose names begin otherwise.
GRAPH, WEIGHT = "graph", "weight/"
#: What safetensors can hold, too, and is worth mapping.
_KINDS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8}
_LEAST_BYTES = 1024
#: Of other types that weights may have.
_OTHERS = {TensorProto.BFLOAT16, TensorProto.DOUBLE}


def packed(block: ModelProto) -> tuple[dict[str, NDArray[np.generic]], int]:
    """Return a block's graph and weights as tensors by name, and the number of parameters."""
    graph, tensors = ModelProto(), dict[str, NDArray[np.generic]]()
    graph.CopyFrom(block)
    for node in graph.graph.node:
        node.ClearField("metadata_props")  # an exporter's notes, of whose files it came from
    for weight in graph.graph.initializer:
        value = numpy_helper.to_array(weight) if weight.data_type in _KINDS else None
        if value is not None and value.nbytes >= _LEAST_BYTES:
            tensors[WEIGHT + weight.name] = np.ascontiguousarray(value)
            bare = {"name": weight.name, "data_type": weight.data_type, "dims": [*weight.dims]}
            weight.CopyFrom(TensorProto(**bare, data_location=TensorProto.EXTERNAL))
    tensors[GRAPH] = np.frombuffer(graph.SerializeToString(), np.uint8)
    return tensors, parameters(block)


def parameters(block: ModelProto) -> int:
    """Return how many numbers of a block are weights; sizes and indices are none."""
    kinds = _KINDS | _OTHERS
    weights = (one for one in block.graph.initializer if one.data_type in kinds)
    return sum(math.prod(one.dims) for one in weights)
