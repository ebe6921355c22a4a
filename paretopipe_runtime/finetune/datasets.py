"""Data sets by name or path, and downloads."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune import cifar
from paretopipe_runtime.finetune.folder import open_folder
from paretopipe_runtime.finetune.images import Dataset, in_memory, parted
from paretopipe_runtime.golden import input_digest
from paretopipe_runtime.models.architectures import torchvision

CIFAR10, DIGITS = "cifar10", "digits"
_SILENCE_S = 60.0  # timeout of a download
_DIGITS_FILE = Path(__file__).with_name("digits.safetensors")


def open_dataset(name: str, image_px: int, downloads: Path) -> Dataset:
    """Return a data set, ready to train on.

    Parameters
    ----------
    name : str
        ``cifar10`` (kept in `downloads`), ``digits`` (ships with this package), or a path:
        CIFAR-10's binary archive or its folder, an ImageFolder, or a safetensors file with
        ``images`` (uint8, (n, h, w) or (n, channels, h, w)) and ``labels``.
    image_px : int
        Side to which a folder's images are scaled.

    Raises
    ------
    ParetoPipeError
        ``E_DATA``, ``E_DOWNLOAD``.
    """
    if name == CIFAR10:
        return _cifar(_downloaded(downloads))
    if name == DIGITS:
        return _arrays(_DIGITS_FILE, DIGITS)
    path = Path(name)
    try:
        if not path.exists():
            raise ParetoPipeError(
                "E_DATA",
                f"there is no data set {name}: known are {CIFAR10} and {DIGITS}, or give the path "
                "of one on this host",
            )
        if path.suffix == ".safetensors":
            return _arrays(path, called(path))
        if path.is_file() or cifar.is_here(path):
            return _cifar(path)
        return open_folder(path, called(path), image_px)
    except PermissionError as error:
        raise ParetoPipeError(
            "E_DATA", f"may not read {name}: {error} — let the user of this process read it"
        ) from error


def kept(name: str, trained_on: str, downloads: Path) -> str:
    """Return where a trained-on data set can be opened without a download; empty if nowhere."""
    archive = [str(downloads / Path(cifar.URL).name)] if name == CIFAR10 else []
    # What may not be looked at, as a home within a sandbox, is not there.
    places = (place for place in (trained_on, *archive) if os.path.exists(place))  # noqa: PTH110
    return DIGITS if name == DIGITS else next(places, "")


def called(path: Path) -> str:
    """Return a printable name for manifests and reports."""
    text = path.resolve().name
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:100] or "unnamed"


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


def _downloaded(folder: Path) -> Path:
    """Return CIFAR-10's archive in `folder`, downloading it if missing; raises ``E_DOWNLOAD``."""
    archive = folder / Path(cifar.URL).name
    with fetching(cifar.URL, folder, "dataset"):
        torchvision.datasets.utils.download_url(cifar.URL, str(folder), archive.name, cifar.MD5)
    return archive


def _cifar(path: Path) -> Dataset:
    train, test = cifar.read(path)
    whole = (len(train[1]), len(test[1])) == (5 * cifar.IMAGES, cifar.IMAGES)
    return parted(
        CIFAR10 if whole else f"part of {CIFAR10}",
        input_digest([*train, *test]),
        10,
        flip=True,
        known=in_memory(*train),
        test=in_memory(*test),
    )


def _arrays(path: Path, name: str) -> Dataset:
    """Read one safetensors file; its metadata may have ``classes`` and ``flip``."""
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
        known = in_memory(images, labels)
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise ParetoPipeError(
            "E_DATA",
            f"{path} is no data set: {error} — it takes `images` and `labels` as safetensors",
        ) from error
    names = metadata.get("classes", "").split()
    classes = len(names) or int(np.max(labels)) + 1
    flip = metadata.get("flip") == "true"
    return parted(name, input_digest([images, labels]), classes, flip=flip, known=known)
