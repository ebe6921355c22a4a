"""Cost of a codec to a prediction, cut by cut: networks trained on digits, and random ones.

The transformer is a small one, trained from random weights like the others: no trained weights
can be fetched where this runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from paretopipe_runtime import golden
from paretopipe_runtime.accuracy import through
from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.base import Base
from paretopipe_runtime.finetune.checkpoints import Checkpoints
from paretopipe_runtime.finetune.datasets import DIGITS
from paretopipe_runtime.finetune.images import Dataset, augmented, prepared
from paretopipe_runtime.finetune.network import Network
from paretopipe_runtime.finetune.progress import Progress, Work
from paretopipe_runtime.finetune.settings import Recipe, Settings
from paretopipe_runtime.finetune.training import Training, learning_rate
from paretopipe_runtime.models.architectures import torchvision
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.weights import load_stage, make_seeded_weights

LOSSY = [name for name in CODECS if name != NONE]
BATCH, IMAGE_PX, CLASSES, INPUTS = 8, 64, 10, 5
VIT = "small ViT"
#: Epochs at half the size first, where they take a quarter. MobileNetV2's are enough for 97 % of
#: the held-out digits; the transformer's are not, it tells 76 %.
EPOCHS = {"mobilenetv2": ((32, 8), (64, 2)), "resnet18": ((32, 3), (64, 1)), VIT: ((64, 30),)}
BATCH_SIZE, VIT_RATE = 32, 1e-3


class _Embed(nn.Module):
    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.conv_proj, self.class_token = whole.conv_proj, whole.class_token
        self.position = whole.encoder.pos_embedding

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(images), -1, -1)
        return torch.cat((first, patches), 1) + self.position


class _Head(nn.Module):
    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.norm, self.heads = whole.encoder.ln, whole.heads

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.heads(self.norm(tokens)[:, 0])
        return logits


def small_vit() -> nn.Sequential:
    """Return an untrained one: six encoder layers 192 wide on 65 tokens; a cut is after a layer."""
    torch.manual_seed(0)
    whole = torchvision.models.VisionTransformer(IMAGE_PX, 8, 6, 3, 192, 768, num_classes=CLASSES)
    return nn.Sequential(_Embed(whole), *whole.encoder.layers, _Head(whole))


def trained(name: str, dataset: Dataset, folder: Path) -> nn.Sequential:
    """Return a network trained on the data set's own part for it, as fine-tuning trains."""
    if name == VIT:
        return _trained_vit(dataset)
    network = Network(name, CLASSES)
    network.initialise(0)
    for px, epochs in EPOCHS[name]:
        asked = Settings(name, "w", DIGITS, "none", CLASSES, px, epochs, BATCH_SIZE)
        progress = Progress(None, Work(epochs, ceil(len(dataset.train) / BATCH_SIZE), 1, 1))
        places = (
            torch.device("cpu"),
            Checkpoints(folder / f"{name}-{px}"),
            progress,
            lambda: False,
        )
        recipe = Recipe.of(asked, dataset, Base("none"))
        Training(recipe, dataset, network, *places).run()
    return network.eval()


def _trained_vit(dataset: Dataset) -> nn.Sequential:
    """Train with AdamW, for a transformer learns slowly by fine-tuning's SGD."""
    network = small_vit()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    places = torch.arange(len(dataset.train))
    ((_, epochs),) = EPOCHS[VIT]
    steps = epochs * ceil(len(places) / BATCH_SIZE)
    step = 0
    for epoch in range(epochs):
        order = torch.randperm(len(places), generator=torch.Generator().manual_seed(epoch))
        for chosen in torch.split(order, BATCH_SIZE):
            optimizer.param_groups[0]["lr"] = learning_rate(step, steps, VIT_RATE)
            pixels = augmented(dataset.train.load(chosen), step, flip=dataset.flip)
            logits = network(prepared(pixels, IMAGE_PX))
            loss = functional.cross_entropy(logits, dataset.train.labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
        print(f"epoch {epoch + 1}: loss {float(loss.detach()):.3f}", flush=True)
    return network.eval()


@dataclass(frozen=True)
class Cost:
    """Errors at a cut: of the tensor (RMS), of logits (`golden.compare`), of classes (shares)."""

    rms: float
    max_rel_err: float
    agreement: float
    top1: float


@dataclass(frozen=True)
class Cut:
    """The tensor behind so many blocks (batch first), and each codec's cost there."""

    number: int
    tensor: torch.Tensor
    costs: dict[str, Cost]


def cuts(
    network: nn.Sequential, images: torch.Tensor, labels: torch.Tensor | None = None
) -> Iterator[Cut]:
    """Yield every cut, the input as P0, over images (n, 3, px, px) in batches of eight."""
    with torch.inference_mode():
        reference = network(images.clone())
        tensor = images.clone()  # blocks may overwrite their input
        blocks = list(network)
        for number, block in enumerate(blocks):
            costs = {}
            for codec in LOSSY:
                read = through(codec, tensor)
                rms = float((read - tensor).norm() / tensor.norm())
                logits = nn.Sequential(*blocks[number:])(read)
                costs[codec] = _cost(rms, logits, reference, labels)
            yield Cut(number, tensor, costs)
            tensor = block(tensor)


def _cost(
    rms: float, logits: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor | None
) -> Cost:
    chosen = logits.argmax(1)
    right = 0.0 if labels is None else float((chosen == labels).float().mean())
    ours, theirs = (seen.reshape(-1, BATCH, seen.shape[1]).numpy() for seen in (logits, reference))
    error = golden.compare(ours, theirs).max_rel_err
    return Cost(rms, error, float((chosen == reference.argmax(1)).float().mean()), right)


def held_out(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return whole batches of held-out images, as a network takes them, and their labels."""
    places = torch.arange(len(dataset.test) // BATCH * BATCH)
    return prepared(dataset.test.load(places), IMAGE_PX), dataset.test.labels[places]


def outliers(tokens: torch.Tensor) -> tuple[float, float, float]:
    """Return how far values (images, tokens, channels) lie from the usual ones.

    The greatest over the median absolute value of a channel, of the median channel and of the
    worst; and the loudest channel's greatest over the median channel's.
    """
    values = tokens.flatten(0, 1).abs()
    greatest = values.amax(0)
    within = greatest / values.median(0).values
    return float(within.median()), float(within.max()), float(greatest.max() / greatest.median())


def smallest(model: str) -> int:
    """Return 64 px, or the least size from there on that a model takes."""
    for px in range(IMAGE_PX, 300):
        try:
            boundary_shapes(model, model_info(model).default_classes, 1, px)
        except ParetoPipeError:
            continue
        return px
    raise AssertionError(model)


def with_random_weights(model: str, store: Path) -> tuple[nn.Sequential, torch.Tensor]:
    """Return a model with seeded weights, and a run's inputs at 64 px, or its least size."""
    classes, px = model_info(model).default_classes, smallest(model)
    whole = make_seeded_weights(model, classes, 0, store)
    network = load_stage(model, classes, whole, store, 0, model_info(model).blocks)
    batches = golden.input_batches(BATCH, px, INPUTS, 0)
    return network, torch.cat([torch.from_numpy(batch) for batch in batches])
