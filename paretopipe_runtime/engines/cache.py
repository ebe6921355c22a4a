"""Engines' prepared artefacts on disk.

File names carry digests of inputs and content, so damage is detected. Renames are atomic, so two
processes may prepare the same entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import partial


def key(stage: StageToLoad, *, with_weights: bool = True, **more: Any) -> str:
    """Return 32 hex digits over the stage, this code and `more`, such as library versions."""
    blocks = stage.manifest.blocks[stage.first : stage.end]
    made_from = {
        "model": [stage.model, stage.classes, stage.first, stage.end],
        "weights": [block.sha256 for block in blocks] if with_weights else None,
        "takes": [list(stage.takes.shape), stage.takes.dtype],
        "code": _code(),
        **more,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]


def find(folder: Path, name: str, suffix: str) -> Path | None:
    """Return the intact entry, if any; delete damaged ones."""
    for path in sorted(folder.glob(f"{name}-*{suffix}")):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if path.name == _file_name(name, content, suffix):
            return path
        path.unlink(missing_ok=True)
    return None


def find_or_make(folder: Path, name: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """Return the entry, written by `make` if missing; raises ``E_DISK`` or as `make` does."""
    found = find(folder, name, suffix)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial(folder) as unfinished:
            make(unfinished)
            path = folder / _file_name(name, unfinished.read_bytes(), suffix)
            unfinished.replace(path)
    except OSError as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write to {folder}: {error.strerror} — free some space there"
        ) from error
    return path


def _code() -> str:
    package = Path(__file__).parent.parent
    sources = [*package.glob("engines/*.py"), *package.glob("models/*.py")]
    digest = hashlib.sha256()
    for path in sorted([*sources, package / "contract/models.py"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _file_name(name: str, content: bytes, suffix: str) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
