"""Image folders in torchvision's ImageFolder layout."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import digest_of
from paretopipe_runtime.finetune.images import Dataset, Images, parted
from paretopipe_runtime.models.architectures import torchvision

_TESTS = ("test", "val")
_LARGEST = 2**26  # pixels of an image, against decompression bombs
# Explicit, because Pillow goes by content, not by suffix, and would start Ghostscript for EPS.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def open_folder(root: Path, name: str, image_px: int) -> Dataset:
    """Return ``root/train/<class>/`` with ``root/test/`` or ``val/``, or ``root/<class>/`` alone.

    Images are decoded on use, cropped to the middle square and scaled to `image_px`. The digest
    covers all files' names and contents. Raises ``E_DATA``.
    """
    whole = (root / "train").is_dir()
    known, classes, files = _listed(root / "train" if whole else root, image_px)
    test = None
    apart = [root / part for part in _TESTS if whole and (root / part).is_dir()]
    if apart:
        test, tested, more = _listed(apart[0], image_px)
        files += more
        if tested != classes:
            odd = ", ".join(sorted(set(classes) ^ set(tested))[:5])
            raise ParetoPipeError(
                "E_DATA",
                f"{apart[0]} and {root / 'train'} do not have the same classes: {odd} is only in "
                "one of them — give both a folder of each name",
            )
    sha256 = _digest(root, files)
    return parted(name, sha256, len(classes), flip=True, known=known, test=test)


def _digest(root: Path, files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update(path.relative_to(root).as_posix().encode(errors="surrogateescape") + b"\0")
        try:
            total.update(bytes.fromhex(digest_of(path)))
        except OSError as error:
            raise _unreadable(path, error) from error
    return total.hexdigest()


def _listed(root: Path, image_px: int) -> tuple[Images, list[str], list[Path]]:
    try:
        found = torchvision.datasets.ImageFolder(str(root))
    except (OSError, RuntimeError) as error:
        raise ParetoPipeError(
            "E_DATA",
            f"{root} is no folder of images: {error} — it takes one folder a class, or train/ and "
            "test/ with those inside",
        ) from error
    paths = [Path(path) for path, _ in found.samples]

    def load(places: torch.Tensor) -> torch.Tensor:
        chosen = [paths[place] for place in places.tolist()]
        with ThreadPoolExecutor() as pool:  # decoding releases the GIL
            decoded = pool.map(lambda path: _decode(path, image_px), chosen)
            return torch.from_numpy(np.stack([*decoded]))

    labels = torch.tensor([label for _, label in found.samples], dtype=torch.int64)
    return Images(labels, load), list(found.classes), paths


def _decode(path: Path, px: int) -> np.ndarray:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _LARGEST:
                raise ValueError(f"{image.width} × {image.height} pixels")
            square = ImageOps.fit(image.convert("RGB"), (px, px), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error
    return np.asarray(square).transpose(2, 0, 1)


def _unreadable(path: Path, error: Exception) -> ParetoPipeError:
    return ParetoPipeError(
        "E_DATA", f"cannot read {path}: {error} — mend the image or take it away"
    )
