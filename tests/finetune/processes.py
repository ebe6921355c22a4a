"""A training small enough to be done again and again, and processes to do and to kill it in.

They are forked from one that has imported PyTorch, which would else take most of a test's time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

STEPS, EPOCHS = 5, 3
# Threads that spin for each other take many times as long where something else runs beside them.
_SERVER = """
import json, os, sys, traceback
import torch
torch.set_num_threads(1)
torch.set_num_threads = lambda count: None
from paretopipe_runtime.cli import main
from paretopipe_runtime.finetune import job
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 70
        try:
            exec(order["before"])
            code = main(order["arguments"])
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """What a process came to; a negative status is the signal that killed it."""

    status: int
    stdout: str
    stderr: str


class Processes:
    """Runs `paretopipe` in processes of its own, one at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._folder = Path()

    def start(self, folder: Path, arguments: list[str], before: str = "") -> int:
        """Start a process and return its id; `before` is Python that it runs first."""
        self._folder = folder
        files = {name: str(folder / name) for name in ("stdout", "stderr")}
        assert self._server.stdin is not None
        print(
            json.dumps({**files, "arguments": arguments, "before": before}),
            file=self._server.stdin,
            flush=True,
        )
        return self._answer()

    def wait(self) -> Done:
        """Wait until the process has ended."""
        status = self._answer()
        return Done(status, *((self._folder / n).read_text() for n in ("stdout", "stderr")))

    def close(self) -> None:
        """End the process that the others are forked from."""
        self._server.communicate(timeout=30)

    def train(self, folder: Path, *more: str, before: str = "", model: str = "mobilenetv2") -> Done:
        """Train a model on `data` in a folder, to the end."""
        self.start(folder, arguments(folder, *more, model=model), before)
        return self.wait()

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def data(folder: Path) -> Path:
    """Write 90 noisy images of three classes; 66 of them are trained on, in 5 steps of up to 16."""
    source = np.random.default_rng(0)
    labels = (np.arange(90) % 3).astype(np.uint8)
    pixels = 60 * labels[:, None, None] + source.integers(0, 60, (90, 8, 8))
    save_file({"images": pixels.astype(np.uint8), "labels": labels}, folder / "data.safetensors")
    return folder


def arguments(folder: Path, *more: str, model: str = "mobilenetv2") -> list[str]:
    """Return the arguments that train on `data` in `folder`."""
    return [
        *("finetune", model, "--pretrained", "none", "--image", "32", "--batch", "16"),
        *("--epochs", str(EPOCHS), "--dataset", str(folder / "data.safetensors")),
        *("--progress", str(folder / "progress.json"), "--state-dir", str(folder / "state")),
        *more,
    ]
