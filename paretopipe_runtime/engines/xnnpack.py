"""ExecuTorch with XNNPACK, an optional package: a method of the orchestrator's program.

Of the package only its runtime is loaded, which needs nothing but torch. A program is a flatbuffer,
verified by its digest at every launch. A call keeps the interpreter's lock, so that the stage's
threads for receiving and sending wait for the batch.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any

import torch

from paretopipe_runtime.contract.weights import PROGRAM
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import block_path


def method(stage: StageToLoad) -> str:
    """Return the name of a stage's method in the program."""
    return f"blocks_{stage.first}_{stage.end}"


def load(stage: StageToLoad) -> _Compute:
    """Return the stage's method; raises ``E_ENGINE``."""
    try:
        runtime = _runtime()
    except ImportError as error:
        raise ParetoPipeError(
            "E_ENGINE",
            f"{error} — set runtime_engines: [xnnpack] for this host in the inventory, with torch "
            "2.9 also runtime_versions: {executorch: 1.0.1}, and run playbooks/provision.yml, or "
            "choose -e engine=eager",
        ) from error
    runtime._unsafe_reset_threadpool(len(os.sched_getaffinity(0)))  # nothing where it is so
    path = block_path(stage.store, stage.manifest.program + PROGRAM)
    try:
        program = runtime._load_program(
            str(path), program_verification=runtime.Verification.InternalConsistency
        )
        return _Compute(program, program.load_method(method(stage)))
    except RuntimeError as error:
        raise ParetoPipeError(
            "E_ENGINE",
            f"ExecuTorch cannot load blocks {stage.first}…{stage.end} of {stage.model} from "
            f"{path}: {error} — prepare the cell again, or choose -e engine=eager",
        ) from error


def _runtime() -> Any:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.import_module("executorch.extension.pybindings._C")
    # Before release 1.2 or so, such as 1.0.1, which is for torch 2.9.
    return importlib.import_module("executorch.extension.pybindings._portable_lib")


class _Compute:
    """Calls the method; keeps the program alive that it points to."""

    def __init__(self, program: Any, method: Any) -> None:
        self._program = program
        self._method = method

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._method([tensor.contiguous()])[0]  # a copy: memory is reused
        return output
