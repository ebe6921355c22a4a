"""ONNX Runtime, an optional package: the stage as one optimised graph.

Only the graph is cached, some tens of kilobytes; weights are mapped from the safetensors files.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paretopipe_runtime.engines import StageToLoad, cache
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.weights import block_path

INPUT, OUTPUT = "input", "output"


def load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the stage as an ONNX Runtime session.

    Raises ``E_ENGINE``, ``E_WEIGHTS`` for a missing or short weights file, or ``E_DISK``.
    """
    # The pinned version has no telemetry; later ones would send, and write to the home folder, from
    # threads that disturb the measurement.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing(error) from error
    files = _files(stage)
    key = cache.key(stage, torchvision=importlib.metadata.version("torchvision"))
    folder = stage.cache / "onnxruntime"
    path = cache.find_or_make(folder, key, ".onnx", lambda path: _export(stage, files, path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take the processor from those that send and receive.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(stage.store)
    )
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exception classes are not public
        raise ParetoPipeError(
            "E_ENGINE",
            f"onnxruntime {onnxruntime.__version__} cannot run blocks {stage.first}…{stage.end} of "
            f"{stage.model}: {error} — choose -e engine=eager",
        ) from error
    return _Compute(session)


class _Compute:
    """Run the session on torch's memory, without copies."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._shape = tuple(session.get_outputs()[0].shape)

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.contiguous()
        output = torch.empty(self._shape)
        cpu = ("cpu", 0, np.float32)
        self._binding.bind_input(INPUT, *cpu, tuple(tensor.shape), tensor.data_ptr())
        self._binding.bind_output(OUTPUT, *cpu, self._shape, output.data_ptr())
        self._session.run_with_iobinding(self._binding)
        return output


def _export(stage: StageToLoad, files: list[Path], path: Path) -> None:
    try:
        from paretopipe_runtime.engines.onnx_export import build
        from paretopipe_runtime.engines.onnx_graph import StoredTensor
    except ImportError as error:
        raise _missing(error) from error
    blocks = build_blocks(stage.model, stage.classes, first=stage.first, end=stage.end)
    modules = torch.nn.Sequential(*(module for _, module in blocks))
    stored = {
        f"{index}.{name}": StoredTensor(file.name, offset, nbytes)
        for index, file in enumerate(files)
        for name, offset, nbytes in _tensors(file)
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


def _tensors(path: Path) -> list[tuple[str, int, int]]:
    """Return name, byte offset and size of every float32 tensor in a safetensors file."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        described = json.loads(file.read(header))
    described.pop("__metadata__", None)
    return [
        (name, 8 + header + tensor["data_offsets"][0], int(np.diff(tensor["data_offsets"])[0]))
        for name, tensor in described.items()
        if tensor["dtype"] == "F32"
    ]


def _missing(error: ImportError) -> ParetoPipeError:
    return ParetoPipeError(
        "E_ENGINE",
        f"{error} — set runtime_engines: [onnxruntime] for this host in the inventory and run "
        "playbooks/provision.yml, or choose -e engine=eager",
    )
