"""Download timeouts and errors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from paretopipe_runtime.errors import ParetoPipeError

_SILENCE_S = 60.0


@contextmanager
def fetching(url: str, folder: Path, option: str) -> Iterator[None]:
    """Make `folder` for a download of `url`, and map its errors to ``E_DOWNLOAD``.

    `option` is the option that takes a local copy instead.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)  # the downloaders take no timeout
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (HTTPException, OSError, RuntimeError) as error:
        raise ParetoPipeError(
            "E_DOWNLOAD",
            f"cannot download {url} to {folder}: {error} — put that file there yourself, or say "
            f"where it is with {option}=/path/to/{Path(url).name}",
        ) from error
    finally:
        socket.setdefaulttimeout(before)
