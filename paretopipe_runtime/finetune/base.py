"""Starting values: torchvision's ImageNet weights, a file, or random ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from paretopipe_runtime.files import digest_of
from paretopipe_runtime.finetune import state_dict
from paretopipe_runtime.finetune.datasets import called
from paretopipe_runtime.finetune.downloads import fetching
from paretopipe_runtime.models.compat import allow_missing_extension

allow_missing_extension()
from torchvision import models as zoo  # noqa: E402 - only importable after the line above

IMAGENET, NONE = "imagenet", "none"
_DIGEST = re.compile(r"-([0-9a-f]{8,})\.")  # torchvision puts the sha256's start in the name
_WEIGHTS = {
    "mobilenetv2": zoo.MobileNet_V2_Weights.IMAGENET1K_V1,
    "resnet18": zoo.ResNet18_Weights.IMAGENET1K_V1,
    "inceptionv3": zoo.Inception_V3_Weights.IMAGENET1K_V1,
    "resnet50": zoo.ResNet50_Weights.IMAGENET1K_V1,
    "alexnet": zoo.AlexNet_Weights.IMAGENET1K_V1,
    "vgg16": zoo.VGG16_Weights.IMAGENET1K_V1,
}


@dataclass(frozen=True)
class Base:
    """A training's starting values; random where `tensors` is None."""

    name: str
    sha256: str = ""
    tensors: dict[str, torch.Tensor] | None = None


def open_base(pretrained: str, model: str, downloads: Path) -> Base:
    """Return a model's starting values.

    Parameters
    ----------
    pretrained : str
        ``imagenet`` (kept in `downloads`), ``none``, or the path of a state dict.

    Raises
    ------
    ParetoPipeError
        ``E_DOWNLOAD``, ``E_PRETRAINED``.
    """
    if pretrained == NONE:
        return Base(NONE)
    if pretrained == IMAGENET:
        path = _fetch(model, downloads)
        name = f"torchvision {_WEIGHTS[model].name} ({path.name})"
    else:
        path = Path(pretrained)
        name = called(path)
    tensors, sha256 = state_dict.read(path)
    return Base(name, sha256, tensors)


def _fetch(model: str, downloads: Path) -> Path:
    url = _WEIGHTS[model].url
    path = downloads / Path(url).name
    match = _DIGEST.search(path.name)
    assert match is not None, path.name
    with fetching(url, downloads, "pretrained"):
        if not (path.exists() and digest_of(path).startswith(match[1])):
            torch.hub.download_url_to_file(url, str(path), match[1], progress=False)
    return path
