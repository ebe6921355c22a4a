"""Blocks of any model: its graph, cut wherever a single tensor is all that goes on.

A value *depends on the input* or not. What does not (weights, position tables, masks) never crosses
a cut: it is computed again after it. At a position in the graph's order, what was computed before
and is used after is *live*; where that is one tensor of the batch, the graph can be cut. Such
positions are the points that all paths from input to output go through, so they do not depend on
the order.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import sources
from paretopipe_runtime.models.merging import ends, enough, unused

_BATCH = 2
_RESHAPING = {"flatten", "permute", "reshape", "transpose", "view", "unflatten", "contiguous"}


@dataclass(frozen=True)
class Found:
    """A model's blocks in order, by the module they end with.

    `graph` is the sha256 of the traced graph and where it is cut, `cuts` the number of all valid
    cuts, of which the blocks use some.
    """

    modules: dict[str, nn.Module]
    graph: str
    cuts: int
    image_px: int
    whole: nn.Module


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
    whole = sources.build(model, classes)
    px = sources.image_px(model, whole)
    graph, path_of = sources.traced(model, whole)
    values = _values(model, fx.GraphModule(whole, graph), px)
    _check_output(model, values, graph, classes)
    cuts = [*_cuts(graph, values, path_of)]
    chosen = cuts if every else enough(cuts)
    if not chosen:
        raise ParetoPipeError(
            "E_MODEL",
            f"{model} has no place where a single tensor is all that goes on, so it cannot be cut "
            "in two",
        )
    modules = _blocks(whole, graph, chosen, path_of, max(cut.ends for cut in chosen))
    digest = _digest(whole, graph, [cut.position for cut in chosen])
    return Found(_without_values(modules), digest, len(cuts), px, whole)


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
    for module in (found.whole, *found.modules.values()):
        for path, part in module.named_modules():
            # Not by load_state_dict, for which some models want more than tensors.
            for name in {*part._parameters, *part._buffers}:
                tensor = tensors.get(f"{path}.{name}" if path else name)
                if tensor is None:
                    continue
                if name in part._parameters:
                    part._parameters[name] = nn.Parameter(tensor, requires_grad=False)
                else:
                    part._buffers[name] = tensor


def _values(model: str, traced: fx.GraphModule, px: int) -> dict[fx.Node, Any]:
    """Return every node's value for a batch, as shapes without memory."""
    values: dict[fx.Node, Any] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            values[n] = super().run_node(n)
            return values[n]

    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
            Recorder(traced, garbage_collect_values=False).run(torch.empty(_BATCH, 3, px, px))
    except Exception as error:  # whatever a model's own code raises
        raise ParetoPipeError(
            "E_MODEL",
            f"{model} does not take images of {px} px: {type(error).__name__}: {str(error)[:200]}",
        ) from error
    return values


def _check_output(model: str, values: Mapping[fx.Node, Any], graph: fx.Graph, classes: int) -> None:
    output = values[_output(graph)]
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (_BATCH, classes):
        raise ParetoPipeError(
            "E_MODEL",
            f"{model} gives {shape} for {_BATCH} images, expected ({_BATCH}, {classes}): logits of "
            f"{classes} classes — only classifiers can be measured; -e classes=N says how many",
        )


def _output(graph: fx.Graph) -> fx.Node:
    """Return the node of what the graph returns."""
    return graph.output_node()


def _dependent(graph: fx.Graph) -> dict[fx.Node, int]:
    """Return the nodes whose values depend on the input, in order, and their places in it."""
    found: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "placeholder" or any(one in found for one in node.all_input_nodes):
            found[node] = len(found)
    return found


def _is_batch_size(node: fx.Node) -> bool:
    """Tell whether a node is a number of images: ``x.shape[0]`` or ``x.size(0)``."""
    if node.op == "call_method" and node.target == "size":
        return node.args[1:] == (0,)
    named = getattr(node.target, "__name__", "")
    if named != "getitem" or node.args[1] != 0 or not isinstance(node.args[0], fx.Node):
        return False
    of = node.args[0]
    is_shape = getattr(of.target, "__name__", "") == "getattr" and of.args[1] == "shape"
    return is_shape or (of.op == "call_method" and of.target == "size" and len(of.args) == 1)


