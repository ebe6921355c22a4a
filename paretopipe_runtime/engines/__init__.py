"""Execution engines: what computes a stage. A factor of the experiment, never mixed in a cell.

``eager``, the paper's, is the default. An engine is a row of `contract.factors.ENGINES` and one
file here, of its name, with a function::

    load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]

which raises `ParetoPipeError` (``E_ENGINE``) with what to do where the engine cannot run. This file
needs no torch: the process that measures reads it too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paretopipe_runtime.contract.factors import ENGINES

if TYPE_CHECKING:
    import torch

    from paretopipe_runtime.contract.weights import WeightsManifest
    from paretopipe_runtime.wire.frames import Tensor


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


def load(name: str, stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the stage as a function from its input to its output, computed by engine `name`."""
    module = importlib.import_module(f"{__name__}.{ENGINES[name].name}")
    compute: Callable[[torch.Tensor], torch.Tensor] = module.load(stage)
    return compute
