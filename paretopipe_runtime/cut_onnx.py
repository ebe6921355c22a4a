"""A user's ONNX file as a model: what planning and a workload need of it, proved by the file.

The whole file and its blocks are compared node by node, without optimisation, so that equal cuts
give equal bits. Stages are optimised by themselves, which changes rounding: what that amounts to is
measured, too, and held to the engine's tolerance.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from paretopipe_runtime import golden, weights
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import ONNX, ONNX_ENGINE
from paretopipe_runtime.contract.onnx_files import file_of
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.cut import SCHEMA_VERSION, TOLERANCE, channels
from paretopipe_runtime.engines import onnxruntime as engine
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.frames import Tensor

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from paretopipe_runtime.contract.plan import Workload
    from paretopipe_runtime.models.onnx_file import OnnxFile

Array = NDArray[Any]
Shape = tuple[int, ...]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Made:
    """Blocks of a file, as a workload needs them.

    `boundaries` are the tensors from the images to the logits, `flops` every block's operations a
    batch, `logits` the whole file's for each batch.
    """

    manifest: WeightsManifest
    boundaries: list[Tensor]
    flops: list[int]
    logits: Array


@dataclass(frozen=True)
class _Walked:
    """A batch's way through the blocks: the tensors' shapes, operations, and what came out."""

    shapes: list[Shape]
    flops: list[int]
    logits: Array


def listing(path: Path, classes: int = 0) -> dict[str, Any]:
    """Find a file's blocks, prove them with its weights, and describe them for one image.

    Parameters
    ----------
    classes : int
        That it must have; 0 for as many as it has.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` for a file that cannot be cut, or not be proved; ``E_ENGINE`` without onnx.
    """
    cuts, onnx_file = _modules()
    file = onnx_file.read(path)
    found = _tried(file, lambda: cuts.find(file, _run))
    batch, px = file.batch or 1, file.image_px or cuts.IMAGE_PX
    images = golden.input_batches(batch, px, 1, seed=0)[0]
    blocks = _blocks(file, found.chosen, batch, px)
    walked = _tried(file, lambda: _walk(blocks, images))
    _check_logits(file, walked.logits, images, classes)
    larger = _larger(file, found.chosen, batch, px) or walked.shapes
    whole = _whole(file, [images])[0]
    error = _proved(file, walked.logits, whole)
    optimised = _tried(file, lambda: _walk(blocks, images, plain=False))
    _check_optimised(file, optimised.logits, whole)
    return {
        "schema_version": SCHEMA_VERSION,
        "model": file.name,
        "classes": walked.logits.shape[1],
        "image_px": px,
        "graph": found.graph,
        "cuts": found.cuts,
        "max_rel_err": error,
        "parameters": sum(_parameters(block) for block in blocks.values()),
        "file": {"sha256": file.sha256, "batch": file.batch, "image_px": file.image_px},
        "blocks": [
            {
                "name": name,
                "flops": walked.flops[at] // batch,
                "elements": math.prod(walked.shapes[at + 1]) // batch,
                "channels": channels(walked.shapes[at + 1]),
                "grows": math.prod(larger[at + 1]) > math.prod(walked.shapes[at + 1]),
                "parameters": _parameters(block),
            }
            for at, (name, block) in enumerate(blocks.items())
        ],
        "versions": {one: importlib.metadata.version(one) for one in ("onnx", "onnxruntime")},
    }


def made(workload: Workload, state_dir: Path, batches: Sequence[Array]) -> Made:
    """Cut a planned file, prove its blocks with these batches, and store them.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` as `listing`, for another file than the planned one, or other sizes than it
        takes; ``E_DISK``.
    """
    cuts, onnx_file = _modules()
    path, store = file_of(state_dir, workload.model), state_dir / "weights"
    if not path.is_file():
        raise ParetoPipeError(
            "E_MODEL",
            f"the file of {workload.model} is not on this host — name it by its path, "
            f"-e model=onnx:PATH/{path.name}, which brings it",
        )
    file = onnx_file.read(path)
    found = _tried(file, lambda: cuts.find(file, _run))
    if found.graph != (planned := str(workload.factors.get("graph"))):
        raise ParetoPipeError(
            "E_MODEL",
            f"{path.name} is another file here, or cut otherwise ({found.graph[:16]}), than what "
            f"was planned with ({planned[:16]}) — give the same command again with its path, "
            f"-e model=onnx:PATH/{path.name}",
        )
    blocks = _blocks(file, found.chosen, workload.batch_size, workload.image_px)
    walked = _tried(file, lambda: _walk(blocks, batches[0]))
    _check_logits(file, walked.logits, batches[0], workload.classes)
    logits = _whole(file, batches)
    _proved(file, walked.logits, logits[0])
    manifest = _stored(workload, found.graph, blocks, store)
    boundaries = [Tensor(shape, "float32", 4 * math.prod(shape)) for shape in walked.shapes]
    return Made(manifest, boundaries, walked.flops, logits)


def _modules() -> tuple[Any, Any]:
    """Return what needs the onnx package."""
    try:
        import onnxruntime  # noqa: F401

        from paretopipe_runtime.models import onnx_cuts, onnx_file
    except ImportError as error:
        raise engine.missing(error, f"{ONNX}:_") from error
    return onnx_cuts, onnx_file


def _blocks(file: OnnxFile, chosen: Sequence[Any], batch: int, px: int) -> dict[str, ModelProto]:
    cuts, _ = _modules()

    def sized() -> dict[str, ModelProto]:
        blocks: dict[str, ModelProto] = cuts.blocks_of(
            file, cuts.sized(file, batch, px, _run), chosen
        )
        return blocks

    return _tried(file, sized)


def _run(model: ModelProto, images: Array, names: Sequence[str]) -> list[Array]:
    """Compute some of a model's tensors, without optimisation: `onnx_cuts.Run`."""
    from onnx import ValueInfoProto

    outputs = model.graph.output
    own = [one.name for one in outputs]
    outputs.extend(ValueInfoProto(name=name) for name in names if name not in own)
    try:
        session = _session(model, plain=True)
    finally:
        del outputs[len(own) :]
    computed: list[Array] = session.run([*names], {model.graph.input[0].name: images})
    return computed


