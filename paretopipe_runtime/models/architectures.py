"""torchvision's architectures, split into blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.models.compat import allow_missing_extension

allow_missing_extension()
# Only importable after the line above; who else needs it takes it from here.
import torchvision as torchvision  # noqa: E402

#: torchvision's names of models, where they differ from ours.
THEIR_NAMES = {"mobilenetv2": "mobilenet_v2", "inceptionv3": "inception_v3"}
# Initial values are replaced anyway; other models have no such option.
_WITHOUT_INITIAL_VALUES = {"inceptionv3", "vgg16"}
# These layers flatten their input; torchvision's forward() does that between modules.
_FLATTENING_LINEAR = {
    "resnet18": "fc",
    "resnet50": "fc",
    "alexnet": "classifier.1",
    "vgg16": "classifier.0",
}


class FlattenLinear(nn.Linear):
    """Linear layer that flattens its input; tensors keep torchvision's names."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.flatten(input, 1))


class _NoInitialValues(TorchFunctionMode):
    """Skip fills, which on the meta device have no effect but take most of a build's time."""

    _FILLS = frozenset({"fill_", "zero_", "uniform_", "normal_", "kaiming_uniform_"})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", None) in self._FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def build_model(name: str, classes: int) -> nn.Module:
    """Return torchvision's whole model on the meta device, with its auxiliary head."""
    more = {"init_weights": False} if name in _WITHOUT_INITIAL_VALUES else {}
    with torch.device("meta"), _NoInitialValues():
        model: nn.Module = torchvision.models.get_model(
            THEIR_NAMES.get(name, name), num_classes=classes, **more
        )
    return model


def block_modules(name: str, classes: int) -> dict[str, nn.Module]:
    """Return a model's blocks by name, in order, on the meta device."""
    model = build_model(name, classes)
    functional: dict[str, nn.Module] = {}
    if name == "mobilenetv2":
        functional["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
    elif name == "inceptionv3":
        functional["flatten"] = nn.Flatten(1)
    else:
        path = _FLATTENING_LINEAR[name]
        linear = model.get_submodule(path)
        assert isinstance(linear, nn.Linear)
        functional[path] = FlattenLinear(linear.in_features, linear.out_features, device="meta")
    return {
        block: functional.get(block) or model.get_submodule(block)
        for block in model_info(name).block_names
    }
