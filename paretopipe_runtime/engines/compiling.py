"""Compile a stage in a child process: a JSON job on standard input, a library out.

Separate because compiling takes hundreds of megabytes and must be killable.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paretopipe_runtime import forked
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.engines import StageToLoad, channels_last
from paretopipe_runtime.wire.frames import Tensor

_OPTIONS = {
    # Weights are set when the library is opened.
    "aot_inductor.package_constants_in_so": False,
    # The wrapper around the kernels: negligible in a run, most of the time in compiling.
    "aot_inductor.compile_wrapper_opt_level": "O0",
    "compile_threads": 1,
}


def main() -> None:
    forked.die_with(os.getppid())
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
    modules = channels_last.load(stage)
    for layer in modules.modules():
        if isinstance(layer, nn.ReLU | nn.ReLU6 | nn.Dropout):
            layer.inplace = False  # or the library would overwrite its input
    given = torch.zeros(stage.takes.shape, dtype=getattr(torch, stage.takes.dtype))
    if given.dim() == 4:
        given = given.contiguous(memory_format=torch.channels_last)
    from torch import _inductor

    with torch.no_grad():
        exported = torch.export.export(modules, (given,)).module()
        _inductor.aot_compile(
            exported, (given,), options={**_OPTIONS, "aot_inductor.output_path": job["output"]}
        )


if __name__ == "__main__":
    main()
