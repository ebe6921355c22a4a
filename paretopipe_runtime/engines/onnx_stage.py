"""Stages of an ONNX file: its blocks in a row as one graph, with their weights where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, TensorProto

from paretopipe_runtime.models.onnx_blocks import GRAPH, WEIGHT
from paretopipe_runtime.weights import Place, places


def build(files: Sequence[Path], shape: tuple[int, ...]) -> bytes:
    """Return the model of blocks for one input shape, with references to their files."""
    whole, made = ModelProto(), set[str]()
    for number, path in enumerate(files):
        stored = places(path)
        block = _graph(path, stored[GRAPH])
        if number == 0:
            whole.CopyFrom(block)
            del whole.graph.node[:], whole.graph.initializer[:]
        for node in block.graph.node:
            # What depends on no image is made again in every block that needs it.
            if not made & set(node.output):
                made |= set(node.output) - {""}
                whole.graph.node.append(node)
        for weight in block.graph.initializer:
            if weight.name in made:
                continue
            made.add(weight.name)
            if weight.data_location == TensorProto.EXTERNAL:
                where = stored[WEIGHT + weight.name]
                fields = {"location": path.name, "offset": where.offset, "length": where.nbytes}
                for key, value in fields.items():
                    weight.external_data.add(key=key, value=str(value))
            whole.graph.initializer.append(weight)
        whole.graph.output[0].CopyFrom(block.graph.output[0])
    for size in shape:
        whole.graph.input[0].type.tensor_type.shape.dim.add(dim_value=size)
    return bytes(whole.SerializeToString())


def _graph(path: Path, where: Place) -> ModelProto:
    with path.open("rb") as file:
        file.seek(where.offset)
        graph: ModelProto = ModelProto.FromString(file.read(where.nbytes))
        return graph
