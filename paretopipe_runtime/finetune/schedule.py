"""Learning rate, early stop and best epoch, as pure functions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

_WARM_UP = 0.1  # of all steps


@dataclass(frozen=True)
class Epoch:
    """Losses and accuracy of one epoch; epoch 0 evaluates the starting values."""

    number: int
    train_loss: float | None
    validation_loss: float
    validation_accuracy: float


def learning_rate(step: int, steps: int, largest: float) -> float:
    """Return the rate of step 0 … steps-1: linear warm-up, then cosine decay."""
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return largest * (step + 1) / warm
    return largest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def best(history: Sequence[Epoch]) -> Epoch:
    """Return the first epoch with the highest accuracy."""
    return max(history, key=lambda epoch: (epoch.validation_accuracy, -epoch.number))


def is_over(history: Sequence[Epoch], epochs: int, patience: int) -> bool:
    """Say whether all epochs are done, or the last `patience` of them brought no improvement."""
    last = history[-1].number
    return last >= epochs or last - best(history).number >= patience


def seed_of(seed: int, *place: int | str) -> int:
    """Derive an independent seed for one place of a training."""
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
