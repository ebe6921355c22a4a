"""Starting values: torchvision's ImageNet weights, a file, or random ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from paretopipe_runtime.contract.models import MODEL_NAMES
from paretopipe_runtime.files import digest_of
from paretopipe_runtime.finetune import state_dict
from paretopipe_runtime.finetune.datasets import called, fetching
from paretopipe_runtime.models.architectures import THEIR_NAMES, torchvision

IMAGENET, NONE = "imagenet", "none"
_DIGEST = re.compile(r"-([0-9a-f]{8,})\.")  # torchvision puts the sha256's start in the name
_WEIGHTS = {
    name: torchvision.models.get_model_weights(THEIR_NAMES.get(name, name))["IMAGENET1K_V1"]
    for name in MODEL_NAMES
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
