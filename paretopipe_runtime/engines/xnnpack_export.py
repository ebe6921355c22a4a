"""Export stages as one ExecuTorch program, lowered to XNNPACK in float32, a method each.

Runs on the orchestrator, because it takes ten seconds a stage on a PC. All stages share the
weights, so a program of all splits is little larger than the model.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from paretopipe_runtime.engines import StageToLoad, channels_last
from paretopipe_runtime.engines.xnnpack import method
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import load_stage


def write(stages: Sequence[StageToLoad], path: Path) -> None:
    """Write the stages' program; raises ``E_ENGINE``, or as `load_stage`."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the packages', of their own internals
        program = _program(stages)
    with path.open("wb") as file:
        program.write_to_file(file)


def _program(stages: Sequence[StageToLoad]) -> Any:
    try:
        from executorch import exir
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
            XnnpackFloatingPointPartitioner,
        )
    except ImportError as error:
        raise ParetoPipeError(
            "E_ENGINE",
            f"{error} — set runtime_engines: [xnnpack, xnnpack-export] for the orchestrator in the "
            "inventory and run playbooks/provision.yml, or choose -e engine=eager",
        ) from error
    config = exir.EdgeCompileConfig(_check_ir_validity=False)  # as XNNPACK's own
    kept: dict[bytes, bytes] = {}
    methods = {}
    for stage in stages:
        modules = load_stage(
            stage.model, stage.classes, stage.manifest, stage.store, stage.first, stage.end
        )
        channels_last.fold(modules)  # half the nodes are half the time
        for layer in modules.modules():
            if isinstance(layer, nn.ReLU | nn.ReLU6 | nn.Dropout):
                layer.inplace = False  # a stage's input may not be changed
        with _PaddedFirst():
            exported = torch.export.export(modules, (torch.zeros(stage.takes.shape),))
        name = method(stage)
        lowered = exir.to_edge_transform_and_lower(
            {name: exported},
            partitioner=[XnnpackFloatingPointPartitioner()],
            compile_config=config,
        )
        methods[name] = lowered.exported_program(name)
        _share(methods[name].graph_module, kept)
    return exir.EdgeProgramManager(methods, compile_config=config).to_executorch()


class _PaddedFirst(TorchFunctionMode):
    """Pad before averages are pooled: XNNPACK's count no padding, ExecuTorch's own are slow."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is functional.avg_pool2d and (padding := kwargs.pop("padding", 0)):
            args = (functional.pad(args[0], [padding] * 4), *args[1:])
        return func(*args, **kwargs)


def _share(graph: torch.fx.GraphModule, kept: dict[bytes, bytes]) -> None:
    """Keep weights in memory once, however many stages have them."""
    for module in graph.modules():
        data: Any = getattr(module, "named_data_store_output", None)
        if data is not None:
            data.buffers[:] = [
                kept.setdefault(hashlib.sha256(buffer).digest(), buffer) for buffer in data.buffers
            ]
