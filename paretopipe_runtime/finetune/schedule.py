"""How fast a training learns, when it ends and which epoch counts: functions of numbers alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

_WARM_UP = 0.1  # of all steps


@dataclass(frozen=True)
class Epoch:
    """What came of one epoch; epoch 0 is what the training started from, and learned nothing."""

    number: int
    train_loss: float | None
    validation_loss: float
    validation_accuracy: float


def learning_rate(step: int, steps: int, largest: float) -> float:
    """Return the learning rate of a step, of 0 … steps-1: up in a line, then down in a cosine."""
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return largest * (step + 1) / warm
    return largest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def best(history: Sequence[Epoch]) -> Epoch:
    """Return the first epoch with the highest accuracy."""
    return max(history, key=lambda epoch: (epoch.validation_accuracy, -epoch.number))


def is_over(history: Sequence[Epoch], epochs: int, patience: int) -> bool:
    """Whether all epochs are done, or the last `patience` of them were not the best."""
    last = history[-1].number
    return last >= epochs or last - best(history).number >= patience


def seed_of(seed: int, *place: int | str) -> int:
    """Return a seed for one place of a training: no random choice hangs on those before it."""
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
