"""The `paretopipe finetune` command: train, store, evaluate, publish.

May start CUDA, so no fork server may import this.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from paretopipe_runtime.contract.weights import Origin, Published, WeightsManifest, read_published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.base import Base, open_base
from paretopipe_runtime.finetune.checkpoints import Checkpoints
from paretopipe_runtime.finetune.cuda import device_called
from paretopipe_runtime.finetune.datasets import open_dataset
from paretopipe_runtime.finetune.images import Dataset
from paretopipe_runtime.finetune.network import Network
from paretopipe_runtime.finetune.progress import Progress, Work, best
from paretopipe_runtime.finetune.settings import Recipe, Settings
from paretopipe_runtime.finetune.training import Stopped, Training, evaluate
from paretopipe_runtime.job import COMPLETE, INTERRUPTED, Lease, stop_on_signal
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.version import version
from paretopipe_runtime.weights import (
    check_store,
    filled,
    load_stage,
    publish,
    set_path,
    write_block,
)

SOURCE = "finetuned"
_RESULT = "result"


@dataclass(frozen=True)
class Files:
    """Paths of a fine-tuning job."""

    state_dir: Path
    lease: Lease
    progress: Path | None

    @property
    def store(self) -> Path:
        """The weights' store, shared with sweeps."""
        return self.state_dir / "weights"

    @property
    def folder(self) -> Path:
        """Downloads and checkpoints."""
        return self.state_dir / "finetune"


@dataclass(frozen=True)
class Result:
    """Weights, and their provenance (time, host, history)."""

    manifest: WeightsManifest
    made: dict[str, Any]


def finetune(settings: Settings, files: Files) -> tuple[int, str]:
    """Train, evaluate and publish; return the exit code and a closing sentence.

    Weights already made with the same recipe are only renamed.
    """
    settings.checked()
    stopping = stop_on_signal()  # before anything slow
    device = device_called(settings.device)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    downloads = files.folder / "downloads"
    dataset = open_dataset(settings.dataset, settings.image, downloads)
    base = open_base(settings.pretrained, settings.model, downloads)
    recipe = Recipe.of(settings, dataset, base)
    boundary_shapes(recipe.model, recipe.classes, recipe.batch, recipe.image_px)  # or E_IMAGE
    folder = files.folder / recipe.key
    progress = Progress(files.progress, _work(recipe, dataset))

    def stop() -> bool:
        return bool(stopping) or files.lease.expired()

    try:
        done = find_result(folder, recipe.model, files.store)
        if done is None:
            done = _train(recipe, dataset, base, device, files, progress, stop)
            place = Path(settings.dataset)
            done.made["dataset"] = str(place.absolute()) if place.exists() else settings.dataset
            publish(folder, Published(_RESULT, done.manifest), done.made)
        Checkpoints(folder).remove()
        weights = Published(settings.weights, done.manifest)
        path = publish(files.store, weights, done.made)
    except Stopped:
        return INTERRUPTED, "fine-tuning stopped; the same command goes on"
    except torch.cuda.OutOfMemoryError as error:
        first = str(error).partition(". ")[0]
        raise ParetoPipeError(
            "E_MEMORY", f"{first} — fine-tune with a smaller batch than {recipe.batch}"
        ) from error
    finally:
        progress.write(finished=True)
    return COMPLETE, f"{_sentence(weights)}\npublished as {weights.name!r}: {path}"


def find_result(folder: Path, model: str, store: Path) -> Result | None:
    """Return the result kept in `folder` if the store has all its blocks."""
    try:
        document = json.loads(set_path(folder, _RESULT, model).read_text())
        result = read_published(document)
        if result is None:
            return None
        check_store(result, store)
    except (OSError, KeyError, ValueError, ParetoPipeError):
        return None
    return Result(result.manifest, document["made"])


def _train(
    recipe: Recipe,
    dataset: Dataset,
    base: Base,
    device: torch.device,
    files: Files,
    progress: Progress,
    stop: Callable[[], bool],
) -> Result:
    began = time.monotonic()
    network = Network(recipe.model, recipe.classes)
    network.initialise(recipe.seed)
    if base.tensors is not None:
        network.start_from(base.tensors)
    checkpoints = Checkpoints(files.folder / recipe.key)
    training = Training(recipe, dataset, network, device, checkpoints, progress, stop)
    history = training.run()
    manifest = store_blocks(network, recipe.classes, files.store)
    # Evaluate the stored files, not the network in memory.
    stored = load_stage(recipe.model, recipe.classes, manifest, files.store, 0, len(network))
    places = (recipe.image_px, recipe.batch, device)
    score = evaluate(stored.to(device), dataset.test, *places, progress, stop)
    origin = Origin(
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        train_images=len(dataset.train),
        validation_images=len(dataset.validation),
        test_images=len(dataset.test),
        image_px=recipe.image_px,
        accuracy=score.accuracy,
        base=base.name,
        base_sha256=base.sha256,
        epochs=history[-1].number,
        best_epoch=best(history).number,
        batch=recipe.batch,
        lr=recipe.lr,
        seed=recipe.seed,
    )
    made = {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "host": platform.node(),
        "device": str(device),
        "runtime": version(),
        "torch": torch.__version__,
        "last_part_s": round(time.monotonic() - began, 1),  # since the last interruption
        "recipe": dataclasses.asdict(recipe),
        "history": [dataclasses.asdict(epoch) for epoch in history],
    }
    return Result(dataclasses.replace(manifest, origin=origin), made)


def store_blocks(network: Network, classes: int, store: Path) -> WeightsManifest:
    """Write a network's blocks to the store and return their manifest, or raise ``E_DISK``."""
    network.cpu()
    with filled(store):
        blocks = tuple(
            write_block(
                store,
                name,
                module,
                {key: tensor.numpy() for key, tensor in module.state_dict().items()},
            )
            for name, module in zip(network.block_names, network, strict=True)
        )
    return WeightsManifest(network.model, classes, SOURCE, blocks)


def _work(recipe: Recipe, dataset: Dataset) -> Work:
    def batches(images: int) -> int:
        return math.ceil(images / recipe.batch)

    train, odd = divmod(len(dataset.train), recipe.batch)
    return Work(
        epochs=recipe.epochs,
        train=train + (odd > 1),
        validation=batches(len(dataset.validation)),
        test=batches(len(dataset.test)),
    )


def _sentence(weights: Published) -> str:
    origin = weights.manifest.origin
    assert origin is not None
    return (
        f"{weights.manifest.model}: {100 * origin.accuracy:.1f} % top-1 on {origin.test_images} "
        f"held-out images of {origin.dataset} at {origin.image_px} px, after "
        f"{origin.best_epoch} of {origin.epochs} epochs from {origin.base}"
    )
