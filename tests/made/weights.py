"""Weights that say they were trained, for tests that do not train: their values are seeded."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.weights import BlockWeights, Origin, Published, WeightsManifest
from paretopipe_runtime.weights import make_seeded_weights

ORIGIN = Origin(
    dataset="digits",
    dataset_sha256="0" * 64,
    train_images=1258,
    validation_images=180,
    test_images=359,
    image_px=32,
    accuracy=0.9749303621169917,
    base="none",
    base_sha256="",
    epochs=10,
    best_epoch=8,
    batch=64,
    lr=0.05,
    seed=0,
)


def unwritten(model: str = "mobilenetv2", classes: int = 10, name: str = "finetuned") -> Published:
    """Return a set whose block files exist nowhere."""
    blocks = tuple(
        BlockWeights(block, hashlib.sha256(block.encode()).hexdigest(), 100, 10)
        for block in model_info(model).block_names
    )
    return Published(name, WeightsManifest(model, classes, "finetuned", blocks, ORIGIN))


def written(store: Path, model: str = "mobilenetv2", name: str = "finetuned") -> Published:
    """Return a set whose block files are in the store; no seeded plan of a test has the like."""
    seeded = make_seeded_weights(model, 10, 77, store)
    manifest = dataclasses.replace(seeded, source="finetuned", origin=ORIGIN)
    return Published(name, manifest)


def named(published: Published) -> dict[str, Any]:
    """Return what a plan says of a set."""
    return {
        "weights": published.name,
        "weights_digest": published.manifest.digest,
        "weights_manifest": published.manifest.to_json(),
    }
