"""Read a PyTorch state dict; the only `torch.load` in ParetoPipe.

Such a file is a pickle, which can run code. `weights_only=True` prevents that since PyTorch 2.6
(CVE-2025-32434), and harm to memory since 2.10 (CVE-2026-24747). All later steps use safetensors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import digest_of

_SAFE_SINCE = (2, 10)


def read(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Return a ``.pth`` or ``.safetensors`` file's tensors and sha256, or raise E_PRETRAINED."""
    try:
        sha256 = digest_of(path)
        tensors = load_file(path) if path.suffix == ".safetensors" else _load(path)
        _check(tensors)
    except (OSError, SafetensorError, ValueError) as error:
        raise ParetoPipeError(
            "E_PRETRAINED",
            f"{path} holds no weights: {error} — it takes a state dict as torchvision publishes "
            "them, or a .safetensors file with the same names",
        ) from error
    return tensors, sha256


def _load(path: Path) -> Any:
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release < _SAFE_SINCE:
        raise ValueError(
            f"PyTorch {torch.__version__} cannot read it safely, 2.10 and later can, and any "
            "release a .safetensors file"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can raise anything
        raise ValueError(_why(path, str(error))) from error


def _why(path: Path, said: str) -> str:
    """Say what a file is instead, without torch's words: they advise to read it unsafely."""
    if found := re.search(r"GLOBAL ([\w.]{1,80})", said):
        return (
            f"it needs {found[1]}, as whole models and checkpoints of a training do: save the "
            "model's state_dict() alone"
        )
    if "TorchScript" in said:
        return "it is a TorchScript program: save the model's state_dict() instead"
    with path.open("rb") as file:
        head = file.read(40)
    if not head:
        return "it is empty: download it again"
    if head.isascii() and all(chr(byte).isprintable() or byte in b"\t\r\n" for byte in head):
        return f"it is text, beginning with {head.decode()!r}: download the file itself"
    if head.startswith(b"PK"):
        return "it is an archive that is cut short, damaged or not PyTorch's: download it again"
    return "it is damaged or of another kind: download it again"


def _check(tensors: Any) -> None:
    if not isinstance(tensors, dict) or not tensors:
        raise ValueError(f"it is a {type(tensors).__name__}, expected tensors by name")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{str(name)[:60]!r} is a {type(tensor).__name__}, expected a tensor")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name[:60]!r} has values that are not finite")
