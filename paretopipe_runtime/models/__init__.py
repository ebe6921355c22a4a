"""Models as lists of modules: the paper's six by `contract.models`, others as found by tracing.

Importing this package does not import torch; the first build does.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from paretopipe_runtime.contract.models import is_traced, model_info

if TYPE_CHECKING:
    from torch import nn

    from paretopipe_runtime.models.found import Found

_kept: dict[tuple[str, int], dict[str, nn.Module]] = {}
_kept_found: dict[tuple[str, int], Found] = {}


def keep_built(name: str, classes: int) -> None:
    """Build a model on the meta device for the next `build_blocks`, also of a forked process."""
    from paretopipe_runtime.models.architectures import block_modules

    _kept[name, classes] = block_modules(name, classes)


def found_model(name: str, classes: int) -> Found:
    """Trace a model and find its blocks, once for this process and all that it forks.

    Raises ``E_MODEL`` as `found.find`.
    """
    from paretopipe_runtime.models.found import find

    if (name, classes) not in _kept_found:
        _kept_found.clear()  # one at a time: a sweep has one after the other
        _kept_found[name, classes] = find(name, classes)
    return _kept_found[name, classes]


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
    not reuse that before the output was sent. Of a found model, other tensors than parameters have
    their values, and the processor's memory.

    Raises ``E_MODEL`` for an unknown name.
    """
    if is_traced(name):
        return copy.deepcopy([*found_model(name, classes).modules.items()][first:end])
    names = model_info(name).block_names[first:end]
    from paretopipe_runtime.models.architectures import block_modules

    modules = _kept.pop((name, classes), None) or block_modules(name, classes)
    blocks = [(block, modules[block].requires_grad_(False).eval()) for block in names]
    if device == "cpu":
        for _, module in blocks:
            module.to_empty(device="cpu")
    return blocks
