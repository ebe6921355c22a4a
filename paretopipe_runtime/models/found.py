"""Blocks of any model: its graph, cut wherever a single tensor is all that goes on.

At a position in the graph's order, what was computed of the images before and is used after is
*live*; where that is one tensor of the batch, the graph can be cut. Such positions are the points
that all paths from input to output go through, so they do not depend on the order. How the graph
was traced (`tracing`) shows in its digest and nowhere else.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import crossing
from paretopipe_runtime.models.merging import ends, enough, unused
from paretopipe_runtime.models.tracing import BATCH, Traced, called, trace


@dataclass(frozen=True)
class Found:
    """A model's blocks in order, by the module they end with.

    `graph` is the sha256 of the traced graph and where it is cut, `way` how it was traced (``fx``
    or ``export``), `cuts` the number of all valid cuts, of which the blocks use some. `tied` has
    by each parameter's name all that it has: torch.export gives it to the blocks by one of them.
    """

    modules: dict[str, nn.Module]
    graph: str
    way: str
    cuts: int
    image_px: int
    whole: nn.Module
    tied: dict[str, list[str]]


@dataclass(frozen=True)
class _Cut:
    """A position in the graph's order, and the only tensor that is live there."""

    position: int
    node: fx.Node
    ends: int  # the least depth of the modules that end here; 0 for none


def find(model: str, classes: int, *, every: bool = False) -> Found:
    """Build, trace and cut a model; parameters are on the meta device, buffers have their values.

    Parameters
    ----------
    every : bool
        Cut wherever it is possible.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` for one that cannot be built, traced or cut, or has other outputs than
        (batch, classes).
    """
    traced = trace(model, classes)
    _check_output(model, traced, classes)
    cuts = [*_cuts(traced)]
    chosen = cuts if every else enough(cuts)
    if not chosen:
        raise ParetoPipeError(
            "E_MODEL",
            f"{model} has no place where a single tensor is all that goes on, so it cannot be cut "
            "in two",
        )
    modules = _blocks(traced, chosen, max(cut.ends for cut in chosen))
    return Found(
        modules=_without_values(modules),
        graph=_digest(traced, [cut.position for cut in chosen]),
        way=traced.way,
        cuts=len(cuts),
        image_px=traced.image_px,
        whole=traced.whole,
        tied=_tied(traced.whole),
    )


def prove(found: Found, batch: torch.Tensor) -> float:
    """Return the largest error of the blocks' logits against the whole model's, relative to them.

    Every block gets nothing but the tensor of the one before, so this proves all cuts. Parameters
    are to be those of `load_whole`; sizes as `batch`, float32 (images, 3, px, px).
    """
    with torch.inference_mode():
        expected = found.whole(batch.clone())
        given = batch.clone()
        for block in found.modules.values():
            given = block(given)
    scale = float(expected.abs().max()) or 1.0
    return float((given - expected).abs().max()) / scale


def load_whole(found: Found, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give the whole model and its blocks the same tensors, by the whole model's names."""
    given = {
        name: tensors[next(one for one in names if one in tensors)]
        for name, names in found.tied.items()
        if not tensors.keys().isdisjoint(names)
    }
    given |= tensors
    for module in (found.whole, *found.modules.values()):
        for path, part in module.named_modules():
            # Not by load_state_dict, for which some models want more than tensors.
            for name in {*part._parameters, *part._buffers}:
                tensor = given.get(f"{path}.{name}" if path else name)
                if tensor is None:
                    continue
                if name in part._parameters:
                    part._parameters[name] = nn.Parameter(tensor, requires_grad=False)
                else:
                    part._buffers[name] = tensor


def _tied(whole: nn.Module) -> dict[str, list[str]]:
    names: dict[int, list[str]] = {}
    for name, parameter in whole.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name: alike for alike in names.values() for name in alike}


def _check_output(model: str, traced: Traced, classes: int) -> None:
    output = traced.values[traced.graph.output_node()]
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (BATCH, classes):
        raise ParetoPipeError(
            "E_MODEL",
            f"{model} gives {shape} for {BATCH} images, expected ({BATCH}, {classes}): logits of "
            f"{classes} classes — only classifiers can be measured; -e classes=N says how many",
        )


def _cuts(traced: Traced) -> Iterator[_Cut]:
    """Yield all valid cuts behind the input and before the output.

    One behind a layer that computes nothing is the same as that before it.
    """
    at = crossing.dependent(traced.graph, traced.values)
    order = [*at]
    last = {node: max((at[user] for user in node.users if user in at), default=-1) for node in at}
    live: set[fx.Node] = set()
    before: fx.Node | None = None
    for index, node in enumerate(order[:-1]):
        live = {one for one in (*live, node) if last[one] > index}
        if len(live) != 1 or order[index + 1].op == "output":
            continue
        (only,) = live
        value = traced.values[only]
        sized = isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == BATCH
        if only.op == "placeholder" or not sized or value.dtype != torch.float32:
            continue
        at_ends = ends(traced.path(node), traced.path(order[index + 1]))
        if only is not before and not _idle(traced.root, node):
            yield _Cut(index, only, at_ends)
        before = only


def _idle(root: nn.Module, node: fx.Node) -> bool:
    """Tell whether a node in evaluation hands on what it takes, at most in another shape."""
    if node.op != "call_module":
        return called(node) in crossing.RESHAPING | {"dropout"}
    module = root.get_submodule(str(node.target))
    return isinstance(module, nn.Identity | nn.modules.dropout._DropoutNd | nn.Flatten) or (
        type(module).__name__ in ("DropPath", "StochasticDepth")
    )


def _blocks(traced: Traced, cuts: Sequence[_Cut], depth: int) -> dict[str, nn.Module]:
    """Return a module for the nodes between two cuts each, with the paths of the whole model.

    Their names are paths of `depth` parts at most.
    """
    depends = crossing.dependent(traced.graph, traced.values)
    order = [*depends]
    edges = [0, *(cut.position + 1 for cut in cuts), len(order) - 1]
    tensors: list[Any] = [order[0], *(cut.node for cut in cuts), order[-1].args[0]]
    blocks: dict[str, nn.Module] = {}
    for (first, end), (takes, gives) in zip(
        itertools.pairwise(edges), itertools.pairwise(tensors), strict=True
    ):
        graph = crossing.part(takes, order[first:end], gives, depends, traced.values)
        path = ".".join(traced.path(order[end - 1]).split(".")[: depth or None])
        name = unused(path or str(order[end - 1].name), blocks)
        blocks[name] = fx.GraphModule(traced.root, graph).eval()
    return blocks


def _without_values(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Put parameters on the meta device; other tensors are what the constructor computed."""
    for module in modules.values():
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None and not parameter.is_meta:
                    meta = nn.Parameter(parameter.to("meta"), requires_grad=False)
                    part._parameters[name] = meta
    return modules


def _digest(traced: Traced, positions: Sequence[int]) -> str:
    """Return the sha256 over every node, its layer or tensor and its arguments, and the cuts."""
    digest = hashlib.sha256(f"{positions}".encode())
    for node in traced.graph.nodes:
        named = node.target if isinstance(node.target, str) else torch.typename(node.target)
        has = ""
        if node.op == "call_module":
            has = repr(traced.root.get_submodule(named))
        elif node.op == "get_attr":
            value = traced.values[node]
            tensor = isinstance(value, torch.Tensor)
            has = f"{tuple(value.shape)} {value.dtype}" if tensor else getattr(value, "code", "")
        digest.update(f"{node.op} {named} {node.args} {node.kwargs} {has}\n".encode())
    return digest.hexdigest()
