"""Build a model's blocks, and count its parameters. torch is imported by the first call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from paretopipe_runtime.contract.models import model_info

if TYPE_CHECKING:
    from torch import nn


_kept: dict[tuple[str, int], dict[str, nn.Module]] = {}


def keep_built(name: str, classes: int) -> None:
    """Build a model on the meta device for the next `build_blocks` that asks for it, once.

    A process that is forked after this finds it there, and builds nothing.
    """
    from paretopipe_runtime.models.architectures import block_modules

    _kept[name, classes] = block_modules(name, classes)


def build_blocks(
    name: str,
    classes: int,
    *,
    device: Literal["meta", "cpu"] = "meta",
    first: int = 0,
    end: int | None = None,
) -> list[tuple[str, nn.Module]]:
    """Return the blocks [first, end) of a model with their names, in evaluation mode.

    No value is initialised: on the meta device the tensors have no memory, on the CPU whatever was
    in it. `paretopipe_runtime.weights` gives them values. The blocks are torchvision's modules, so
    a ReLU that comes first in a stage works *in place on its input*, and a dropout or a flatten
    returns its input's memory: hand a stage a tensor that it may overwrite, and do not reuse that
    memory before the output has been sent.

    Parameters
    ----------
    name : str
        One of `MODEL_NAMES`.
    classes : int
        Size of the last layer's output.
    device : {'meta', 'cpu'}
        Where the tensors are.
    first, end : int
        The blocks wanted; all to the last one without `end`.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` for an unknown name.
    """
    names = model_info(name).block_names[first:end]
    from paretopipe_runtime.models.architectures import block_modules

    modules = _kept.pop((name, classes), None) or block_modules(name, classes)
    blocks = [(block, modules[block].requires_grad_(False).eval()) for block in names]
    if device == "cpu":
        for _, module in blocks:
            module.to_empty(device="cpu")
    return blocks


def parameter_count(name: str, classes: int) -> int:
    """Return a model's number of parameters, InceptionV3's unused auxiliary head included."""
    model_info(name)
    from paretopipe_runtime.models.architectures import build_model

    return sum(parameter.numel() for parameter in build_model(name, classes).parameters())
