"""A training's result: blocks in the weights' store and a manifest in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from paretopipe_runtime.contract.weights import Published, WeightsManifest, read_published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.network import Network
from paretopipe_runtime.weights import check_store, publish, set_path, write_block

SOURCE = "finetuned"
_NAME = "result"


@dataclass(frozen=True)
class Result:
    """Weights, and their provenance (time, host, history)."""

    manifest: WeightsManifest
    made: dict[str, Any]


def find(folder: Path, model: str, store: Path) -> Result | None:
    """Return the result kept in `folder` if the store has all its blocks."""
    try:
        document = json.loads(set_path(folder, _NAME, model).read_text())
        result = read_published(document)
        if result is None:
            return None
        check_store(result, store)
    except (OSError, KeyError, ValueError, ParetoPipeError):
        return None
    return Result(result.manifest, document["made"])


def keep(folder: Path, result: Result) -> None:
    publish(folder, Published(_NAME, result.manifest), result.made)


def store_blocks(network: Network, classes: int, store: Path) -> WeightsManifest:
    """Write a network's blocks to the store and return their manifest, or raise ``E_DISK``."""
    network.cpu()
    try:
        store.mkdir(parents=True, exist_ok=True)
        blocks = tuple(
            write_block(
                store,
                name,
                module,
                {key: tensor.numpy() for key, tensor in module.state_dict().items()},
            )
            for name, module in zip(network.block_names, network, strict=True)
        )
    except (OSError, SafetensorError) as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write weights to {store}: {error} — free some space there"
        ) from error
    return WeightsManifest(network.model, classes, SOURCE, blocks)
