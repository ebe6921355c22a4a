"""Crash-safe training checkpoints.

``checkpoint.json`` names the tensor files by sha256. It is replaced only after they are synced;
files it does not name are leftovers.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import digest_of, partial, settle, write_json
from paretopipe_runtime.finetune.progress import Epoch

SCHEMA_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class State:
    """Training position: `step` steps into the epoch after the last in `history`."""

    history: tuple[Epoch, ...]
    step: int = 0
    loss_sum: float = 0.0

    @property
    def epoch(self) -> int:
        """The epoch under way or next."""
        return len(self.history)


@dataclass(frozen=True)
class Checkpoint:
    state: State
    tensors: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor]


class Checkpoints:
    """One training's checkpoints, in its own folder.

    Raises ``E_DISK`` when one cannot be written, ``E_CHECKPOINT`` when one is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "checkpoint.json"
        self._best_sha256 = ""

    def save(self, state: State, tensors: Tensors, best: Tensors | None) -> None:
        """Replace the checkpoint; without `best`, keep the best epoch's tensors."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if best is not None:
                self._best_sha256 = self._write(best)
            named = {"tensors": self._write(tensors), "best": self._best_sha256}
            fields = {**dataclasses.asdict(state), **named}
            write_json(self._file, {"schema_version": SCHEMA_VERSION, **fields})
            self._keep(set(named.values()))
        except (OSError, SafetensorError) as error:
            raise ParetoPipeError(
                "E_DISK",
                f"cannot write a checkpoint to {self._folder}: {error} — free some space there and "
                "give the same command again; it goes on from the checkpoint before",
            ) from error

    def load(self) -> Checkpoint | None:
        if not self._file.exists():
            return None
        try:
            document = json.loads(self._file.read_text())
            if document["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema_version {document['schema_version']}")
            state = _state(document)
            tensors, best = (self._read(document[part]) for part in ("tensors", "best"))
        except (KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
            raise ParetoPipeError(
                "E_CHECKPOINT",
                f"the checkpoint in {self._folder} is damaged: {error} — remove that folder, and "
                "the training starts anew",
            ) from error
        self._best_sha256 = document["best"]
        return Checkpoint(state, tensors, best)

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)  # first, so that it never names a missing file
        self._keep(set())

    def _write(self, tensors: Tensors) -> str:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with partial(self._folder) as unfinished:
            save_file(whole, unfinished)
            sha256 = digest_of(unfinished)
            settle(unfinished, self._path(sha256))
        return sha256

    def _read(self, sha256: Any) -> dict[str, torch.Tensor]:
        # Checked because it becomes a file name.
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ValueError("it names no file")
        if digest_of(self._path(sha256)) != sha256:
            raise ValueError(f"{sha256}.safetensors has another content")
        return dict(load_file(self._path(sha256)))

    def _keep(self, digests: set[str]) -> None:
        kept = {self._path(sha256) for sha256 in digests}
        for path in (*self._folder.glob("*.safetensors"), *self._folder.glob(".*.partial")):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.safetensors"


def _state(document: dict[str, Any]) -> State:
    history = tuple(Epoch(**epoch) for epoch in document["history"])
    state = State(history, int(document["step"]), float(document["loss_sum"]))
    if [epoch.number for epoch in history] != [*range(len(history))] or not history:
        raise ValueError("its epochs are not 0, 1, 2 …")
    if state.step < 0 or not math.isfinite(state.loss_sum):
        raise ValueError("its step is none")
    return state
