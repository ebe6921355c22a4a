"""The paper's six models as lists of modules, with block names from `contract.models`.

Importing this package does not import torch; the first build does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from paretopipe_runtime.contract.models import model_info

if TYPE_CHECKING:
    from torch import nn

_kept: dict[tuple[str, int], dict[str, nn.Module]] = {}


def keep_built(name: str, classes: int) -> None:
    """Build a model on the meta device for the next `build_blocks`, also of a forked process."""
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
    """Return the named blocks [first, end), in evaluation mode, with uninitialised tensors.

    A stage may *overwrite its input* (ReLUs in place) or return its memory (dropout, flatten): do
    not reuse that before the output was sent.

    Raises ``E_MODEL`` for an unknown name.
    """
    names = model_info(name).block_names[first:end]
    from paretopipe_runtime.models.architectures import block_modules

    modules = _kept.pop((name, classes), None) or block_modules(name, classes)
    blocks = [(block, modules[block].requires_grad_(False).eval()) for block in names]
    if device == "cpu":
        for _, module in blocks:
            module.to_empty(device="cpu")
    return blocks
