"""What trained weights come from and how good they are: part of their manifest and its digest."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

_LONGEST = 200  # characters of a text


@dataclass(frozen=True)
class Origin:
    """The training that made a model's weights.

    Nothing here says when or where: the same training twice is the same origin.

    Attributes
    ----------
    dataset, dataset_sha256 : str
        What it is called, and the digest over its images and labels.
    train_images, validation_images, test_images : int
        Trained on; chosen by, as the best epoch was; and neither: what `accuracy` was found on.
    image_px : int
        The side of the images that the model saw.
    accuracy : float
        The share of the test images whose class has the largest logit (top-1).
    base, base_sha256 : str
        What the training started from, ``none`` for random values, and its file's digest.
    epochs, best_epoch : int
        How many there were before it ended, and which one these weights are of; 0 is the base.
    batch, lr, seed
        Images a step, the largest learning rate, and what every random choice hangs on.
    """

    dataset: str
    dataset_sha256: str
    train_images: int
    validation_images: int
    test_images: int
    image_px: int
    accuracy: float
    base: str
    base_sha256: str
    epochs: int
    best_epoch: int
    batch: int
    lr: float
    seed: int

    @classmethod
    def from_json(cls, document: Any) -> Origin:
        """Check a JSON object and return the origin in it.

        Raises
        ------
        ValueError, TypeError
            What is wrong with it.
        """
        if not isinstance(document, dict):
            raise ValueError("its origin is no object")
        origin = cls(**document)
        for field in fields(cls):
            _check(field.name, str(field.type), getattr(origin, field.name))
        if not 0 <= origin.accuracy <= 1:
            raise ValueError(f"its origin's accuracy is {origin.accuracy}, expected 0 to 1")
        return origin


def _check(name: str, kind: str, value: Any) -> None:
    sound = {
        "str": isinstance(value, str) and len(value) <= _LONGEST and value.isprintable(),
        "int": isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        "float": isinstance(value, float) and math.isfinite(value),
    }
    if not sound[kind]:
        raise ValueError(f"its origin's {name} is no {kind} that one can be")
