"""ONNX graph builder; weights stay in external files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

# Readable since onnxruntime 1.16.
OPSET, IR_VERSION = 18, 9
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class StoredTensor:
    """Place of a tensor's bytes, in ONNX's words; `location` is a file of the store."""

    location: str
    offset: int
    length: int


@dataclass(frozen=True)
class Value:
    """An intermediate tensor: its name in the graph, a meta tensor for its shape."""

    name: str
    meta: torch.Tensor


@dataclass
class Graph:
    state: dict[str, torch.Tensor]
    stored: Mapping[str, StoredTensor]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, TensorProto] = field(default_factory=dict)

    def add(self, kind: str, inputs: list[str], meta: torch.Tensor, **attributes: Any) -> Value:
        """Append a node and return its output."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return Value(name, meta)

    def weight(self, name: str) -> str:
        """Refer to a stored tensor, by its name in the stage."""
        if name not in self.initializers:
            proto = TensorProto(
                name=name,
                data_type=TensorProto.FLOAT,
                dims=self.state[name].shape,
                data_location=TensorProto.EXTERNAL,
            )
            for key, value in vars(self.stored[name]).items():
                proto.external_data.add(key=key, value=str(value))
            self.initializers[name] = proto
        return name

    def constant(self, array: np.ndarray) -> str:
        """Embed a small constant."""
        name = f"c{len(self.initializers)}"
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def finish(self, given: Value, result: Value) -> bytes:
        """Serialise the model with this input and output."""
        self.nodes.append(helper.make_node("Identity", [result.name], [OUTPUT]))
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.meta.shape))
            for name, value in ((INPUT, given), (OUTPUT, result))
        ]
        graph = helper.make_graph(
            self.nodes, "stage", ends[:1], ends[1:], list(self.initializers.values())
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        return bytes(model.SerializeToString())
