"""Loss and accuracy on held-out images."""

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
    """Told to stop; the checkpoint continues the training."""


@dataclass(frozen=True)
class Score:
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
    """Return the mean loss and the top-1 accuracy.

    Raises
    ------
    Stopped
        When `stop` is true.
    ParetoPipeError
        ``E_DIVERGED`` when the loss is not finite.
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
    return [places[start : start + batch] for start in range(0, len(places), batch)]
