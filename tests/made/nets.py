"""Small networks to cut, in shapes that real ones have, and some that cannot be cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def conv(given: int, made: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(given, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU())


class Net(nn.Module):
    """Runs `steps` in order, then pools and classifies; a step may look back at `net`."""

    def __init__(
        self, num_classes: int, steps: Sequence[nn.Module], forward: Callable[..., Tensor]
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.head = nn.Linear(8, num_classes)
        self.between = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.steps, x).mean((2, 3)))


def chain(num_classes: int = 10) -> nn.Module:
    """Two convolutions: cut after each of their layers."""
    steps = [conv(3, 8), conv(8, 8)]
    return Net(num_classes, steps, lambda steps, x: steps[1](steps[0](x)))


def residual(num_classes: int = 10) -> nn.Module:
    """A skip over the second of three: no cut inside it."""

    def forward(steps: Sequence[nn.Module], x: Tensor) -> Tensor:
        x = steps[0](x)
        return steps[2](x + steps[1](x))

    return Net(num_classes, [conv(3, 8), conv(8, 8), conv(8, 8)], forward)


def dense(num_classes: int = 10) -> nn.Module:
    """The input is needed to the end: no cut but behind that."""

    def forward(steps: Sequence[nn.Module], x: Tensor) -> Tensor:
        return steps[0](x) + steps[1](x.flip(3)) + steps[2](x.mul(2))

    return Net(num_classes, [conv(3, 8), conv(3, 8), conv(3, 8)], forward)


class Tokens(nn.Module):
    """Patches with a class token and a position table, as a ViT has them; one layer."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.image_size = 32
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.register_buffer("places", torch.arange(17 * 16).reshape(1, 17, 16) / 272)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[0]
        x = self.patches(x).reshape(count, 16, 16).permute(0, 2, 1)
        x = torch.cat([self.token.expand(count, -1, -1), x], 1) + self.places
        x = self.norm(self.layer(x))
        return self.head(x.reshape(count, 17, 16)[:, 0])


class Branching(nn.Module):
    """Takes its path by what the images show: cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


class Forgetful(nn.Module):
    """Adds noise, so that no two answers are equal."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.first, self.second = conv(3, 8), conv(8, 8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.second(x + torch.rand_like(x))
        return self.head(x.mean((2, 3)))


def pixels() -> nn.Module:
    """Not a classifier: gives an image for an image."""
    return nn.Sequential(conv(3, 8), conv(8, 3))


def nothing() -> int:
    return 7


class Deciding(nn.Module):
    """Decides by a size, takes keywords, and fills masks: torch.fx stops, torch.export does not."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.image_size = 32
        self.first, self.second, self.third = conv(3, 8), conv(8, 8), conv(8, 8)
        self.head = nn.Linear(8, num_classes)
        self.head_again = self.head
        self.row: Tensor | None = None

    def forward(self, images: Tensor, **more: Tensor) -> Tensor:
        x = self.first(images)
        count, _, height, width = x.shape
        mask = torch.zeros(height, device=x.device)
        mask[: height // 2] = 1
        for step in (self.second, self.third)[: 2 if height % 2 == 0 else 1]:
            x = step(x) * mask[:, None]
        if self.row is None or self.row.shape[0] != width:
            self.row = torch.arange(float(width), device=x.device)
        x = x + self.row / width + torch.zeros(count, 1, 1, width, device=x.device)
        if "scale" in more:
            x = x * more["scale"]
        padded = torch.zeros(count, 8, height + 2, width, device=x.device)
        padded[:, :, 1:-1] = x
        return self.head_again(padded.mean((2, 3)))
