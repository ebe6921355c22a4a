"""Small data sets in the formats that fine-tuning reads, and one thread as everywhere."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from paretopipe_runtime.finetune import cifar
from tests.finetune.processes import Processes, data
from tests.shared import one_thread as one_thread


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Return what runs `paretopipe` in processes that may be killed."""
    made = Processes()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small data set to train on."""
    return data(tmp_path)


def records(count: int, seed: int) -> bytes:
    """Records of CIFAR-10's binary version: each class in turn, its images all of one colour."""
    source = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.uint8) % 10
    pixels = np.repeat(25 * labels[:, None], 3072, axis=1) + source.integers(0, 5, (count, 3072))
    return np.concatenate([labels[:, None], pixels.astype(np.uint8)], axis=1).tobytes()


def archive(path: Path, files: dict[str, bytes]) -> Path:
    """Write a .tar.gz of these files."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def cifar_files() -> dict[str, bytes]:
    """The members of a tiny archive: 5 times 40 images to train on, 20 to test on."""
    files = {f"{cifar.FOLDER}/{name}": records(40, k) for k, name in enumerate(cifar.FILES)}
    files[f"{cifar.FOLDER}/{cifar.TEST}"] = records(20, 9)
    return {f"{cifar.FOLDER}/batches.meta.txt": b"airplane\n", **files}


@pytest.fixture
def pack(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Return the function that writes an archive of some files."""
    return lambda files: archive(tmp_path / "cifar-10-binary.tar.gz", files)


@pytest.fixture
def picture() -> Callable[..., None]:
    """Return the function that writes an image file of one colour, with what folders it takes."""

    def write(path: Path, colour: int, size: tuple[int, int] = (20, 12)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels: NDArray[np.uint8] = np.full((size[1], size[0], 3), colour, np.uint8)
        Image.fromarray(pixels).save(path)

    return write
