"""Description of a found model for planning: its blocks, and the proof that they are it."""

from __future__ import annotations

import importlib.metadata
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import found_model

if TYPE_CHECKING:
    from torch import Tensor

    from paretopipe_runtime.contract.plan import Workload
    from paretopipe_runtime.contract.weights import WeightsManifest

SCHEMA_VERSION = 1
#: Largest error of the blocks' logits, one after the other, relative to the whole model's largest.
TOLERANCE = 1e-6


def listing(name: str, classes: int) -> dict[str, Any]:
    """Find a model's blocks, prove them with random weights, and describe them for one image.

    Raises ``E_MODEL``.
    """
    from paretopipe_runtime.golden import input_batches
    from paretopipe_runtime.models.boundaries import block_flops, boundary_shapes
    from paretopipe_runtime.models.initial import initial_tensors

    cut = found_model(name, classes)
    px = cut.image_px
    shapes = [tensor.shape for tensor in boundary_shapes(name, classes, 1, px)]
    larger = _larger(name, classes, px) or shapes
    flops = block_flops(name, classes, 1, px)
    blocks = [
        {
            "name": block,
            "flops": flops[at],
            "elements": math.prod(shapes[at + 1]),
            "channels": channels(shapes[at + 1]),
            "grows": math.prod(larger[at + 1]) > math.prod(shapes[at + 1]),
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
        }
        for at, (block, module) in enumerate(cut.modules.items())
    ]
    tensors: dict[str, Tensor] = {}
    for block, module in cut.modules.items():
        tensors |= _torch(initial_tensors(block, module, seed=0))
    error = _prove(name, classes, tensors, input_batches(1, px, 1, seed=0)[0])
    return {
        "schema_version": SCHEMA_VERSION,
        "model": name,
        "classes": classes,
        "image_px": px,
        "graph": cut.graph,
        "traced": cut.way,
        "cuts": cut.cuts,
        "max_rel_err": error,
        "parameters": sum(block["parameters"] for block in blocks),
        "blocks": blocks,
        "versions": _versions(name),
    }


def check(workload: Workload, manifest: WeightsManifest, store: Path) -> None:
    """Prove a planned model's blocks with its weights and its batches.

    Raises ``E_MODEL`` if they are not those of the plan, or compute something else than the model.
    """
    from safetensors.torch import load_file

    from paretopipe_runtime.golden import input_batches
    from paretopipe_runtime.weights import block_path

    if manifest.graph != (planned := str(workload.factors.get("graph"))):
        raise ParetoPipeError(
            "E_MODEL",
            f"{workload.model} has another graph or other cuts here ({manifest.graph[:16]}) than "
            f"those planned with ({planned[:16]}) — find them again with playbooks/cut.yml "
            f"-e model={workload.model} -e again=true",
        )
    tensors: dict[str, Tensor] = {}
    for block in manifest.blocks:
        tensors |= load_file(block_path(store, block.sha256))
    batch = input_batches(workload.batch_size, workload.image_px, 1, seed=0)[0]
    _prove(workload.model, workload.classes, tensors, batch)


def _prove(name: str, classes: int, tensors: dict[str, Tensor], batch: Any) -> float:
    import torch

    from paretopipe_runtime.models.found import load_whole, prove

    cut = found_model(name, classes)
    load_whole(cut, tensors)
    try:
        error = prove(cut, torch.from_numpy(batch))
    except Exception as why:  # whatever a model's own code raises
        raise ParetoPipeError(
            "E_MODEL",
            f"{name} cannot be run once it was traced: {type(why).__name__}: {str(why)[:200]} — "
            "does it keep what it computed for other batches?",
        ) from why
    if not error <= TOLERANCE:
        raise ParetoPipeError(
            "E_MODEL",
            f"the blocks of {name}, one after the other, are {error:.1e} off the whole model's "
            f"largest logit, expected {TOLERANCE:.0e} at most — does it compute with random "
            "numbers, or depend on what it computed before, or on the number of images?",
        )
    return error


def channels(shape: tuple[int, ...]) -> int:
    """Return the channels of an image's or a token's tensor, as `codecs.count_ranges` has them."""
    return {4: shape[1], 3: shape[-1]}.get(len(shape), 1)


def _larger(name: str, classes: int, px: int) -> list[tuple[int, ...]] | None:
    """Return the shapes at boundaries for images twice as large, None if it takes none."""
    from paretopipe_runtime.models.boundaries import boundary_shapes

    try:
        return [tensor.shape for tensor in boundary_shapes(name, classes, 1, 2 * px)]
    except ParetoPipeError:
        return None


def _torch(arrays: dict[str, Any]) -> dict[str, Tensor]:
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _versions(name: str) -> dict[str, str]:
    source, _, inner = name.partition(":")
    package = inner.partition(".")[0] if source == "module" else source
    versions = {}
    for one in ("torch", "torchvision", package):
        try:
            versions[one] = importlib.metadata.version(one)
        except importlib.metadata.PackageNotFoundError:
            versions[one] = "unknown"
    return versions