def _session(model: ModelProto, *, plain: bool) -> Any:
    return engine.session(model.SerializeToString(), Path(), plain=plain)


def _walk(blocks: Mapping[str, ModelProto], images: Array, *, plain: bool = True) -> _Walked:
    """Send a batch through the blocks; each gets nothing but the tensor of the one before."""
    tensor, shapes, flops = images, [images.shape], []
    for block in blocks.values():
        graph = block.graph
        if not plain:
            (tensor,) = _session(block, plain=False).run(None, {graph.input[0].name: tensor})
            continue
        known = {one.name: tuple(one.dims) for one in graph.initializer}
        known[graph.input[0].name] = tensor.shape
        working = [node for node in graph.node if node.op_type in _OPERATIONS]
        asked = {name for node in working for name in (*node.input, *node.output)} - {""}
        names = [graph.output[0].name, *sorted(asked - {*known, graph.output[0].name})]
        values = _run(block, tensor, names)
        known |= {name: value.shape for name, value in zip(names, values, strict=True)}
        flops.append(sum(2 * _OPERATIONS[node.op_type](node, known) for node in working))
        tensor = values[0]
        shapes.append(tensor.shape)
    return _Walked(shapes, flops, tensor)


def _larger(file: OnnxFile, chosen: Sequence[Any], batch: int, px: int) -> list[Shape] | None:
    """Return the shapes at boundaries for images twice as large, None if it takes none."""
    if file.image_px:
        return None
    try:
        images = np.zeros((batch, 3, 2 * px, 2 * px), np.float32)
        return _walk(_blocks(file, chosen, batch, 2 * px), images).shapes
    except Exception:  # of onnxruntime
        return None


