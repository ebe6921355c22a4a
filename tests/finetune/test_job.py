"""`paretopipe finetune`: its schedule, what it publishes, how it ends, its words on wrong input."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from paretopipe_runtime import job
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.weights import read_published
from paretopipe_runtime.finetune.network import Network
from paretopipe_runtime.finetune.schedule import Epoch, best, is_over, learning_rate, seed_of
from paretopipe_runtime.weights import load_stage
from tests.finetune.processes import STEPS, Processes


def published(folder: Path, name: str = "finetuned") -> dict[str, Any]:
    path = folder / f"state/weights/sets/{name}/mobilenetv2.json"
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_it_ends_early_and_publishes_the_best_epoch(folder: Path, processes: Processes) -> None:
    """With a rate that unlearns everything, what it started from stays the best."""
    done = processes.train(folder, "--epochs", "9", "--patience", "2", "--lr", "1e-9")
    assert done.status == 0, done.stderr
    document = published(folder)
    origin = document["weights_manifest"]["origin"]
    history = document["made"]["history"]
    assert origin["epochs"] == len(history) - 1 < 9
    assert origin["epochs"] - origin["best_epoch"] == 2
    accuracies = [epoch["validation_accuracy"] for epoch in history]
    assert accuracies[origin["best_epoch"]] == max(accuracies)
    progress = json.loads((folder / "progress.json").read_text())
    assert (progress["finished"], progress["noun"]) == (True, "batches")
    assert progress["runs_total"] == 9 * STEPS
    assert "best " in progress["current"]


def test_no_epoch_at_all_publishes_what_it_started_from(folder: Path, processes: Processes) -> None:
    network = Network("mobilenetv2", 3)
    network.initialise(5)
    torch.save(network.tensors(), folder / "own.pth")
    done = processes.train(folder, "--epochs", "0", "--pretrained", str(folder / "own.pth"))
    assert done.status == 0, done.stderr
    weights = read_published(published(folder))
    assert weights is not None
    origin = weights.manifest.origin
    assert origin is not None
    assert (origin.base, origin.epochs, origin.best_epoch) == ("own.pth", 0, 0)
    assert (weights.manifest.classes, weights.manifest.source) == (3, "finetuned")
    blocks = model_info("mobilenetv2").blocks
    stage = load_stage("mobilenetv2", 3, weights.manifest, folder / "state/weights", 0, blocks)
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        ours, theirs = stage(images.clone()), network.eval()(images.clone())
    # To rounding: where a tensor lies in memory decides how its products are added up.
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_more_logits_than_classes_are_as_many_as_asked(folder: Path, processes: Processes) -> None:
    done = processes.train(folder, "--epochs", "1", "--classes", "1000")
    assert done.status == 0, done.stderr
    assert published(folder)["weights_manifest"]["classes"] == 1000


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--classes", "2"), "E_OPTION: classes=2, and data set data.safetensors has 3"),
        (("--weights", "seeded"), "E_OPTION: weights=seeded cannot name a set"),
        (("--weights", "../x"), "E_OPTION: weights=../x cannot name a set"),
        (("--batch", "1"), "E_OPTION: batch=1, expected 2 or more"),
        (("--image", "0"), "E_OPTION: image=0, expected 1 or more"),
        (("--lr", "nan"), "E_OPTION: lr=nan, expected above 0"),
        (("--device", "tpu"), "E_OPTION: device=tpu is not here"),
        (("--dataset", "cifar100"), "E_DATA: there is no data set cifar100"),
        (("--pretrained", "/nowhere.pth"), "E_PRETRAINED: /nowhere.pth holds no weights"),
    ],
)
def test_what_it_cannot_do_is_one_line(
    folder: Path, processes: Processes, more: tuple[str, ...], sentence: str
) -> None:
    done = processes.train(folder, *more)
    assert done.status == 2, done.stdout
    assert done.stderr.startswith(sentence), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "state/weights/sets").exists()


def test_a_loss_that_is_no_number_ends_it(folder: Path, processes: Processes) -> None:
    diverge = "from paretopipe_runtime.finetune import training; "
    diverge += "training.Training._step = lambda *given: float('nan')"
    done = processes.train(folder, before=diverge)
    assert done.status == 2
    assert done.stderr.startswith("E_DIVERGED: the loss is nan in step 1 of epoch 1: ")
    assert "with a smaller lr than 0.05" in done.stderr


@pytest.mark.parametrize(
    "place", ["paretopipe_runtime.weights", "paretopipe_runtime.finetune.checkpoints"]
)
def test_a_full_disk_is_one_line(folder: Path, processes: Processes, place: str) -> None:
    full = f"import {place} as place\n"
    full += "def write(*given): raise OSError(28, 'No space left on device')\n"
    full += "place.save_file = write"
    done = processes.train(folder, before=full)
    assert done.status == 75
    assert done.stderr.startswith("E_DISK: cannot write "), done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_is_trained_where_something_is_measured(folder: Path, processes: Processes) -> None:
    with job.hold(folder / "state", "paretopipe sweep x"):
        done = processes.train(folder)
    assert done.status == 75
    assert done.stderr.startswith("E_BUSY: this host is measuring already: `paretopipe sweep x`")


def test_a_device_without_memory_says_what_to_do(folder: Path, processes: Processes) -> None:
    full = "from paretopipe_runtime.finetune import training\n"
    full += "def step(*given): raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to')\n"
    full += "training.Training._step = step"
    done = processes.train(folder, before=full)
    assert done.status == 2
    assert done.stderr == (
        "E_MEMORY: CUDA out of memory — fine-tune with a smaller batch than 16\n"
    )


def test_an_unknown_model_and_too_small_an_image_are_told_at_once(
    folder: Path, processes: Processes
) -> None:
    done = processes.train(folder, model="alexnet")
    assert done.status == 2
    assert done.stderr.startswith("E_IMAGE: images of 32 px do not fit alexnet: the smallest that")
    done = processes.train(folder, model="lenet")
    assert done.stderr.startswith("E_MODEL: unknown model 'lenet'")


def epochs(*accuracies: float) -> list[Epoch]:
    return [Epoch(number, 1.0, 1.0, accuracy) for number, accuracy in enumerate(accuracies)]


@pytest.mark.parametrize("steps", [1, 2, 9, 100, 1001])
def test_the_rate_rises_in_a_line_and_falls_to_nothing(steps: int) -> None:
    rates = [learning_rate(step, steps, 0.1) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.1)
    assert top <= max(1, steps // 10)
    assert all(one < other for one, other in itertools.pairwise(rates[: top + 1]))
    assert all(one >= other for one, other in itertools.pairwise(rates[top:]))
    if steps > 20:
        assert 0 < rates[-1] < 0.001
        assert rates[0] == pytest.approx(0.1 / round(0.1 * steps))


def test_the_best_epoch_is_the_first_of_the_most_accurate() -> None:
    assert best(epochs(0.1, 0.5, 0.4)).number == 1
    assert best(epochs(0.5, 0.5, 0.5)).number == 0


def test_it_ends_with_its_epochs_or_without_a_better_one() -> None:
    assert not is_over(epochs(0.1), 3, 2)
    assert not is_over(epochs(0.1, 0.2), 3, 2)
    assert is_over(epochs(0.1, 0.2, 0.3, 0.4), 3, 2)
    assert not is_over(epochs(0.1, 0.5, 0.4), 9, 2)
    assert is_over(epochs(0.1, 0.5, 0.4, 0.4), 9, 2)
    assert not is_over(epochs(0.1, 0.5, 0.4, 0.6), 9, 2)
    assert is_over(epochs(0.1), 0, 2)


def test_seeds_are_of_places_and_the_same_everywhere() -> None:
    seeds = {seed_of(seed, epoch, step) for seed in (0, 1) for epoch in (1, 11) for step in (1, 11)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(0, 1, 2) == seed_of(0, 1, 2)
    assert seed_of(0, "order", 1) != seed_of(0, 1)
