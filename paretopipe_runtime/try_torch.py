"""Test PyTorch with one convolution in a child process.

Some builds import well and die there with an illegal instruction. Standard library only, as
provisioning runs it before installing the runtime. Exits with 1 and a sentence where PyTorch
fails; else touches the files in its arguments.
"""

from __future__ import annotations

import importlib.metadata
import signal
import subprocess
import sys
from pathlib import Path

#: Same as in roles/preflight, which cannot import the runtime; a test compares them.
CONVOLUTION = "import torch; torch.nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 32, 32)).sum().item()"
_WHAT_TO_DO = (
    "set runtime_versions in the inventory to a build for this processor (on a Raspberry Pi 4 "
    "torch 2.9.1 with torchvision 0.24.1) and run playbooks/provision.yml again"
)


def failure() -> str | None:
    """Return the failure and the remedy on one line, None where PyTorch works."""
    done = subprocess.run(
        [sys.executable, "-c", CONVOLUTION],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    seen = _signal_name(done.returncode) or next(
        iter(reversed(done.stderr.splitlines())), f"exit status {done.returncode}"
    )
    return f"{_torch()} does not work on this host ({seen}) — {_WHAT_TO_DO}"


def _signal_name(status: int) -> str | None:
    """Name the signal that ended a process; shells add 128 to its number."""
    number = -status if status < 0 else status - 128
    try:
        name = signal.strsignal(number) if number > 0 else None
    except ValueError:
        return None
    return name.lower() if name else None


def _torch() -> str:
    try:
        return f"torch {importlib.metadata.version('torch')}"
    except importlib.metadata.PackageNotFoundError:
        return "torch"


if __name__ == "__main__":
    sentence = failure()
    if sentence:
        sys.exit(sentence)
    for name in sys.argv[1:]:
        Path(name).touch()
