"""ONNX files of small networks, as exporters leave them, and as nobody should."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

PX = 16


def exported(path: Path, net: nn.Module, px: int = 32, batch: int | None = None) -> Path:
    """Write a network as PyTorch exports it, trained as far as its seed goes."""
    images = torch.zeros(batch or 1, 3, px, px)
    axes = {} if batch else {"images": {0: "batch"}, "logits": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter
        torch.onnx.export(
            net.eval(),
            (images,),
            str(path),
            dynamo=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes=axes,
        )
    return path


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(values.astype(np.float32), name)


def made(path: Path, change: Callable[[onnx.ModelProto], Any] = lambda _: None) -> Path:
    """Write a file by hand: two convolutions and a head, and a table that is computed from weights.

    The table is needed in both halves, so that it would cross each cut, were it not made again.
    """
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "first"], ["a"], "/stem/conv/Conv", pads=[1, 1, 1, 1]),
        node("Relu", ["table"], ["positive"], "table's"),
        node("Mul", ["positive", "half"], ["scaled"], "table's, smaller"),
        node("Add", ["a", "scaled"], ["b"], "/stem/Add"),
        node("Relu", ["b"], ["c"], "/stem/act/Relu"),
        node("Conv", ["c", "second"], ["d"], "/body/conv/Conv", pads=[1, 1, 1, 1]),
        node("Add", ["d", "scaled"], ["e"], "/body/Add"),
        node("GlobalAveragePool", ["e"], ["f"], "/pool/GlobalAveragePool"),
        node("Flatten", ["f"], ["g"], "/Flatten"),
        node("Gemm", ["g", "head"], ["logits"], "/head/Gemm", transB=1),
    ]
    weights = [
        weight("first", 8, 3, 3, 3),
        weight("second", 8, 8, 3, 3),
        weight("head", 10, 8),
        weight("table", 1, 8, PX, PX),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [value("images", ["batch", 3, PX, PX])],
        [value("logits", ["batch", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def value(
    name: str, sizes: Sequence[int | str] | None, kind: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, sizes)
