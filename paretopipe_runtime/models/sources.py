"""Models of torchvision, timm or a user's module, built without initial values."""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models.compat import allow_missing_extension

allow_missing_extension()

#: Of models that do not say their images' size.
IMAGE_PX = 224


class _NoParameters(TorchFunctionMode):
    """Leave parameters as allocated: they are replaced anyway. Buffers keep their values."""

    _FILLS = frozenset(
        {"fill_", "zero_", "uniform_", "normal_", "kaiming_uniform_", "erfinv_", "mul_", "add_"}
        | {"clamp_", "copy_", "trunc_normal_", "xavier_uniform_", "orthogonal_"}
    )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", None) in self._FILLS:
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **kwargs)


def build(model: str, classes: int) -> nn.Module:
    """Return ``source:name`` on the processor, in evaluation mode, parameters uninitialised.

    Raises ``E_MODEL`` for what is not installed or cannot be built.
    """
    source, _, name = model.partition(":")
    try:
        with _NoParameters(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of initial values that nobody takes
            built = _BUILDERS[source](name, classes)
    except ModuleNotFoundError as error:
        raise ParetoPipeError(
            "E_MODEL",
            f"{model} needs the package {error.name}, which is not installed here — "
            "playbooks/provision.yml installs timm, or your own with -e model_package=PATH",
        ) from error
    except Exception as error:  # whatever a model's own code raises
        raise ParetoPipeError(
            "E_MODEL", f"{model} cannot be built: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(built, nn.Module):
        raise ParetoPipeError(
            "E_MODEL",
            f"{model} returned {type(built).__name__}, expected a torch.nn.Module — give a "
            "function that returns one, with the argument num_classes if it has any",
        )
    return built.requires_grad_(False).eval()


def image_px(model: str, built: nn.Module) -> int:
    """Return the side of the images that a model is made for: its own word, or its weights'."""
    source, _, name = model.partition(":")
    of_timm: Any = getattr(built, "default_cfg", None)
    sides = [getattr(built, "image_size", None)]
    if source == "timm" and isinstance(of_timm, dict):
        sides.append(of_timm.get("input_size", (None,))[-1])
    if source == "torchvision":
        import torchvision

        for weights in torchvision.models.get_model_weights(name):
            sides.append(weights.transforms.keywords.get("crop_size"))
    return next((side for side in sides if isinstance(side, int)), IMAGE_PX)


def _torchvision(name: str, classes: int) -> nn.Module:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(f"torchvision has no classifier of that name; it has {', '.join(known)}")
    built: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return built


def _timm(name: str, classes: int) -> nn.Module:
    timm: Any = importlib.import_module("timm")
    built: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return built


def _module(name: str, classes: int) -> nn.Module:
    module, _, function = name.rpartition(".")
    if not module:
        raise ValueError("expected my_package.my_function")
    factory = getattr(importlib.import_module(module), function)
    takes = inspect.signature(factory).parameters
    built: nn.Module = factory(num_classes=classes) if "num_classes" in takes else factory()
    return built


_BUILDERS = {"torchvision": _torchvision, "timm": _timm, "module": _module}
