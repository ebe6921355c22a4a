"""A user's ONNX file: its model's name, the files it consists of, and their digest."""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path

from paretopipe_runtime.contract.models import ONNX, is_onnx
from paretopipe_runtime.errors import ParetoPipeError

#: Protobuf's own limit, and so that of a file's graph and weights together.
MOST_BYTES = 2**31 - 1
_CHUNK = 1 << 20


def name_of(path: Path) -> str:
    """Return the name of a file's model: ``onnx:net`` of ``/models/net.onnx``.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` for no file of that kind, or a name that is no model's.
    """
    name = f"{ONNX}:{path.stem}"
    if path.suffix != ".onnx" or not is_onnx(name):
        raise ParetoPipeError(
            "E_MODEL",
            f"{path.name!r:.80} cannot name a model: call the file something like net.onnx, of "
            "letters, digits, '.', '-' and '_'",
        )
    if not path.is_file():
        raise ParetoPipeError(
            "E_MODEL", f"there is no ONNX file {path} on this machine — name one by its path"
        )
    return name


def file_of(state_dir: Path, model: str) -> Path:
    """Return where an orchestrator keeps the file of ``onnx:net``."""
    return state_dir / "models" / f"{model.partition(':')[2]}.onnx"


def files_of(path: Path) -> list[Path]:
    """Return the file, and the one beside it that has its weights, if it names that.

    PyTorch's exporter writes ``net.onnx.data`` beside ``net.onnx``.
    """
    beside = path.with_name(f"{path.name}.data")
    with path.open("rb") as file:
        if path.stat().st_size and beside.is_file():
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if re.search(re.escape(beside.name.encode()), content):
                    return [path, beside]
    return [path]


def digest_of(path: Path) -> str:
    """Return the sha256 over the file's content, and that of its weights' file."""
    digest = hashlib.sha256()
    for part in files_of(path):
        own = hashlib.sha256()
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                own.update(chunk)
        digest.update(own.digest())
    return digest.hexdigest()