def _cuts(graph: fx.Graph, values: Mapping[fx.Node, Any], path_of: Any) -> Iterator[_Cut]:
    """Yield all valid cuts behind the input and before the output.

    One behind a layer that computes nothing is the same as that before it.
    """
    at = _dependent(graph)
    order = [*at]
    last = {node: max((at[user] for user in node.users if user in at), default=-1) for node in at}
    live: set[fx.Node] = set()
    before: fx.Node | None = None
    for index, node in enumerate(order[:-1]):
        live = {one for one in (*live, node) if last[one] > index}
        tensors = [one for one in live if not _is_batch_size(one)]
        if len(tensors) != 1 or order[index + 1].op == "output":
            continue
        only, value = tensors[0], values[tensors[0]]
        sized = isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == _BATCH
        if only.op == "placeholder" or not sized or value.dtype != torch.float32:
            continue
        same = before is not None and only is before
        at_ends = ends(path_of(node), path_of(order[index + 1]))
        if not same and not _idle(graph, node):
            yield _Cut(index, only, at_ends)
        before = only


def _idle(graph: fx.Graph, node: fx.Node) -> bool:
    """Tell whether a node in evaluation hands on what it takes, at most in another shape."""
    if node.op != "call_module":
        named = node.target if isinstance(node.target, str) else node.target.__name__
        return named in _RESHAPING
    owner = graph.owning_module
    assert owner is not None
    module = owner.get_submodule(str(node.target))
    return isinstance(module, nn.Identity | nn.modules.dropout._DropoutNd | nn.Flatten) or (
        type(module).__name__ in ("DropPath", "StochasticDepth")
    )


def _blocks(
    whole: nn.Module, graph: fx.Graph, cuts: Sequence[_Cut], path_of: Any, depth: int
) -> dict[str, nn.Module]:
    """Return a module for the nodes between two cuts each, with the paths of the whole model.

    Their names are paths of `depth` parts at most.
    """
    dependent = _dependent(graph)
    order = [*dependent]
    edges = [0, *(cut.position + 1 for cut in cuts), len(order) - 1]
    gives = [*(cut.node for cut in cuts), _output(graph).args[0]]
    takes = [order[0], *(cut.node for cut in cuts)]
    blocks: dict[str, nn.Module] = {}
    for number, (first, end) in enumerate(itertools.pairwise(edges)):
        part = _part(takes[number], order[first:end], gives[number], dependent)
        path = ".".join(path_of(order[end - 1]).split(".")[: depth or None])
        name = unused(path or str(order[end - 1].name), blocks)
        blocks[name] = fx.GraphModule(whole, part).eval()
    return blocks


def _part(
    takes: fx.Node, nodes: Sequence[fx.Node], gives: Any, dependent: Mapping[fx.Node, int]
) -> fx.Graph:
    """Return the graph of some nodes, from the one tensor they take to the one they give."""
    graph = fx.Graph()
    given = graph.placeholder("x")
    made: dict[fx.Node, fx.Node] = {takes: given}

    def copied(node: fx.Node) -> fx.Node:
        if node not in made:
            if node in dependent and node not in own:  # nothing else may cross
                assert _is_batch_size(node)
                made[node] = graph.call_method("size", (given, 0))
            else:
                made[node] = graph.node_copy(node, copied)
        return made[node]

    own = set(nodes)
    for node in nodes:
        if node.op != "placeholder":
            copied(node)
    graph.output(copied(gives))
    graph.lint()
    return graph


def _without_values(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Put parameters on the meta device; other tensors are what the constructor computed."""
    for module in modules.values():
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None and not parameter.is_meta:
                    meta = nn.Parameter(parameter.to("meta"), requires_grad=False)
                    part._parameters[name] = meta
    return modules


def _digest(whole: nn.Module, graph: fx.Graph, positions: Sequence[int]) -> str:
    """Return the sha256 over every node, its layer and its arguments, and the cuts."""
    digest = hashlib.sha256(f"{positions}".encode())
    for node in graph.nodes:
        target = node.target
        named = target if isinstance(target, str) else torch.typename(target)
        layer = repr(whole.get_submodule(named)) if node.op == "call_module" else ""
        digest.update(f"{node.op} {named} {node.args} {node.kwargs} {layer}\n".encode())
    return digest.hexdigest()
