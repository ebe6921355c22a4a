"""What an engine prepared, on a node's disk: made once, found by key, made again where damaged.

An entry is one file whose name carries two digests: of everything it was made from, and of its own
content. One rename puts it there whole, so that two processes may make the same one at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.errors import ParetoPipeError


def key(stage: StageToLoad, *, with_weights: bool = True, **more: Any) -> str:
    """Return 32 hex digits over a stage's model, blocks, weights and input, this code, and `more`.

    `more` is what else decides the result: versions of what makes it, the processor it is made for.
    Without weights, where the result holds for any.
    """
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
    """Return the entry of this key if it is there and sound; remove it if it is damaged."""
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
    """Return the entry of this key, made by `make` at the path it is given if need be.

    Raises
    ------
    ParetoPipeError
        ``E_DISK`` where the folder cannot be written; whatever `make` raises.
    """
    found = find(folder, name, suffix)
    if found is not None:
        return found
    partial = folder / f".{secrets.token_hex(8)}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        make(partial)
        path = folder / _file_name(name, partial.read_bytes(), suffix)
        partial.replace(path)
    except OSError as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write to {folder}: {error.strerror} — free some space there"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be what is wrong
            partial.unlink()
    return path


def _code() -> str:
    """A digest of what decides an entry here: the engines and the models, nothing else."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(
        [
            *package.glob("engines/*.py"),
            *package.glob("models/*.py"),
            package / "contract/models.py",
        ]
    ):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _file_name(name: str, content: bytes, suffix: str) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
