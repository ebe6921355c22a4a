"""From bytes to what the model sees: shifted, mirrored, scaled, normalised."""

from __future__ import annotations

import torch
from torch.nn import functional

# ImageNet's, which torchvision's models expect and the measured inputs have too.
_MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
_SHIFT = 8  # one pixel for so many of a side


def prepared(pixels: torch.Tensor, image_px: int) -> torch.Tensor:
    """Return uint8 images (n, 3, h, w) as normalised float32 (n, 3, px, px), on their device."""
    images = pixels.float() / 255
    if images.shape[-2:] != (image_px, image_px):
        images = functional.interpolate(
            images, size=(image_px, image_px), mode="bilinear", align_corners=False
        )
    return (images - _MEAN.to(images.device)) / _STD.to(images.device)


def augmented(pixels: torch.Tensor, seed: int, *, flip: bool) -> torch.Tensor:
    """Return images (n, 3, h, w) each shifted a little at random, and mirrored or not."""
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
