"""Weights at rest: one safetensors file a block, named by its sha256, and a manifest over them.

Never pickles. A manifest is what one end tells the other; the files travel by content, so a node
fetches what it lacks and two models may share a file. Loading maps a file into memory and copies
nothing: pages are read when a layer first touches them, and shared by every process on the host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from paretopipe_runtime.contract.weights import (
    BlockWeights,
    Published,
    WeightsManifest,
    check_name,
)
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import digest_of, partial, settle, write_json
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.models.initial import initial_tensors

if TYPE_CHECKING:
    from torch import nn

SET_SCHEMA_VERSION = 1  # of a set's file


def block_path(store: Path, sha256: str) -> Path:
    """Return where a store keeps the block file with this content."""
    return store / f"{sha256}.safetensors"


def tensor_nbytes(store: Path, sha256: str) -> int:
    """Return the bytes of a block's tensors: its file's without the header."""
    with block_path(store, sha256).open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        return file.seek(0, os.SEEK_END) - 8 - header


def verify_block(store: Path, sha256: str) -> bool:
    """Return whether the block file is there with the content that its name promises.

    Reads the whole file.
    """
    try:
        return digest_of(block_path(store, sha256)) == sha256
    except FileNotFoundError:
        return False


def verify_stage(manifest: WeightsManifest, store: Path, first: int, end: int) -> None:
    """Read the files of the blocks [first, end) and see that they are what the manifest promises.

    For every launch: a flipped bit may change an output by less than its tolerance. On a processor
    without instructions for SHA-256 that takes seconds for half a gigabyte of weights, and a batch
    takes longer; it is over before a stage counts as loading, let alone as ready.

    Raises
    ------
    ParetoPipeError
        ``E_WEIGHTS`` for the first file that is missing or has another content.
    """
    for block in manifest.blocks[first:end]:
        path = block_path(store, block.sha256)
        try:
            seen = digest_of(path)
        except OSError as error:
            seen = error.strerror or "unreadable"
        if seen != block.sha256:
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"cannot load {manifest.model}'s block {block.name}: sha256 of {path} is "
                f"{seen[:32]}, expected {block.sha256[:32]} — playbooks/prepare.yml sends it anew",
            )


def check_store(published: Published, store: Path) -> None:
    """Read every block's file and compare it with its digest.

    Raises
    ------
    ParetoPipeError
        ``E_WEIGHTS`` for a file that is missing or has another content.
    """
    for block in published.manifest.blocks:
        if not verify_block(store, block.sha256):
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"block {block.name} of {published.manifest.model}'s weights {published.name!r} is "
                f"missing or damaged here ({block_path(store, block.sha256)}) — make them "
                "again with playbooks/finetune.yml",
            )


def set_path(store: Path, name: str, model: str) -> Path:
    """Return where a store says what a model's weights in a set are."""
    return store / "sets" / name / f"{model}.json"


def publish(store: Path, published: Published, made: dict[str, Any]) -> Path:
    """Make the set's name mean these weights from now on; return the file that says so.

    Parameters
    ----------
    made : dict
        When, where and by what: for people, and no part of the digest.

    Raises
    ------
    ParetoPipeError
        ``E_OPTION`` for a name that cannot be one, ``E_DISK``.
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


def make_seeded_weights(name: str, classes: int, seed: int, store: Path) -> WeightsManifest:
    """Make a model's random weights in `store`, or find them there, and return their manifest.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` for an unknown model, ``E_DISK`` where the store cannot be written.
    """
    path = store / f"{name}-{classes}-seeded-{seed}.json"
    found = _find(path, store)
    if found is not None:
        return found
    try:
        store.mkdir(parents=True, exist_ok=True)
        blocks = tuple(
            write_block(store, block, module, initial_tensors(block, module, seed))
            for block, module in build_blocks(name, classes)
        )
        manifest = WeightsManifest(name, classes, f"seeded:{seed}", blocks)
        write_json(path, manifest.to_json())
    except (OSError, SafetensorError) as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write weights to {store}: {error} — free some space there"
        ) from error
    return manifest


def write_block(
    store: Path, block: str, module: nn.Module, tensors: Mapping[str, NDArray[np.generic]]
) -> BlockWeights:
    """Put one block's tensors, by their names within it, into the store."""
    with partial(store) as unfinished:
        save_file(dict(tensors), unfinished)
        sha256 = digest_of(unfinished)
        settle(unfinished, block_path(store, sha256))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return BlockWeights(block, sha256, block_path(store, sha256).stat().st_size, parameters)


def load_stage(
    name: str, classes: int, manifest: WeightsManifest, store: Path, first: int, end: int
) -> nn.Sequential:
    """Return the blocks [first, end) with their weights, for inference only.

    See `build_blocks` on what a stage may do to its input, and `load_blocks` on errors.
    """
    from torch import nn

    if (manifest.model, manifest.classes) != (name, classes):
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"the weights are {manifest.model}'s with {manifest.classes} classes, the stage is of "
            f"{name} with {classes} — prepare the cell again",
        )
    blocks = build_blocks(name, classes, device="meta", first=first, end=end)
    load_blocks(blocks, manifest, store, first, end)
    return nn.Sequential(*(module for _, module in blocks)).eval()


def load_blocks(
    modules: Sequence[tuple[str, nn.Module]],
    manifest: WeightsManifest,
    store: Path,
    first: int,
    end: int,
) -> None:
    """Give the blocks [first, end) their weights, mapped into memory from the store.

    Sizes, names and shapes are checked; content is not (`verify_stage` does that).

    Raises
    ------
    ParetoPipeError
        ``E_WEIGHTS`` for a file that is missing, cut short or of another architecture.
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
    """The manifest at `path` if it is sound and its files are there in full, by size alone."""
    try:
        manifest = WeightsManifest.from_json(json.loads(path.read_text()))
        for block in manifest.blocks:
            if block_path(store, block.sha256).stat().st_size != block.nbytes:
                return None
    except (OSError, ValueError, ParetoPipeError):
        return None
    return manifest
