"""Weights on disk: safetensors files per block, named by sha256, and a manifest.

Files are content-addressed, so nodes fetch only missing ones and models may share them. Loading
maps them into memory, shared by all processes of a host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from paretopipe_runtime.contract.models import file_name, is_traced
from paretopipe_runtime.contract.weights import (
    PROGRAM,
    BlockWeights,
    Published,
    WeightsManifest,
    check_name,
)
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import digest_of, partial, settle, write_json
from paretopipe_runtime.models import build_blocks, found_model
from paretopipe_runtime.models.initial import initial_tensors

if TYPE_CHECKING:
    from torch import nn

SET_SCHEMA_VERSION = 1  # of a set's file


def block_path(store: Path, name: str) -> Path:
    """Return the path of a block's file, by its sha256, or of a program's, with its suffix."""
    return store / (name if name.endswith(PROGRAM) else f"{name}.safetensors")


def tensor_nbytes(store: Path, sha256: str) -> int:
    """Return the size in bytes of a block's tensors, without the header."""
    with block_path(store, sha256).open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        return file.seek(0, os.SEEK_END) - 8 - header


class Place(NamedTuple):
    """A tensor in a file: its type as safetensors names it, and where its bytes are."""

    kind: str
    offset: int
    nbytes: int


def places(path: Path) -> dict[str, Place]:
    """Return where a safetensors file has its tensors, by name."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        described = json.loads(file.read(header))
    described.pop("__metadata__", None)
    return {
        name: Place(tensor["dtype"], 8 + header + first, end - first)
        for name, tensor in described.items()
        for first, end in (tensor["data_offsets"],)
    }


def verify_block(store: Path, name: str) -> bool:
    """Verify the sha256 of a block's or program's file; False if it is missing."""
    try:
        return digest_of(block_path(store, name)) == name.removesuffix(PROGRAM)
    except FileNotFoundError:
        return False


def verify_stage(manifest: WeightsManifest, store: Path, first: int, end: int) -> None:
    """Verify the sha256 of the blocks [first, end), or of the program, at every launch.

    A flipped bit may change an output by less than its tolerance. Without SHA instructions, half a
    gigabyte takes seconds, but no longer than a batch there, and it precedes loading.

    Raises ``E_WEIGHTS`` for a missing or damaged file.
    """
    wanted = {f"block {block.name}": block.sha256 for block in manifest.blocks[first:end]}
    if manifest.program:
        wanted = {"program": manifest.program + PROGRAM}
    for what, name in wanted.items():
        path = block_path(store, name)
        try:
            seen = digest_of(path)
        except OSError as error:
            seen = error.strerror or "unreadable"
        if seen != name.removesuffix(PROGRAM):
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"cannot load {manifest.model}'s {what}: sha256 of {path} is {seen[:32]}, "
                f"expected {name[:32]} — playbooks/prepare.yml sends it anew",
            )


def check_store(published: Published, store: Path) -> None:
    """Verify all of a set's blocks, or raise ``E_WEIGHTS``."""
    for block in published.manifest.blocks:
        if not verify_block(store, block.sha256):
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"block {block.name} of {published.manifest.model}'s weights {published.name!r} is "
                f"missing or damaged here ({block_path(store, block.sha256)}) — make them "
                f"again with {_making(published.manifest)}",
            )


def _making(manifest: WeightsManifest) -> str:
    found = is_traced(manifest.model)
    return "playbooks/cut.yml -e again=true" if found else "playbooks/finetune.yml"


def set_path(store: Path, name: str, model: str) -> Path:
    """Return the path of a set's file for a model."""
    return store / "sets" / name / f"{model}.json"


def publish(store: Path, published: Published, made: dict[str, Any]) -> Path:
    """Point a set's name to these weights; return its file.

    Parameters
    ----------
    made : dict
        Provenance, for people; not in the digest.

    Raises
    ------
    ParetoPipeError
        ``E_OPTION`` for an invalid name, ``E_DISK``.
    """
    path = set_path(store, check_name(published.name), published.manifest.model)
    document = {
        "schema_version": SET_SCHEMA_VERSION,
        "weights": published.name,
        "weights_digest": published.manifest.digest,
        "weights_manifest": published.manifest.to_json(),
        "made": made,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, document)
    except OSError as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write {path}: {error.strerror} — free some space there"
        ) from error
    return path


