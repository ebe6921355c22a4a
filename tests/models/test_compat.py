"""torchvision must import whether or not its compiled extension fits this torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=120)


def test_models_build_without_the_extension() -> None:
    _run(
        """
import torch
def refuse(path):
    raise OSError("libtorch_cuda.so: cannot open shared object file")
torch.ops.load_library = refuse
from paretopipe_runtime.models import build_blocks
assert len(build_blocks("inceptionv3", 10)) == 22
from paretopipe_runtime.models.compat import allow_missing_extension
allow_missing_extension()  # a second time changes nothing
"""
    )


def test_a_loadable_extension_keeps_its_own_operators() -> None:
    _run(
        """
import torch
torch.ops.load_library = lambda path: None
torch.library.define = None  # any definition of ours would now fail
from paretopipe_runtime.models import compat
compat.allow_missing_extension()
"""
    )
