"""Files: their digests, and writing that shows them under their name whole or not at all."""

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
    """A file to write in `folder`; gone afterwards unless it has settled under its own name."""
    unfinished = folder / f".{secrets.token_hex(8)}.partial"
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def settle(unfinished: Path, path: Path) -> None:
    """Give a finished file its name, once its content is on the disk."""
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace `path` by a JSON object, for people to read too."""
    with partial(path.parent) as unfinished:
        unfinished.write_text(json.dumps(document, indent=1) + "\n")
        settle(unfinished, path)


def digest_of(path: Path) -> str:
    """Return the sha256 of a file's content in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def offer_json(path: Path, value: Any) -> None:
    """Replace `path` by JSON that nobody depends on: a disk too full for it ends no job.

    It hides no error of the records either, which say the same of the disk in a sentence.
    """
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
