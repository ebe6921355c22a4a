"""Values that cross a position in a graph, and graphs of the parts between two positions.

A value *depends on the images* or not. What does not (weights, position tables, masks), and what
any tensor of the batch tells (the number of images, the device), never crosses: a later part makes
it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from paretopipe_runtime.models.tracing import BATCH, called, changes

Values = Mapping[fx.Node, Any]

RESHAPING = {"flatten", "permute", "reshape", "transpose", "view", "unflatten", "contiguous"}
_PARTS = {"slice", "select", "getitem", "expand", "unsqueeze", "squeeze", "narrow", "unbind"}


def dependent(graph: fx.Graph, values: Values) -> dict[fx.Node, int]:
    """Return the nodes whose values depend on the images, in order, and their places in it."""
    filled: set[fx.Node] = set()  # made without the images, and then changed by them
    while True:
        found: dict[fx.Node, int] = {}
        for node in graph.nodes:
            takes = any(one in found for one in node.all_input_nodes)
            if node.op == "placeholder" or node in filled or (takes and not _told(node, values)):
                found[node] = len(found)
        more = {base for node in found if changes(node) for base in _bases(node)} - {*found}
        if not more:
            return found
        filled |= more


def part(
    takes: fx.Node,
    nodes: Sequence[fx.Node],
    gives: fx.Node,
    depends: Mapping[fx.Node, int],
    values: Values,
) -> fx.Graph:
    """Return the graph of some nodes, from the one tensor they take to the one they give."""
    graph = fx.Graph()
    given = graph.placeholder("x")
    made: dict[fx.Node, fx.Node] = {takes: given}
    own = {*nodes, *_made_again(nodes, depends)} - {takes}
    for node in takes.graph.nodes:
        if node not in own:
            continue
        if not _reads(node, depends):
            made[node] = graph.node_copy(node, made.__getitem__)
        elif (what := _told(node, values)) == "size":
            made[node] = graph.call_method("size", (given, 0))
        else:
            made[node] = graph.call_function(getattr, (given, what))
    graph.output(made[gives])
    graph.lint()
    return graph


def _told(node: fx.Node, values: Values) -> str:
    """Return what a node reads that all tensors of the batch have: ``size``, ``device`` or nothing.

    A size is the number of images: ``x.shape[0]``, ``x.size(0)``, or the only one that
    torch.export leaves open.
    """
    name, value = called(node), values[node]
    if name == "getattr" and node.args[1] in ("device", "dtype"):
        return str(node.args[1]) if value == torch.float32 or node.args[1] == "device" else ""
    first = name == "size" and node.args[1:] == (0,)
    number = first or name == "sym_size" or _first_of_shape(node)
    return "size" if number and isinstance(value, int) and value == BATCH else ""


def _first_of_shape(node: fx.Node) -> bool:
    if called(node) != "getitem" or node.args[1] != 0 or not isinstance(node.args[0], fx.Node):
        return False
    of = node.args[0]
    return (called(of) == "getattr" and of.args[1] == "shape") or (
        called(of) == "size" and len(of.args) == 1
    )


def _reads(node: fx.Node, depends: Mapping[fx.Node, int]) -> bool:
    """Tell whether a node is one that `_told` found."""
    return node not in depends and any(one in depends for one in node.all_input_nodes)


def _made_again(nodes: Sequence[fx.Node], depends: Mapping[fx.Node, int]) -> set[fx.Node]:
    """Return what nodes need that does not depend on the images, and all that changes it."""
    needed: set[fx.Node] = set()

    def need(node: fx.Node) -> None:
        if node not in depends and node not in needed:
            needed.add(node)
            for one in () if _reads(node, depends) else node.all_input_nodes:
                need(one)

    for node in nodes:
        for one in node.all_input_nodes:
            need(one)
    graph = nodes[0].graph
    others = [node for node in graph.nodes if changes(node) and node not in depends]
    while more := [n for n in others if n not in needed and needed.intersection(_bases(n))]:
        for node in more:
            need(node)
    return needed


def _bases(node: fx.Node) -> Iterator[fx.Node]:
    """Yield the tensor that a node changes in place, and those that it is a view of."""
    base = node.args[0] if node.args else None
    while isinstance(base, fx.Node):
        yield base
        looks = called(base) in RESHAPING | _PARTS or changes(base)
        base = base.args[0] if looks and base.args else None
