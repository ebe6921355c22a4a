"""Training by SGD, with early stop and checkpoints, and evaluation.

Random choices derive from seed, epoch and step alone, so a training that was killed continues with
the same steps.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.checkpoints import Checkpoints, State
from paretopipe_runtime.finetune.images import Dataset, Images, augmented, prepared
from paretopipe_runtime.finetune.network import Network
from paretopipe_runtime.finetune.progress import Epoch, Progress, best, is_over
from paretopipe_runtime.finetune.settings import Recipe

MOMENTUM, WEIGHT_DECAY, LARGEST_GRADIENT = 0.9, 5e-4, 5.0
#: Seconds between checkpoints within an epoch; each epoch ends with one.
CHECKPOINT_S = 300.0
_WARM_UP = 0.1  # of all steps


class Stopped(Exception):
    """Told to stop; the checkpoint continues the training."""


class Training:
    """One recipe's training on one device; `stop` is polled before every batch."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        network: Network,
        device: torch.device,
        checkpoints: Checkpoints,
        progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self._recipe, self._dataset, self._device = recipe, dataset, device
        self._checkpoints, self._progress, self._stop = checkpoints, progress, stop
        self._network = network.to(device)
        self._optimizer = torch.optim.SGD(
            network.parameters(), recipe.lr, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
        )
        self._saved = time.monotonic()
        self._state = State(())

    def run(self) -> tuple[Epoch, ...]:
        """Train to the end, load the best epoch into the network, return all epochs.

        Raises
        ------
        Stopped
            When `stop` is true.
        ParetoPipeError
            ``E_DIVERGED`` when the loss is not finite, ``E_DISK``, ``E_CHECKPOINT``, ``E_DATA``.
        """
        recipe = self._recipe
        found = self._checkpoints.load()
        if found:
            self._go_on(found.state, found.tensors)
        else:
            self._end_epoch(None)  # epoch 0 evaluates the starting values
        while not is_over(self._state.history, recipe.epochs, recipe.patience):
            self._end_epoch(self._train_epoch())
        last = self._checkpoints.load()
        assert last is not None
        self._network.fill(last.best)
        return self._state.history

    def _train_epoch(self) -> float:
        """Take the epoch's remaining steps and return its mean loss."""
        recipe, epoch = self._recipe, self._state.epoch
        places = self._places(epoch)
        total = len(places) * recipe.epochs
        self._network.train()
        for step in range(self._state.step, len(places)):
            if self._stop():
                self._save(None)
                raise Stopped
            if time.monotonic() - self._saved > CHECKPOINT_S:
                self._save(None)
            rate = learning_rate((epoch - 1) * len(places) + step, total, recipe.lr)
            with self._progress.training(epoch, step):
                loss = self._step(places[step], epoch, step, rate)
            if not math.isfinite(loss):
                raise ParetoPipeError(
                    "E_DIVERGED",
                    f"the loss is {loss} in step {step + 1} of epoch {epoch}: it learns too fast — "
                    f"fine-tune with a smaller lr than {recipe.lr:g}",
                )
            self._state = replace(self._state, step=step + 1, loss_sum=self._state.loss_sum + loss)
        return self._state.loss_sum / len(places)

    def _places(self, epoch: int) -> list[torch.Tensor]:
        """Shuffled batches; a single image is dropped, as batch normalisation needs a variance."""
        source = torch.Generator().manual_seed(seed_of(self._recipe.seed, "order", epoch))
        order = torch.randperm(len(self._dataset.train), generator=source)
        return [part for part in torch.split(order, self._recipe.batch) if len(part) > 1]

    def _step(self, places: torch.Tensor, epoch: int, step: int, rate: float) -> float:
        recipe, train = self._recipe, self._dataset.train
        place = seed_of(recipe.seed, epoch, step)
        torch.manual_seed(place)  # for dropout
        pixels = augmented(train.load(places), place, flip=recipe.flip)
        labels = train.labels[places].to(self._device)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        logits = self._network(prepared(pixels.to(self._device), recipe.image_px))
        loss = functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        return float(loss.detach())

    def _end_epoch(self, train_loss: float | None) -> None:
        recipe, held_out = self._recipe, self._dataset.validation
        places = (recipe.image_px, recipe.batch, self._device)
        try:
            score = evaluate(self._network, held_out, *places, self._progress, self._stop)
        except Stopped:
            if self._state.history:  # so that the epoch's steps are not repeated
                self._save(None)
            raise
        number = self._state.epoch
        epoch = Epoch(number, train_loss, score.loss, score.accuracy)
        self._state = State((*self._state.history, epoch))
        is_best = best(self._state.history) is epoch
        self._save(self._network.tensors() if is_best else None)
        self._progress.epoch(self._state.history)

    def _save(self, improved: dict[str, torch.Tensor] | None) -> None:
        own = self._network.tensors()
        momentum = {
            f"momentum/{name}": self._optimizer.state[tensor]["momentum_buffer"]
            for name, tensor in own.items()
            if "momentum_buffer" in self._optimizer.state.get(tensor, {})
        }
        model = {f"model/{name}": tensor for name, tensor in own.items()}
        self._checkpoints.save(self._state, {**model, **momentum}, improved)
        self._saved = time.monotonic()

    def _go_on(self, state: State, tensors: dict[str, torch.Tensor]) -> None:
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "momentum": {}}
        for name, tensor in tensors.items():
            part, _, inside = name.partition("/")
            parts[part][inside] = tensor
        self._network.fill(parts["model"])
        own = self._network.tensors()
        for name, buffer in parts["momentum"].items():
            self._optimizer.state[own[name]]["momentum_buffer"] = buffer.to(self._device)
        self._state = state
        self._progress.epoch(state.history)


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
    for places in torch.split(torch.arange(len(images)), batch):
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


def learning_rate(step: int, steps: int, largest: float) -> float:
    """Return the rate of step 0 … steps-1: linear warm-up, then cosine decay."""
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return largest * (step + 1) / warm
    return largest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def seed_of(seed: int, *place: int | str) -> int:
    """Derive an independent seed for one place of a training."""
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