@contextmanager
def filled(store: Path) -> Iterator[None]:
    """Make the folder for what is written to it; ``E_DISK`` where the disk refuses."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, SafetensorError) as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write weights to {store}: {error} — free some space there"
        ) from error


def make_seeded_weights(name: str, classes: int, seed: int, store: Path) -> WeightsManifest:
    """Find or make a model's random weights in `store`, and return their manifest.

    Raises ``E_MODEL`` for an unknown model, ``E_DISK``.
    """
    path = store / f"{file_name(name)}-{classes}-seeded-{seed}.json"
    graph, way = "", ""
    if is_traced(name):
        cut = found_model(name, classes)
        graph, way = cut.graph, cut.way
    there = _find(path, store)
    if there is not None and (there.graph, there.traced) == (graph, way):
        return there
    with filled(store):
        blocks = tuple(
            write_block(store, block, module, initial_tensors(block, module, seed))
            for block, module in build_blocks(name, classes)
        )
        manifest = WeightsManifest(name, classes, f"seeded:{seed}", blocks, graph=graph, traced=way)
        write_json(path, manifest.to_json())
    return manifest


def write_block(
    store: Path, block: str, module: nn.Module, tensors: Mapping[str, NDArray[np.generic]]
) -> BlockWeights:
    """Write one block's tensors to the store."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return write_tensors(store, block, tensors, parameters)


def write_tensors(
    store: Path, block: str, tensors: Mapping[str, NDArray[np.generic]], parameters: int
) -> BlockWeights:
    """Write a block's tensors to the store, of which so many numbers are parameters."""
    with partial(store) as unfinished:
        save_file(dict(tensors), unfinished)
        sha256 = digest_of(unfinished)
        settle(unfinished, block_path(store, sha256))
    return BlockWeights(block, sha256, block_path(store, sha256).stat().st_size, parameters)


def load_stage(
    name: str, classes: int, manifest: WeightsManifest, store: Path, first: int, end: int
) -> nn.Sequential:
    """Return the blocks [first, end) with their weights, for inference only.

    See `build_blocks` about a stage's input, `load_blocks` about errors.
    """
    from torch import nn

    if (manifest.model, manifest.classes) != (name, classes):
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"the weights are {manifest.model}'s with {manifest.classes} classes, the stage is of "
            f"{name} with {classes} — prepare the cell again",
        )
    if is_traced(name):
        _check_graph(name, classes, manifest)
    blocks = build_blocks(name, classes, device="meta", first=first, end=end)
    load_blocks(blocks, manifest, store, first, end)
    return nn.Sequential(*(module for _, module in blocks)).eval()


def _check_graph(name: str, classes: int, manifest: WeightsManifest) -> None:
    """Refuse a model that is traced or cut otherwise here than where its weights were made."""
    here = found_model(name, classes)
    if here.graph != manifest.graph:
        raise ParetoPipeError(
            "E_MODEL",
            f"{name} has another graph or other cuts here (torch.{here.way} {here.graph[:16]}) "
            f"than where it was prepared (torch.{manifest.traced} {manifest.graph[:16]}) — install "
            "the same versions of torch, and of the package that has the model, on all hosts",
        )


def load_blocks(
    modules: Sequence[tuple[str, nn.Module]],
    manifest: WeightsManifest,
    store: Path,
    first: int,
    end: int,
) -> None:
    """Map the weights of the blocks [first, end) into memory.

    Checks sizes, names and shapes, not content (see `verify_stage`).

    Raises ``E_WEIGHTS`` for a missing, short or foreign file.
    """
    from safetensors.torch import load_file

    for (name, module), block in zip(modules, manifest.blocks[first:end], strict=True):
        path = block_path(store, block.sha256)
        try:
            if name != block.name:
                raise ValueError(f"the manifest has {block.name} in its place")
            if path.stat().st_size != block.nbytes:
                raise ValueError(f"{path.stat().st_size} bytes, expected {block.nbytes}")
            module.load_state_dict(load_file(path), assign=True)
        except (OSError, RuntimeError, SafetensorError, ValueError) as error:
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"cannot load {manifest.model}'s block {name} from {path}: {error} — remove that "
                "file and prepare the cell again",
            ) from error


def _find(path: Path, store: Path) -> WeightsManifest | None:
    """Return the manifest at `path` if all its files exist in full size."""
    try:
        manifest = WeightsManifest.from_json(json.loads(path.read_text()))
        for block in manifest.blocks:
            if block_path(store, block.sha256).stat().st_size != block.nbytes:
                return None
    except (OSError, ValueError, ParetoPipeError):
        return None
    return manifest
