"""The process in which a stage is compiled: a job as JSON on its standard input, a library out.

Apart from the stage because compiling takes hundreds of megabytes, and so that it can be stopped.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.engines.channels_last import load_modules
from paretopipe_runtime.wire.frames import Tensor

_PR_SET_PDEATHSIG = 1
_OPTIONS = {
    # Weights are given to the library when it is opened.
    "aot_inductor.package_constants_in_so": False,
    # The code that calls the kernels: no time is spent there in a run, but most of it in compiling.
    "aot_inductor.compile_wrapper_opt_level": "O0",
    "compile_threads": 1,
}


def main() -> None:
    """Compile what the job says."""
    _end_with_parent()
    job: dict[str, Any] = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    stage = StageToLoad(
        job["model"],
        job["classes"],
        WeightsManifest.from_json(job["manifest"]),
        Path(job["store"]),
        job["first"],
        job["end"],
        Tensor(tuple(job["shape"]), job["dtype"], 0),
        Path(job["output"]).parent,
    )
    modules = load_modules(stage)
    for layer in modules.modules():
        if isinstance(layer, nn.ReLU | nn.ReLU6 | nn.Dropout):
            layer.inplace = False  # or the library would write its input back
    given = torch.zeros(stage.takes.shape, dtype=getattr(torch, stage.takes.dtype))
    if given.dim() == 4:
        given = given.contiguous(memory_format=torch.channels_last)
    from torch import _inductor

    with torch.no_grad():
        exported = torch.export.export(modules, (given,)).module()
        _inductor.aot_compile(
            exported, (given,), options={**_OPTIONS, "aot_inductor.output_path": job["output"]}
        )


def _end_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
