"""Weights once for all of these tests, and stages loaded as a worker loads them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from paretopipe_runtime import engines, golden
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.models import boundaries as partition
from paretopipe_runtime.weights import make_seeded_weights
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.devices import memory
from tests.shared import one_thread as one_thread
from tests.shared import store as store

Stage = Callable[..., StageToLoad]


@pytest.fixture
def stage(store: Path, tmp_path: Path) -> Stage:
    """Describe the blocks [first, end) of a model with an empty cache, for small images."""

    def describe(
        name: str, first: int = 0, end: int | None = None, *, seed: int = 0, batch: int = 2
    ) -> StageToLoad:
        manifest = make_seeded_weights(name, 10, seed, store)
        return StageToLoad(
            model=name,
            classes=10,
            manifest=manifest,
            store=store,
            first=first,
            end=model_info(name).blocks if end is None else end,
            takes=boundaries(name, batch)[first],
            cache=tmp_path / "cache",
        )

    return describe


@functools.cache
def boundaries(name: str, batch: int) -> list[Tensor]:
    """The tensors at every boundary of a model with small images."""
    return partition.boundary_shapes(name, 10, batch, small(name))


def small(name: str) -> int:
    """Pixels that every model takes and that make the tests quick."""
    return 96 if name == "inceptionv3" else 64


def inputs(stage: StageToLoad, seed: int = 0) -> np.ndarray:
    """A batch of images that fits the model's first stage."""
    return golden.input_batches(stage.takes.shape[0], stage.takes.shape[2], 1, seed)[0]


def compute(engine: str, stage: StageToLoad, array: np.ndarray) -> np.ndarray:
    """Load the stage and give it one batch through buffers such as the socket backend's."""
    layout = ENGINES[engine].layout
    function = engines.load(engine, stage)
    given, buffer = memory.empty(stage.takes, layout)
    buffer[:] = memory.as_bytes(torch.from_numpy(array), layout)
    with torch.inference_mode():
        output = function(given)
    form = Tensor(tuple(output.shape), "float32", output.numel() * 4)
    received, buffer = memory.empty(form, layout)
    buffer[:] = memory.as_bytes(output, layout)
    return received.numpy()
