"""Execution engines, which compute a stage; a factor of the experiment.

A new engine is a row of `contract.factors.ENGINES` and a file of its name here with a function::

    load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]

that raises ``E_ENGINE``, with advice, where it cannot run. This file must not import torch.
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
    """Blocks [first, end) of a model with their weights and input.

    `cache` is the node's folder for prepared artefacts. `wait` is called now and then by an engine
    that takes minutes; None where other stages wait for this one and would give up.
    """

    model: str
    classes: int
    manifest: WeightsManifest
    store: Path
    first: int
    end: int
    takes: Tensor
    cache: Path
    wait: Callable[[], None] | None = None


def load(name: str, stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Load the stage with engine `name`."""
    module = importlib.import_module(f"{__name__}.{ENGINES[name].name}")
    compute: Callable[[torch.Tensor], torch.Tensor] = module.load(stage)
    return compute
