"""Atomic writes, and digests of files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def partial(folder: Path) -> Iterator[Path]:
    """Yield a path for a temporary file; it is deleted unless settled."""
    unfinished = folder / f".{secrets.token_hex(8)}.partial"
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def settle(unfinished: Path, path: Path) -> None:
    """Sync a finished file and rename it to `path`."""
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace `path` by an indented JSON object."""
    with partial(path.parent) as unfinished:
        unfinished.write_text(json.dumps(document, indent=1) + "\n")
        settle(unfinished, path)


def digest_of(path: Path) -> str:
    """Return the sha256 of a file's content in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def offer_json(path: Path, value: Any) -> None:
    """Replace `path` by JSON that is dispensable: disk errors are ignored."""
    unfinished = path.with_name(path.name + ".partial")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(value))
        unfinished.replace(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
