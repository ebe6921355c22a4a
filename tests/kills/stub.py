"""A stage process without torch: a model of tiny blocks, computed in milliseconds.

Twenty-one blocks under MobileNetV2's names, and as much of torch's interface as a stage uses, on
numpy. The worker's own code runs on it unchanged: agent, fork server, stage, backend, frames. Run
as a program it is the worker's fork server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paretopipe_runtime import golden, weights
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Workload
from paretopipe_runtime.contract.weights import BlockWeights, WeightsManifest
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.orchestrator.prepared import INPUT_BATCHES, INPUT_SEED

WIDTH = 16384  # elements an image between blocks: 128 KiB a batch of two, more than one small frame
BLOCKS = 21


class Storage:
    """The memory that a tensor lies in."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def data_ptr(self) -> int:
        base = self._array
        while isinstance(base.base, np.ndarray):
            base = base.base
        return int(base.__array_interface__["data"][0])


class Tensor:
    """A contiguous array in host memory."""

    requires_grad = False
    is_cpu = True

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._array.dtype)

    def dim(self) -> int:
        return self._array.ndim

    def numel(self) -> int:
        return self._array.size

    def contiguous(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self._array

    def untyped_storage(self) -> Storage:
        return Storage(self._array)


def empty(shape: tuple[int, ...], *, dtype: Any, memory_format: Any, pin_memory: bool) -> Tensor:
    assert memory_format == "contiguous"
    assert not pin_memory
    return Tensor(np.empty(shape, dtype))


def install_torch() -> None:
    """Let ``import torch`` find this module's torch in this process."""
    torch: Any = types.ModuleType("torch")
    torch.__version__ = "none"
    torch.Tensor, torch.empty, torch.from_numpy = Tensor, empty, Tensor
    torch.float32, torch.bfloat16 = np.dtype("float32"), object()
    torch.contiguous_format = "contiguous"
    torch.set_num_threads = lambda _count: None
    torch.inference_mode = contextlib.nullcontext
    torch.cuda = types.SimpleNamespace(OutOfMemoryError=type("OutOfMemoryError", (Exception,), {}))
    sys.modules["torch"] = torch


def shape(boundary: int, batch: int, image_px: int, classes: int) -> tuple[int, ...]:
    """The tensor between block `boundary` and the next."""
    if boundary == 0:
        return (batch, 3, image_px, image_px)
    return (batch, classes if boundary == BLOCKS else WIDTH)


def compute(array: np.ndarray, first: int, end: int, classes: int) -> np.ndarray:
    """The blocks [first, end): every one depends on all that came before it."""
    for block in range(first, end):
        width = classes if block + 1 == BLOCKS else WIDTH
        array = np.resize(array * np.float32(1.01) + np.float32(0.01 * block), (len(array), width))
    return array


def load(stage: StageToLoad) -> Callable[[Any], Any]:
    """As an engine's `load`; the weights' files have been checked by then, and say nothing more."""

    def call(tensor: Tensor) -> Tensor:
        return Tensor(compute(tensor.numpy(), stage.first, stage.end, stage.classes))

    return call


def make(workload: Workload, state_dir: Path, folder: Path) -> dict[str, Any]:
    """In place of `prepared._make`: the same facts of the stub's model, without torch."""
    store = state_dir / "weights"
    store.mkdir(parents=True, exist_ok=True)
    blocks = []
    for name in model_info(workload.model).block_names:
        content = f"the weights of {name}".encode() + b"\n" * 50
        sha256 = hashlib.sha256(content).hexdigest()
        weights.block_path(store, sha256).write_bytes(content)
        blocks.append(BlockWeights(name, sha256, len(content), 1))
    manifest = WeightsManifest(workload.model, workload.classes, "stub", tuple(blocks))
    batches = golden.input_batches(
        workload.batch_size, workload.image_px, INPUT_BATCHES, INPUT_SEED
    )
    logits = [compute(batch, 0, BLOCKS, workload.classes) for batch in batches]
    np.save(folder / "reference.npy", np.stack(logits), allow_pickle=False)
    shapes = [
        shape(k, workload.batch_size, workload.image_px, workload.classes)
        for k in range(BLOCKS + 1)
    ]
    return {
        "manifest": manifest.to_json(),
        "weights_digest": manifest.digest,
        "boundaries": [(form, "float32", 4 * int(np.prod(form))) for form in shapes],
        "flops": [1] * BLOCKS,
        "input_digest": golden.input_digest(batches),
    }


def install_engine() -> None:
    """Let `eager` be the stub's engine in this process."""
    sys.modules["paretopipe_runtime.engines.eager"] = sys.modules[__name__]


def only_one_thread() -> None:
    """Before numpy is imported: a process that forks has no threads."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def main() -> None:
    install_torch()
    install_engine()
    from paretopipe_runtime import environment
    from paretopipe_runtime.worker import forkserver, stage
    from paretopipe_runtime.worker.backends import socket as socket_backend

    environment.BOOT_ID = os.environ["PARETOPIPE_TEST_BOOT_ID"]  # see `agent.own_boot`
    environment.ROOT = Path(os.environ.get("PARETOPIPE_TEST_ROOT", "/"))
    forkserver.warm = lambda: (stage, socket_backend)
    forkserver.main(int(sys.argv[1]))


if __name__ == "__main__":
    main()
