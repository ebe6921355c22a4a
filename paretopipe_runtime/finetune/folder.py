"""Image folders in torchvision's ImageFolder layout."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.images import Dataset, Images, parted
from paretopipe_runtime.finetune.layout import Listing, parts

_LARGEST = 2**26  # pixels of an image, against decompression bombs
# Explicit, because Pillow goes by content, not by suffix, and would start Ghostscript for EPS.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: What Pillow, and `_eight_bits`, raise for a file that is no image.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_NAMED = 3  # broken images in one sentence


def open_folder(root: Path, name: str, image_px: int) -> Dataset:
    """Return the images below `root`, with its own validation and test parts if it has them.

    A validation part alone is what is tested on. Images are decoded once before they are used, so
    that a broken one is told before training, and again on use: cropped to the middle square and
    scaled to `image_px`. The digest covers all files' names and contents. Raises ``E_DATA``.
    """
    found = parts(root)
    train = found.pop("train")
    test = found.pop("test", None) or found.pop("validation", None)
    validation = found.pop("validation", None)
    held = [listing for listing in (test, validation) if listing]
    return parted(
        name,
        _checked(root, [path for listing in (train, *held) for path in listing.paths]),
        len(train.classes),
        flip=True,
        known=_images(train, image_px),
        test=_images(test, image_px) if test else None,
        validation=_images(validation, image_px) if validation else None,
    )


def _checked(root: Path, files: list[Path]) -> str:
    """Read and decode every image, and return the digest of all."""

    def look(path: Path) -> tuple[bytes, str]:
        try:
            content = path.read_bytes()
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _eight_bits(image)
        except UnidentifiedImageError:
            return b"", f"{path}: not one of {', '.join(_FORMATS)}"
        except _UNREADABLE as error:
            return b"", f"{path}: {error}"
        return hashlib.sha256(content).digest(), ""

    total, broken = hashlib.sha256(), []
    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        for path, (digest, error) in zip(files, pool.map(look, files), strict=True):
            total.update(path.relative_to(root).as_posix().encode(errors="surrogateescape"))
            total.update(b"\0" + digest)
            broken += [error] if error else []
    if broken:
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise ParetoPipeError(
            "E_DATA",
            f"cannot read {'; '.join(broken[:_NAMED])}{more} — mend what is broken or take it away",
        )
    return total.hexdigest()


def _images(listing: Listing, px: int) -> Images:
    def load(places: torch.Tensor) -> torch.Tensor:
        chosen = [listing.paths[place] for place in places.tolist()]
        with ThreadPoolExecutor() as pool:
            return torch.from_numpy(np.stack([*pool.map(lambda path: _decode(path, px), chosen)]))

    return Images(torch.tensor(listing.labels, dtype=torch.int64), load)


def _decode(path: Path, px: int) -> np.ndarray:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            square = ImageOps.fit(_eight_bits(image), (px, px), Image.Resampling.BILINEAR)
    except _UNREADABLE as error:
        raise ParetoPipeError(
            "E_DATA", f"cannot read {path}: {error} — it was fine when training began"
        ) from error
    return np.asarray(square).transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Decode to RGB; Pillow alone would clip what has more than 8 bits. Raises ValueError."""
    if image.width * image.height > _LARGEST:
        raise ValueError(f"{image.width} × {image.height} pixels")
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif mode.startswith(("I", "F")):
        raise ValueError(
            f"pixels of 32 bits (mode {mode}), whose darkest and brightest no one says"
        )
    return image.convert("RGB")
