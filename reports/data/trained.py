"""Trained weights as records describe them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.values import clean, is_count, is_name, is_number

_DATASETS = {
    "cifar10": "CIFAR-10",
    "part of cifar10": "a part of CIFAR-10",
    "digits": "handwritten digits (UCI)",
}
_TEXTS = ("name", "dataset", "base")
_COUNTS = ("image_px", "test_images", "epochs")


@dataclass(frozen=True)
class Trained:
    name: str
    dataset: str
    image_px: int
    accuracy: float  # top-1, on held-out images
    test_images: int
    epochs: int
    base: str

    @property
    def score(self) -> str:
        """Accuracy as in Table I."""
        return (
            f"{100 * self.accuracy:.1f} % on {self.dataset} "
            f"({self.test_images:,} held-out images, {self.image_px}×{self.image_px})"
        )

    @property
    def words(self) -> str:
        start = "random values" if self.base == "none" else self.base
        return f"{self.name}: fine-tuned on {self.dataset} for {self.epochs} epochs from {start}"


def every(records: Iterable[Record]) -> tuple[Trained, ...]:
    """Return the distinct sets, in order of appearance."""
    seen = {id(stated): stated for record in records if (stated := record.get("weights"))}
    found = (trained(stated) for stated in seen.values())
    return tuple(dict.fromkeys(known for known in found if known))


def trained(stated: Any) -> Trained | None:
    """Return a record's trained weights; None if incomplete."""
    if not isinstance(stated, dict):
        return None
    known: dict[str, Any] = {key: stated.get(key) for key in (*_TEXTS, *_COUNTS, "accuracy")}
    whole = all(is_name(known[key]) for key in _TEXTS) and all(
        is_count(known[key]) for key in _COUNTS
    )
    if not (whole and is_number(known["accuracy"]) and 0 <= known["accuracy"] <= 1):
        return None
    texts = {key: clean(known[key]) for key in _TEXTS}
    texts["dataset"] = _DATASETS.get(texts["dataset"], texts["dataset"])
    return Trained(**{**known, **texts})
