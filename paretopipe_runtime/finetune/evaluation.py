"""How good a model is on images that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.batches import prepared
from paretopipe_runtime.finetune.images import Images
from paretopipe_runtime.finetune.progress import Progress


class Stopped(Exception):
    """Told to stop; what is done so far has a checkpoint to go on from."""


@dataclass(frozen=True)
class Score:
    """How a model does on some images."""

    loss: float
    accuracy: float


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    images: Images,
    image_px: int,
    batch: int,
    device: torch.device,
    progress: Progress,
    stop: Callable[[], bool],
) -> Score:
    """Return the mean loss and the share of images whose class has the largest logit.

    Raises
    ------
    Stopped
        When told to.
    ParetoPipeError
        ``E_DIVERGED`` when the loss is no number.
    """
    network.eval()
    loss = right = 0.0
    for places in parts(torch.arange(len(images)), batch):
        if stop():
            raise Stopped
        with progress.evaluating():
            pixels = prepared(images.load(places).to(device), image_px)
            labels = images.labels[places].to(device)
            logits = network(pixels)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
    if not math.isfinite(loss):
        raise ParetoPipeError(
            "E_DIVERGED", f"the loss on held-out images is {loss} — fine-tune with a smaller lr"
        )
    return Score(loss / len(images), right / len(images))


def parts(places: torch.Tensor, batch: int) -> list[torch.Tensor]:
    """Return the places in batches, the last of which may be smaller."""
    return [places[start : start + batch] for start in range(0, len(places), batch)]
