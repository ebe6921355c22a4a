"""Augmentation and normalisation of image batches."""

from __future__ import annotations

import torch
from torch.nn import functional

from paretopipe_runtime import golden

MEAN, STD = torch.from_numpy(golden.MEAN), torch.from_numpy(golden.STD)
_SHIFT = 8  # an image moves by up to 1/8 of its side


def prepared(pixels: torch.Tensor, image_px: int) -> torch.Tensor:
    """Resize and normalise uint8 (n, 3, h, w) to float32 (n, 3, px, px) on the same device."""
    images = pixels.float() / 255
    if images.shape[-2:] != (image_px, image_px):
        images = functional.interpolate(
            images, size=(image_px, image_px), mode="bilinear", align_corners=False
        )
    return (images - MEAN.to(images.device)) / STD.to(images.device)


def augmented(pixels: torch.Tensor, seed: int, *, flip: bool) -> torch.Tensor:
    """Shift and, with `flip`, mirror images (n, 3, h, w) at random."""
    source = torch.Generator().manual_seed(seed)
    high, wide = pixels.shape[-2:]
    most = max(1, min(high, wide) // _SHIFT)
    padded = functional.pad(pixels, (most, most, most, most))
    moves = torch.randint(2 * most + 1, (len(pixels), 2), generator=source)
    shifted = torch.stack(
        [
            image[:, down : down + high, across : across + wide]
            for image, (down, across) in zip(padded, moves.tolist(), strict=True)
        ]
    )
    if flip:
        mirrored = torch.rand(len(pixels), generator=source) < 0.5
        shifted[mirrored] = shifted[mirrored].flip(-1)
    return shifted
