"""A training's options and the recipe they resolve to."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.lines import canonical
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.weights import check_name
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.base import Base
from paretopipe_runtime.finetune.images import Dataset

#: Raise it when the same settings make other weights, so that old checkpoints do not continue.
RECIPE = 1
#: Peak learning rates for random and for trained starting values.
_LR_SCRATCH, _LR_BASE = 0.05, 0.01


@dataclass(frozen=True)
class Settings:
    """A training as asked for; None picks a default."""

    model: str
    weights: str = "finetuned"
    dataset: str = "cifar10"
    pretrained: str = "imagenet"
    classes: int | None = None
    image_px: int | None = None
    epochs: int = 20
    batch: int = 64
    lr: float | None = None
    patience: int = 5
    seed: int = 0
    device: str = "auto"

    def checked(self) -> Settings:
        """Return these settings if valid, or raise ``E_MODEL`` or ``E_OPTION``."""
        model_info(self.model)
        check_name(self.weights)
        least = {"epochs": 0, "batch": 2, "patience": 1, "seed": 0, "image_px": 1, "classes": 2}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                option = name.removesuffix("_px")
                raise ParetoPipeError(
                    "E_OPTION", f"{option}={value}, expected {lowest} or more — choose another"
                )
        if self.lr is not None and not (math.isfinite(self.lr) and 0 < self.lr <= 10):
            raise ParetoPipeError(
                "E_OPTION", f"lr={self.lr}, expected above 0 and up to 10 — write e.g. lr=0.01"
            )
        return self

    @property
    def image(self) -> int:
        return self.image_px or model_info(self.model).image_px


@dataclass(frozen=True)
class Recipe:
    """A training with every option resolved; equal recipes make equal weights on equal machines."""

    model: str
    classes: int
    image_px: int
    epochs: int
    batch: int
    lr: float
    patience: int
    seed: int
    dataset_sha256: str
    base_sha256: str
    flip: bool

    @classmethod
    def of(cls, settings: Settings, dataset: Dataset, base: Base) -> Recipe:
        """Resolve `settings`; ``E_OPTION`` for fewer classes than the data set has."""
        classes = settings.classes or dataset.classes
        if classes < dataset.classes:
            raise ParetoPipeError(
                "E_OPTION",
                f"classes={classes}, and data set {dataset.name} has {dataset.classes} — leave "
                "classes out, or give as many or more",
            )
        return cls(
            model=settings.model,
            classes=classes,
            image_px=settings.image,
            epochs=settings.epochs,
            batch=settings.batch,
            lr=settings.lr or (_LR_SCRATCH if base.tensors is None else _LR_BASE),
            patience=settings.patience,
            seed=settings.seed,
            dataset_sha256=dataset.sha256,
            base_sha256=base.sha256,
            flip=dataset.flip,
        )

    @property
    def key(self) -> str:
        """16 hex digits that name the recipe's checkpoints."""
        identity: dict[str, Any] = {"recipe": RECIPE, **vars(self)}
        return hashlib.sha256(canonical(identity)).hexdigest()[:16]