def _whole(file: OnnxFile, batches: Sequence[Array]) -> Array:
    """Return the whole file's logits (batches, batch, classes), without optimisation."""

    def computed() -> Array:
        session = engine.session(str(file.path), file.path.parent, plain=True)
        return np.stack([session.run([file.logits], {file.given: one})[0] for one in batches])

    return _tried(file, computed)


def _stored(
    workload: Workload, graph: str, blocks: Mapping[str, ModelProto], store: Path
) -> WeightsManifest:
    from paretopipe_runtime.models.onnx_blocks import packed

    with weights.filled(store):
        kept = tuple(
            weights.write_tensors(store, name, *packed(block)) for name, block in blocks.items()
        )
    return WeightsManifest(workload.model, workload.classes, "file", kept, graph=graph)


def _parameters(block: ModelProto) -> int:
    from paretopipe_runtime.models.onnx_blocks import parameters

    return parameters(block)


def _check_logits(file: OnnxFile, logits: Array, images: Array, classes: int) -> None:
    batch, px = len(images), images.shape[-1]
    if logits.ndim != 2 or len(logits) != batch:
        raise ParetoPipeError(
            "E_MODEL",
            f"{file.path.name} gives {logits.shape} for {batch} images, expected ({batch}, "
            "classes): logits — only classifiers can be measured",
        )
    if classes and logits.shape[1] != classes:
        raise ParetoPipeError(
            "E_MODEL",
            f"{file.path.name} has {logits.shape[1]} classes, and {classes} are asked for — leave "
            "classes out",
        )
    if not np.isfinite(logits).all():
        raise ParetoPipeError(
            "E_MODEL",
            f"{file.path.name} gives numbers that are not finite for images of {px} px, expected "
            "logits — is it whole, and trained?",
        )


def _proved(file: OnnxFile, logits: Array, whole: Array) -> float:
    """Return the error of the blocks' logits relative to the file's largest, or refuse them."""
    error = golden.compare(logits, whole).max_rel_err
    if not error <= TOLERANCE:
        raise ParetoPipeError(
            "E_MODEL",
            f"the blocks of {file.path.name}, one after the other, are {error:.1e} off the whole "
            f"file's largest logit, expected {TOLERANCE:.0e} at most — does it compute with random "
            "numbers?",
        )
    return error


def _check_optimised(file: OnnxFile, logits: Array, whole: Array) -> None:
    most = ENGINES[ONNX_ENGINE].tolerance
    error = golden.compare(logits, whole).max_rel_err
    if not error <= most:
        raise ParetoPipeError(
            "E_MODEL",
            f"the blocks of {file.path.name} as ONNX Runtime optimises them are {error:.1e} off "
            f"the file's largest logit, expected {most:.0e} at most — quantised numbers, which "
            "rounding changes by a whole step, cannot be proved: export it in float32",
        )


def _tried(file: OnnxFile, compute: Callable[[], Result]) -> Result:
    try:
        return compute()
    except ParetoPipeError:
        raise
    except Exception as error:  # onnxruntime's exception classes are not public
        raise ParetoPipeError(
            "E_MODEL",
            f"onnxruntime cannot run {file.path.name}: {' '.join(str(error).split())[:300]} — it "
            "must run there as it is, without operators of your own",
        ) from error


def _conv(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])


def _quantised_conv(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[3]][1:])


def _transposed(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _product(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    turned = any(one.name == "transA" and one.i for one in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-2 if turned else -1]


#: Multiply-adds of a node, by its kind; of others none is counted, as of torch's models.
_OPERATIONS: dict[str, Callable[[NodeProto, Mapping[str, Shape]], int]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv"), _conv),
    **dict.fromkeys(("MatMul", "Gemm", "MatMulInteger", "FusedMatMul", "QLinearMatMul"), _product),
    "QLinearConv": _quantised_conv,
    "ConvTranspose": _transposed,
}
