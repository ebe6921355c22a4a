"""A user's ONNX file as a plain graph: images in, logits out, and nothing that leads elsewhere.

Only the onnx package parses it. Nothing in it can name a library, and of other files only the one
with its weights, which lies beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, external_data_helper, inliner

from paretopipe_runtime.contract.onnx_files import MOST_BYTES, digest_of, files_of, name_of
from paretopipe_runtime.errors import ParetoPipeError

_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_ONE_FILE = (
    "save it as one: python -c \"import onnx; onnx.save(onnx.load('net.onnx'), 'one.onnx')\""
)


@dataclass(frozen=True)
class OnnxFile:
    """A file's model: constants are initializers, and every node leads to the logits.

    `sha256` is over its content and its weights'. `batch` and `image_px` are what it takes, None
    for any; `classes` is what it says that it gives, None if it does not.
    """

    path: Path
    name: str
    sha256: str
    model: ModelProto
    batch: int | None
    image_px: int | None
    classes: int | None

    @property
    def given(self) -> str:
        """The name of the tensor with the images."""
        return str(self.model.graph.input[0].name)

    @property
    def logits(self) -> str:
        return str(self.model.graph.output[0].name)


def read(path: Path) -> OnnxFile:
    """Read and check a file.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` for what is no ONNX model, or none of float32 images to logits.
    """
    name = name_of(path)
    model = _parsed(path)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    given = [one for one in graph.input if one.name not in weights]
    if len(given) != 1 or len(graph.output) != 1:
        _refuse(
            path,
            f"takes {_names(given)} and gives {_names(graph.output)}, expected one tensor each: "
            "images, and logits — export a classifier in evaluation mode",
        )
    batch, image_px = _takes(path, given[0].type.tensor_type)
    classes = _gives(path, graph.output[0].type.tensor_type)
    del graph.input[:]
    graph.input.append(given[0])
    _constants(graph)
    prune(graph)
    return OnnxFile(path, name, digest_of(path), model, batch, image_px, classes)


def reads(node: NodeProto) -> set[str]:
    """Return the names of all tensors that a node needs, in its branches and loops, too."""
    names = set(node.input) - {""}
    for graph in _inside(node):
        made = {one.name for one in (*graph.input, *graph.initializer)}
        for inner in graph.node:
            names |= reads(inner) - made
            made |= set(inner.output)
        names |= {one.name for one in graph.output} - made
    return names


def prune(graph: GraphProto) -> None:
    """Remove what does not lead to the graph's outputs."""
    needed = {one.name for one in graph.output}
    for at in reversed(range(len(graph.node))):
        if needed & set(graph.node[at].output):
            needed |= reads(graph.node[at])
        else:
            del graph.node[at]
    for at in reversed(range(len(graph.initializer))):
        if graph.initializer[at].name not in needed:
            del graph.initializer[at]
    del graph.value_info[:]  # of sizes that may not be those asked for


def _parsed(path: Path) -> ModelProto:
    size = sum(part.stat().st_size for part in files_of(path))
    if size > MOST_BYTES:
        _refuse(path, f"has {size / 1e9:.1f} GB with its weights, expected {MOST_BYTES / 1e9:.1f}")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own, of either implementation
        _refuse(path, f"is no ONNX model ({type(error).__name__}) — export it again")
    if model.graph.sparse_initializer:
        _refuse(path, "has sparse weights — export it with dense ones")
    for tensor in _tensors(model.graph, *(one.node for one in model.functions)):
        if tensor.data_location == TensorProto.EXTERNAL:
            _confine(path, tensor)
    try:
        onnx.checker.check_model(str(path))
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        return inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # ValidationError, and others for what lies beside it
        _refuse(path, f"is no valid ONNX model: {_line(error)} — export it again")


def _confine(path: Path, tensor: TensorProto) -> None:
    """Refuse a weight that lies anywhere but in the file beside."""
    where = next((str(one.value) for one in tensor.external_data if one.key == "location"), "")
    beside = path.with_name(f"{path.name}.data")
    if where != beside.name:
        _refuse(path, f"has weights in {where!r:.80}, expected {beside.name!r} — {_ONE_FILE}")
    if not beside.is_file() or beside.is_symlink():
        _refuse(path, f"has its weights in {beside.name}, which is not beside it — bring both")


def _takes(path: Path, images: Any) -> tuple[int | None, int | None]:
    """Return the batch and the side of images that a file wants, None for any."""
    _float32(path, "takes", images)
    sizes = _sizes(images)
    # A name or nothing in place of a number means any.
    if len(sizes) != 4 or sizes[1] not in (3, None) or sizes[2] != sizes[3]:
        said = ", ".join("any" if size is None else str(size) for size in sizes)
        _refuse(
            path,
            f"takes ({said}), expected (images, 3, px, px): colour images as squares, channels "
            "first — export it for these",
        )
    return sizes[0], sizes[2]


def _gives(path: Path, logits: Any) -> int | None:
    _float32(path, "gives", logits)
    sizes = _sizes(logits)
    if logits.HasField("shape") and len(sizes) != 2:
        _refuse(
            path,
            f"gives a tensor of {len(sizes)} dimensions, expected (images, classes): logits — only "
            "classifiers can be measured",
        )
    return sizes[1] if sizes else None


def _float32(path: Path, verb: str, tensor: Any) -> None:
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        _refuse(path, f"{verb} {kind}, expected float32 — export it with float32 at both ends")


def _sizes(tensor: Any) -> list[int | None]:
    return [one.dim_value if one.dim_value > 0 else None for one in tensor.shape.dim]


def _constants(graph: GraphProto) -> None:
    """Make initializers of constants, which may be weights."""
    for node in graph.node:
        value = next((one for one in node.attribute if one.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            value.t.name = node.output[0]
            graph.initializer.append(value.t)
            node.output[0] = ""  # nothing needs it now


def _inside(node: NodeProto) -> Iterator[GraphProto]:
    for one in node.attribute:
        if one.type in _GRAPHS:
            yield from [one.g] if one.type == onnx.AttributeProto.GRAPH else one.graphs


def _tensors(graph: GraphProto, *more: Any) -> Iterator[TensorProto]:
    """Yield every tensor there is, in branches and loops, too."""
    yield from graph.initializer
    for nodes in (graph.node, *more):
        for node in nodes:
            for one in node.attribute:
                yield from (one.t, *one.tensors)
            for inner in _inside(node):
                yield from _tensors(inner)


def _names(ends: Any) -> str:
    names = [repr(one.name)[:40] for one in ends]
    return f"{len(names)} tensors ({', '.join(names[:4])})" if len(names) != 1 else names[0]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _refuse(path: Path, why: str) -> NoReturn:
    raise ParetoPipeError("E_MODEL", f"{path.name} {why}")
