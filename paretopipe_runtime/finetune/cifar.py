"""CIFAR-10's binary version; the Python version that torchvision loads is made of pickles."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paretopipe_runtime.errors import ParetoPipeError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # from the authors' page
FOLDER = "cifar-10-batches-bin"
TEST = "test_batch.bin"
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), TEST)
IMAGES = 10_000  # per file
_RECORD = 1 + 3 * 32 * 32
_LARGEST = 256 * 2**20  # bytes unpacked; the real archive has 184 million

Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # pixels (n, 3, 32, 32), labels (n,)


def is_here(path: Path) -> bool:
    """Say whether `path` is, or contains, the unpacked archive."""
    return any((folder / TEST).exists() for folder in (path, path / FOLDER))


def read(path: Path) -> tuple[Labelled, Labelled]:
    """Return (train, test) from the archive or its folder, or raise ``E_DATA``."""
    try:
        found = dict(_unpacked(path) if path.is_file() else _folder(path))
        missing = [name for name in FILES if name not in found]
        if missing:
            raise ValueError(f"{', '.join(missing)} not in it")
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise ParetoPipeError(
            "E_DATA",
            f"{path} is not CIFAR-10's binary version: {error} — get "
            f"{URL} (md5 {MD5}); the Python version is made of pickles and is not read",
        ) from error
    parts = [found[name] for name in FILES]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    return (pixels, labels), parts[-1]


def _folder(path: Path) -> Iterator[tuple[str, Labelled]]:
    folder = path / FOLDER if (path / FOLDER / TEST).exists() else path
    for name in FILES:
        with (folder / name).open("rb") as file:
            yield name, _records(name, file.read(IMAGES * _RECORD + 1))


def _unpacked(path: Path) -> Iterator[tuple[str, Labelled]]:
    """Read the archive as a stream; nothing is written."""
    with (
        gzip.open(path) as packed,
        tarfile.open(fileobj=_Bounded(packed), mode="r|") as archive,
    ):
        for member in archive:
            name = Path(member.name).name
            if name in FILES and member.isreg() and not member.issparse():
                file = archive.extractfile(member)
                assert file is not None
                yield name, _records(name, file.read(IMAGES * _RECORD + 1))


def _records(name: str, content: bytes) -> Labelled:
    images, odd = divmod(len(content), _RECORD)
    if odd or not 0 < images <= IMAGES:
        raise ValueError(f"{name} has {len(content)} bytes, expected up to {IMAGES} × {_RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(images, _RECORD)
    labels, pixels = records[:, 0], records[:, 1:].reshape(images, 3, 32, 32)
    if labels.max() > 9:
        raise ValueError(f"{name} has a label {labels.max()}, expected 0 to 9")
    return pixels, labels


class _Bounded(io.BufferedIOBase):
    """Limit the bytes read, against decompression bombs."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._left = _LARGEST

    def read(self, size: int | None = -1) -> bytes:
        size = self._left + 1 if size is None or size < 0 else size
        self._left -= size
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {_LARGEST} bytes")
        return self._file.read(size)
