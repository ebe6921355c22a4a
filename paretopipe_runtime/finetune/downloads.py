"""Bound what a download may wait for, and say in one sentence what became of it."""

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
    """Make `folder` for the file at `url`, which is downloaded in here.

    Parameters
    ----------
    option : str
        What the user names the file with where there is no internet.

    Raises
    ------
    ParetoPipeError
        ``E_DOWNLOAD`` for whatever the network, the server or the disk has to say.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)  # the downloaders have no way to say it
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
