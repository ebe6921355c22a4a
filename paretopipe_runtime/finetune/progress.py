"""How far a training is, in a small JSON file like a sweep's, and shown like one."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.files import offer_json
from paretopipe_runtime.finetune.schedule import Epoch, best

_EVERY_S = 1.0
_RECENT = 50  # batches that the time left is foreseen from


@dataclass(frozen=True)
class Work:
    """How many batches there are: to train on and to validate by in an epoch, and to test."""

    epochs: int
    train: int
    validation: int
    test: int


class Progress:
    """Keep the progress file; the time left is that of all epochs, whether or not it ends early.

    Parameters
    ----------
    path : Path or None
        Where to keep it; None keeps none.
    work : Work
    """

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
        """Time one batch of training."""
        self._epoch, self._step = epoch, step
        began = time.perf_counter()
        yield
        self._train_s.append(time.perf_counter() - began)
        self._step += 1
        self._now_and_then()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Time one batch of an evaluation."""
        began = time.perf_counter()
        yield
        self._evaluate_s.append(time.perf_counter() - began)
        self._now_and_then()

    def epoch(self, history: Sequence[Epoch]) -> None:
        """Take in the epochs that are over."""
        highest = best(history)
        self._epoch, self._step = history[-1].number + 1, 0
        self._text = f"best {100 * highest.validation_accuracy:.1f} % in epoch {highest.number}"
        self.write()

    def left_s(self) -> float | None:
        """Seconds to the end of the last epoch, as far as can be told now."""
        work = self._work
        if not self._evaluate_s or (work.epochs and not self._train_s):
            return None
        steps = max(0, work.epochs * work.train - self._done())
        after = max(0, work.epochs - self._epoch + 1) * work.validation + work.test
        train_s = statistics.median(self._train_s) if self._train_s else 0.0
        return steps * train_s + after * statistics.median(self._evaluate_s)

    def write(self, *, finished: bool = False) -> None:
        """Replace the file; as a sweep's, it ends nothing where it cannot."""
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

    def _now_and_then(self) -> None:
        if time.monotonic() - self._written >= _EVERY_S:
            self.write()
