"""ONNX Runtime, an optional package: the stage as one optimised graph.

Only the graph is cached, some tens of kilobytes; weights are mapped from the safetensors files.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paretopipe_runtime.contract.models import is_onnx
from paretopipe_runtime.engines import StageToLoad, cache
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.weights import block_path, places


def load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the stage as an ONNX Runtime session.

    Raises ``E_ENGINE``, ``E_WEIGHTS`` for a missing or short weights file, or ``E_DISK``.
    """
    files = _files(stage)
    key = cache.key(stage, torchvision=importlib.metadata.version("torchvision"))
    folder = stage.cache / "onnxruntime"
    path = cache.find_or_make(folder, key, ".onnx", lambda path: _export(stage, files, path))
    try:
        return _Compute(session(path.read_bytes(), stage.store))
    except ImportError as error:
        raise missing(error, stage.model) from error
    except Exception as error:  # onnxruntime's exception classes are not public
        advice = "" if is_onnx(stage.model) else " — choose -e engine=eager"
        raise ParetoPipeError(
            "E_ENGINE",
            f"onnxruntime cannot run blocks {stage.first}…{stage.end} of {stage.model}: "
            f"{error}{advice}",
        ) from error


def session(model: bytes | str, folder: Path, *, plain: bool = False) -> Any:
    """Return a session of a model, its bytes or its path, as every stage is run.

    Parameters
    ----------
    folder : Path
        Where its weights are, if they are not in it.
    plain : bool
        Computed node by node, without any optimisation.

    Raises
    ------
    ImportError
        Without the package.
    Exception
        Of onnxruntime's own classes, for what it cannot run.
    """
    # The pinned version has no telemetry; later ones would send, and write to the home folder, from
    # threads that disturb the measurement.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take the processor from those that send and receive.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class _Compute:
    """Run the session on torch's memory, without copies."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._input, self._output = (
            end[0].name for end in (session.get_inputs(), session.get_outputs())
        )
        # A graph from a user's file may not tell, until the first batch went through it.
        said = session.get_outputs()[0].shape
        self._shape = tuple(said) if all(isinstance(size, int) for size in said) else None

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.contiguous()
        if self._shape is None:
            (first,) = self._session.run(None, {self._input: tensor.numpy()})
            self._shape = first.shape
            return torch.from_numpy(first)
        output = torch.empty(self._shape)
        cpu = ("cpu", 0, np.float32)
        self._binding.bind_input(self._input, *cpu, tuple(tensor.shape), tensor.data_ptr())
        self._binding.bind_output(self._output, *cpu, self._shape, output.data_ptr())
        self._session.run_with_iobinding(self._binding)
        return output


def _export(stage: StageToLoad, files: list[Path], path: Path) -> None:
    try:
        if is_onnx(stage.model):
            from paretopipe_runtime.engines import onnx_stage

            path.write_bytes(onnx_stage.build(files, stage.takes.shape))
            return
        from paretopipe_runtime.engines.onnx_export import build
        from paretopipe_runtime.engines.onnx_graph import StoredTensor
    except ImportError as error:
        raise missing(error, stage.model) from error
    blocks = build_blocks(stage.model, stage.classes, first=stage.first, end=stage.end)
    modules = torch.nn.Sequential(*(module for _, module in blocks))
    stored = {
        f"{index}.{name}": StoredTensor(file.name, place.offset, place.nbytes)
        for index, file in enumerate(files)
        for name, place in places(file).items()
        if place.kind == "F32"
    }
    path.write_bytes(build(modules, stage.takes.shape, stored))


def _files(stage: StageToLoad) -> list[Path]:
    """Return the blocks' files, or raise ``E_WEIGHTS`` for a missing or short one."""
    files = []
    for block in stage.manifest.blocks[stage.first : stage.end]:
        path = block_path(stage.store, block.sha256)
        size = path.stat().st_size if path.exists() else None
        if size != block.nbytes:
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"cannot load {stage.model}'s block {block.name} from {path}: "
                f"{'missing' if size is None else f'{size} bytes'}, expected {block.nbytes} bytes "
                "— remove that file and prepare the cell again",
            )
        files.append(path)
    return files


def missing(error: ImportError, model: str) -> ParetoPipeError:
    """Return what is said on a host without a package."""
    advice = "" if is_onnx(model) else ", or choose -e engine=eager"
    return ParetoPipeError(
        "E_ENGINE",
        f"{error} — set runtime_engines: [onnxruntime] for this host in the inventory and run "
        f"playbooks/provision.yml{advice}",
    )
