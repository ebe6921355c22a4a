"""TorchInductor: the stage compiled ahead of time into a shared library for this processor.

The library has no weights, so it serves any. It is compiled once, with the node's C++ compiler, in
a child process, because that takes hundreds of megabytes and must be killable.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paretopipe_runtime import forked
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.engines import StageToLoad, cache, channels_last
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.frames import Tensor

COMPILER = "g++"
#: For a stage by itself, as prepare launches it.
LIMIT_S = 1800.0
#: In a run: shorter than the orchestrator's timeout, so that the error reaches it.
LAUNCH_LIMIT_S = 100.0
WAIT_S = 20.0  # between two signs of life
_OPTIONS = {
    # Weights are set when the library is opened.
    "aot_inductor.package_constants_in_so": False,
    # The wrapper around the kernels: negligible in a run, most of the time in compiling.
    "aot_inductor.compile_wrapper_opt_level": "O0",
    "compile_threads": 1,
}


def load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the compiled stage on the channels_last engine's weights.

    Raises ``E_ENGINE`` for a compiler that is missing, fails or times out.
    """
    threads = torch.get_num_threads()
    key = cache.key(
        stage,
        with_weights=False,
        torch=torch.__version__,
        processor=torch.backends.cpu.get_cpu_capability(),
        threads=threads,
    )
    folder = stage.cache / "compile"
    path = cache.find_or_make(folder, key, ".so", lambda path: _compile(stage, threads, path))
    weights = channels_last.load(stage).state_dict()
    try:
        # torch's own loader wraps this, but unpacks a copy at every launch.
        runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
        names = runner.get_constant_names_to_original_fqns()
        used = {name: weights[original] for name, original in names.items()}
        runner.update_constant_buffer(used, False, True, True)  # not copied
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise _failed(stage, str(error)) from error
    return _Compute(runner, used)


class _Compute:
    """Calls the library; keeps the weights alive that it points to."""

    def __init__(self, runner: object, weights: dict[str, torch.Tensor]) -> None:
        self._runner = runner
        self._weights = weights

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        outputs: list[torch.Tensor] = self._runner.run([tensor])  # type: ignore[attr-defined]
        return outputs[0]


def _compile(stage: StageToLoad, threads: int, path: Path) -> None:
    if shutil.which(COMPILER) is None:
        raise ParetoPipeError(
            "E_ENGINE",
            f"the compile engine needs a C++ compiler, and {COMPILER} is not on this host — "
            f"install the package {COMPILER} there, or choose -e engine=channels_last",
        )
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        output = Path(scratch) / "stage.so"
        _run_compiler(stage, threads, output)
        output.replace(path)


def _run_compiler(stage: StageToLoad, threads: int, output: Path) -> None:
    job = {
        "model": stage.model,
        "classes": stage.classes,
        "manifest": stage.manifest.to_json(),
        "store": str(stage.store),
        "first": stage.first,
        "end": stage.end,
        "shape": stage.takes.shape,
        "dtype": stage.takes.dtype,
        "threads": threads,
        "output": str(output),
    }
    # Write nothing outside the state folder: HOME may be read-only, TMPDIR small. Inductor's cache
    # is shared by stages.
    places = dict.fromkeys(("HOME", "TMPDIR"), str(output.parent))
    places["TORCHINDUCTOR_CACHE_DIR"] = str(stage.cache / "inductor")
    try:
        with subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **places},
            start_new_session=True,
            text=True,
        ) as process:
            try:
                said = _said(process, json.dumps(job), stage)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # the compiler with it
                raise
    except subprocess.TimeoutExpired as error:
        more = "" if stage.wait else f"; playbooks/prepare.yml allows {LIMIT_S:.0f} s"
        raise _failed(stage, f"not done within {_limit_s(stage):.0f} s{more}") from error
    except OSError as error:
        raise _failed(stage, str(error)) from error
    if process.returncode != 0 or not output.exists():
        raise _failed(stage, (said or f"exit status {process.returncode}").splitlines()[-1])


def _limit_s(stage: StageToLoad) -> float:
    return LIMIT_S if stage.wait else LAUNCH_LIMIT_S


def _said(process: subprocess.Popen[str], job: str | None, stage: StageToLoad) -> str:
    """Return what the compiler said at its end, and give signs of life meanwhile."""
    ends = time.monotonic() + _limit_s(stage)
    while True:
        left_s = max(0.0, ends - time.monotonic())
        try:
            return process.communicate(job, timeout=min(WAIT_S, left_s))[1].strip()
        except subprocess.TimeoutExpired:
            if left_s < WAIT_S:
                raise
        job = None  # it has it
        if stage.wait:
            stage.wait()


def _failed(stage: StageToLoad, why: str) -> ParetoPipeError:
    return ParetoPipeError(
        "E_ENGINE",
        f"cannot compile blocks {stage.first}…{stage.end} of {stage.model} on this host: {why} — "
        "choose -e engine=channels_last",
    )


def main() -> None:
    """Compile a stage as the child process: a JSON job on standard input, a library out."""
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
