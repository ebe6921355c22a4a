"""ExecuTorch with XNNPACK, an optional package: a method of the orchestrator's program.

Of the package only its runtime is loaded, which needs nothing but torch. A program is a flatbuffer,
verified by its digest at every launch.
"""

from __future__ import annotations

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
        from executorch.extension.pybindings import _C as runtime
    except ImportError as error:
        raise ParetoPipeError(
            "E_ENGINE",
            f"{error} — set runtime_engines: [xnnpack] for this host in the inventory and run "
            "playbooks/provision.yml, or choose -e engine=eager",
        ) from error
    threads = len(os.sched_getaffinity(0))
    if runtime._threadpool_get_thread_count() != threads:  # loaded methods keep the pool
        runtime._unsafe_reset_threadpool(threads)
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


class _Compute:
    """Calls the method; keeps the program alive that it points to."""

    def __init__(self, program: Any, method: Any) -> None:
        self._program = program
        self._method = method

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._method([tensor.contiguous()])[0]  # a copy: memory is reused
        return output
