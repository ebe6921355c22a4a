"""A training's epochs, and its progress file in the format of a sweep's."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.files import offer_json

_EVERY_S = 1.0
_RECENT = 50  # batches that the forecast is based on


@dataclass(frozen=True)
class Epoch:
    """Losses and accuracy of one epoch; epoch 0 evaluates the starting values."""

    number: int
    train_loss: float | None
    validation_loss: float
    validation_accuracy: float


def best(history: Sequence[Epoch]) -> Epoch:
    """Return the first epoch with the highest accuracy."""
    return max(history, key=lambda epoch: (epoch.validation_accuracy, -epoch.number))


def is_over(history: Sequence[Epoch], epochs: int, patience: int) -> bool:
    """Say whether all epochs are done, or the last `patience` of them brought no improvement."""
    last = history[-1].number
    return last >= epochs or last - best(history).number >= patience


@dataclass(frozen=True)
class Work:
    """Numbers of batches: `train` and `validation` per epoch, `test` once."""

    epochs: int
    train: int
    validation: int
    test: int


class Progress:
    """Keep the progress file at `path`, if any; the time left assumes no early stop."""

    def __init__(self, path: Path | None, work: Work) -> None:
        self._path, self._work = path, work
        self._train_s: deque[float] = deque(maxlen=_RECENT)
        self._evaluate_s: deque[float] = deque(maxlen=_RECENT)
        self._epoch, self._step = 0, 0
        self._text = ""
        self._written = self._began = time.monotonic()
        self.write()

    @contextmanager
    def training(self, epoch: int, step: int) -> Iterator[None]:
        self._epoch, self._step = epoch, step
        with self._timed(self._train_s):
            yield
            self._step += 1

    def evaluating(self) -> AbstractContextManager[None]:
        return self._timed(self._evaluate_s)

    def epoch(self, history: Sequence[Epoch]) -> None:
        highest = best(history)
        self._epoch, self._step = history[-1].number + 1, 0
        self._text = f"best {100 * highest.validation_accuracy:.1f} % in epoch {highest.number}"
        self.write()

    def left_s(self) -> float | None:
        """Return the forecast in seconds, None until batches have been timed."""
        work = self._work
        if not self._evaluate_s or (work.epochs and not self._train_s):
            return None
        steps = max(0, work.epochs * work.train - self._done())
        after = max(0, work.epochs - self._epoch + 1) * work.validation + work.test
        train_s = statistics.median(self._train_s) if self._train_s else 0.0
        return steps * train_s + after * statistics.median(self._evaluate_s)

    def write(self, *, finished: bool = False) -> None:
        """Replace the file; disk errors are ignored."""
        self._written = time.monotonic()
        if self._path is None:
            return
        shown = min(self._epoch, self._work.epochs)
        words = [f"epoch {shown}/{self._work.epochs}", self._text]
        state: dict[str, Any] = {
            "noun": "batches",
            "runs_total": self._work.epochs * self._work.train,
            "runs_done": self._done(),
            "current": ", ".join(word for word in words if word),
            "elapsed_s": round(self._written - self._began, 1),
            "left_s": None if (left := self.left_s()) is None else round(left, 1),
            "finished": finished,
        }
        offer_json(self._path, state)

    def _done(self) -> int:
        before = max(0, self._epoch - 1) * self._work.train
        return min(before + self._step, self._work.epochs * self._work.train)

    @contextmanager
    def _timed(self, seconds: deque[float]) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds.append(time.perf_counter() - began)
        if time.monotonic() - self._written >= _EVERY_S:
            self.write()
