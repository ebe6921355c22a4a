"""Execution engines: what computes a stage. A factor of the experiment, never mixed in a cell.

``eager``, the paper's, is the default. An engine is one file here with a function::

    load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]

which raises `ParetoPipeError` (``E_ENGINE``) with what to do where the engine cannot run. This file
needs no torch: the process that measures reads it too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paretopipe_runtime.errors import ParetoPipeError

if TYPE_CHECKING:
    import torch

    from paretopipe_runtime.weights import WeightsManifest
    from paretopipe_runtime.wire.frames import Tensor

#: How the elements of an image-like tensor (batch, channels, height, width) lie in memory.
Layout = Literal["contiguous", "channels_last"]


@dataclass(frozen=True)
class Engine:
    """An engine's name, its file, and what holds for it everywhere.

    `tolerance` is the largest relative error of its logits against the unsplit eager model's that
    still counts as the same answer. `layout` is how its stages take and give tensors, and so how
    they travel. `cuda`: whether its stages can be moved to a GPU; the others are made for the
    processor.
    """

    name: str
    module: str
    tolerance: float
    layout: Layout = "contiguous"
    cuda: bool = False


@dataclass(frozen=True)
class StageToLoad:
    """The blocks [first, end) of a model, where their weights are, and what they will be given.

    `cache` is a folder of the node's own in which an engine keeps what it prepared, by digest.
    """

    model: str
    classes: int
    manifest: WeightsManifest
    store: Path
    first: int
    end: int
    takes: Tensor
    cache: Path


_PLACE = "paretopipe_runtime.engines"
_KNOWN = (
    Engine("eager", f"{_PLACE}.eager", 5e-5, cuda=True),
    Engine("channels_last", f"{_PLACE}.channels_last", 1e-4, "channels_last", cuda=True),
    Engine("onnxruntime", f"{_PLACE}.onnxruntime", 1e-4),
    Engine("compile", f"{_PLACE}.compile", 1e-4, "channels_last"),
)
ENGINES = {engine.name: engine for engine in _KNOWN}


def check_device(name: str, device: str, host: str) -> None:
    """Refuse an engine on a device that it does not compute on.

    Raises
    ------
    ParetoPipeError
        ``E_ENGINE``, which names the engines that do.
    """
    if device != "cpu" and not ENGINES[name].cuda:
        able = " or ".join(f"-e engine={engine.name}" for engine in _KNOWN if engine.cuda)
        raise ParetoPipeError(
            "E_ENGINE",
            f"engine {name} computes on processors only, and {host} is to compute on {device} — "
            f"choose {able}, or set worker_device: cpu for {host} in the inventory",
        )


def load(name: str, stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the stage as a function from its input to its output, computed by engine `name`."""
    module = importlib.import_module(ENGINES[name].module)
    compute: Callable[[torch.Tensor], torch.Tensor] = module.load(stage)
    return compute
