"""Blocks of an ONNX graph: cut wherever a single tensor is all that goes on.

As `models.found` cuts a traced model: a tensor depends on the images or not, and what does not is
made again behind a cut. Sizes of tensors that do (``Shape``) become constants of the batch asked
for, so that a number of images crosses no cut.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models.merging import ends, enough, unused
from paretopipe_runtime.models.onnx_file import OnnxFile, prune, reads

#: Computes tensors of a model by their names, from its one input, without changing the graph.
Run = Callable[[ModelProto, NDArray[np.generic], Sequence[str]], list[NDArray[np.generic]]]
#: Of images, where a file takes any; and of their number while cuts are looked for.
IMAGE_PX, _BATCH = 224, 2
_SIZES = {"Shape", "Size"}
#: They hand on what they take, at most in another shape.
_IDLE = {"Identity", "Dropout", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"}
_LONGEST = 100  # characters of a block's name
_SCOPES = "pkg.torch.onnx.name_scopes"  # where PyTorch's newer exporter notes a node's modules
_SCOPES_LIKE = re.compile(r"\['[\w.]*'(, '[\w.]*')+\]")


@dataclass(frozen=True)
class OnnxCut:
    """A position among the nodes that depend on the images, and the one tensor live there."""

    position: int
    tensor: str
    ends: int


@dataclass(frozen=True)
class OnnxCuts:
    """Places where a file is cut, and the number of all its cuts.

    `graph` is the sha256 of the file and its cuts.
    """

    chosen: tuple[OnnxCut, ...]
    cuts: int
    graph: str


def find(file: OnnxFile, run: Run, *, every: bool = False) -> OnnxCuts:
    """Find where a file can be cut, `every`where or where modules end.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` if nowhere.
    """
    batch, px = file.batch or _BATCH, file.image_px or IMAGE_PX
    model = sized(file, batch, px, run)
    order = _dependent(model)
    candidates = _candidates(file, order)
    images = np.zeros((batch, 3, px, px), np.float32)
    values = run(model, images, [cut.tensor for cut in candidates]) if candidates else []
    cuts = [
        cut
        for cut, value in zip(candidates, values, strict=True)
        if value.dtype == np.float32 and value.ndim and value.shape[0] == batch
    ]
    chosen = tuple(cuts if every else enough(cuts))
    if not chosen:
        raise ParetoPipeError(
            "E_MODEL",
            f"{file.path.name} has no place where a single float32 tensor is all that goes on, so "
            "it cannot be cut in two",
        )
    names = "\n".join(cut.tensor for cut in chosen)
    digest = hashlib.sha256(f"{file.sha256}\n{names}".encode()).hexdigest()
    return OnnxCuts(chosen, len(cuts), digest)


def sized(file: OnnxFile, batch: int, image_px: int, run: Run) -> ModelProto:
    """Return the model for so many images of this size.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` if it takes others only.
    """
    name = file.path.name
    if file.batch not in (None, batch):
        raise ParetoPipeError(
            "E_MODEL",
            f"{name} takes batches of {file.batch} only, and {batch} are asked for — choose "
            f"-e batch={file.batch}, or export it for any, with dynamic_axes={{'images': "
            "{0: 'batch'}} or dynamic_shapes",
        )
    if file.image_px not in (None, image_px):
        raise ParetoPipeError(
            "E_MODEL",
            f"{name} takes images of {file.image_px} px only, and {image_px} are asked for — "
            f"choose -e image={file.image_px}, or leave image out",
        )
    model = ModelProto()
    model.CopyFrom(file.model)
    for size, asked_for in zip(
        model.graph.input[0].type.tensor_type.shape.dim, (batch, 3, image_px, image_px), strict=True
    ):
        size.dim_value = asked_for
    asked = [node for node in _dependent(model) if node.op_type in _SIZES]
    tensors = [node.output[0] for node in asked]
    images = np.zeros((batch, 3, image_px, image_px), np.float32)
    values = run(model, images, tensors) if tensors else []
    for node, value in zip(asked, values, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        node.output[0] = ""
    prune(model.graph)
    return model


def blocks_of(file: OnnxFile, model: ModelProto, cuts: Sequence[OnnxCut]) -> dict[str, ModelProto]:
    """Return a model for the nodes between two cuts each, with weights, by the blocks' names.

    Parameters
    ----------
    model : ModelProto
        As `sized` returns it, for any batch.
    cuts : sequence of OnnxCut
        As `find` returns them, in order.
    """
    order = _dependent(model)
    depth = max(cut.ends for cut in cuts)
    made_by = {name: node for node in model.graph.node for name in node.output}
    weights = {one.name: one for one in model.graph.initializer}
    places = {id(node): place for place, node in enumerate(model.graph.node)}
    edges = [0, *(cut.position + 1 for cut in cuts), len(order)]
    tensors = [file.given, *(cut.tensor for cut in cuts), file.logits]
    blocks: dict[str, ModelProto] = {}
    for number, (first, end) in enumerate(itertools.pairwise(edges)):
        nodes = {id(node): node for node in order[first:end]}
        needed, todo = set[str](), [*nodes.values()]
        while todo:
            for name in reads(todo.pop()) - needed - {tensors[number]}:
                needed.add(name)
                node = made_by.get(name)
                if node is not None and id(node) not in nodes:
                    nodes[id(node)] = node
                    todo.append(node)
        part = helper.make_graph(
            sorted(nodes.values(), key=lambda node: places[id(node)]),
            "block",
            [helper.make_tensor_value_info(tensors[number], TensorProto.FLOAT, None)],
            [helper.make_tensor_value_info(tensors[number + 1], TensorProto.FLOAT, None)],
            [one for name, one in weights.items() if name in needed],
        )
        name = ".".join(path_of(order[end - 1]).split(".")[: depth or None])
        blocks[unused(_plain(name or _own(order[end - 1])), blocks)] = helper.make_model(
            part, opset_imports=model.opset_import, ir_version=model.ir_version
        )
    return blocks


def path_of(node: NodeProto) -> str:
    """Return the module that a node is in, as far as its exporter left it, by its name.

    >>> path_of(helper.make_node("Conv", [], [], name="/features/features.4/features.4.0/Conv"))
    'features.4.0'
    >>> path_of(helper.make_node("Relu", [], [], name="/encoder/layers/layers.0/relu/Relu"))
    'encoder.layers.0.relu'
    """
    noted = next((one.value for one in node.metadata_props if one.key == _SCOPES), "")
    if _SCOPES_LIKE.fullmatch(noted):  # the last is the node itself
        return str(ast.literal_eval(noted)[-2])
    kept: list[str] = []
    for part in node.name.strip("/").split("/")[:-1]:
        if kept and part.startswith(f"{kept[-1]}."):
            kept.pop()
        kept.append(part)
    return ".".join(kept)


def _candidates(file: OnnxFile, order: Sequence[NodeProto]) -> list[OnnxCut]:
    """Return where one tensor is live, but the images and the logits, each at its first place.

    One behind a node that computes nothing is the same as that before it, and ends its modules.
    """
    found: list[OnnxCut] = []
    last = {name: at for at, node in enumerate(order) for name in reads(node)}
    last[file.logits] = len(order)
    live = {file.given}
    for at, node in enumerate(order[:-1]):
        before = live
        live = {name for name in (*live, *node.output) if last.get(name, -1) > at}
        if len(live) != 1 or live == before or live & {file.given, file.logits}:
            continue
        (only,), depth = live, ends(path_of(node), path_of(order[at + 1]))
        if len(before) > 1 or node.op_type not in _IDLE:
            found.append(OnnxCut(at, only, depth))
        elif depth and found:
            found[-1] = replace(found[-1], ends=min(depth, found[-1].ends or depth))
    return found


def _dependent(model: ModelProto) -> list[NodeProto]:
    """Return the nodes that depend on the images, in order."""
    names = {one.name for one in model.graph.input}
    found = []
    for node in model.graph.node:
        if reads(node) & names:
            names |= set(node.output) - {""}
            found.append(node)
    return found


def _own(node: NodeProto) -> str:
    return str(node.name or node.output[0])


def _plain(name: str) -> str:
    """Return a name that a file may have chosen as one that is easy to read."""
    return re.sub(r"[^\w.:/-]+", "_", name).strip("/_")[:_LONGEST] or "block"
