"""Graphs of models: by torch.fx, or by torch.export where that cannot trace one.

torch.fx runs a model's code with stand-ins for tensors: a layer stays one step. What the code
decides by a size, a keyword's dictionary or a library that looks at tensors stops it. torch.export
runs the code with tensors that have sizes and no memory: it sees through all that, and every step
is an operator. The number of images stays open in both.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import sources
from paretopipe_runtime.models.compat import allow_missing_extension

allow_missing_extension()
from torchvision.models.feature_extraction import NodePathTracer  # noqa: E402

#: In the order they are tried.
WAYS = ("fx", "export")
#: Images in the batch that values are found for.
BATCH = 2
_SAID = 120  # characters of what a way said


@dataclass(frozen=True)
class Traced:
    """A model's graph; `root` has its tensors and layers, `values` shapes for a batch of `BATCH`.

    `way` is ``fx`` or ``export``, `path` tells the path of the module that a node is in.
    """

    whole: nn.Module
    way: str
    root: nn.Module
    graph: fx.Graph
    path: Callable[[fx.Node], str]
    values: dict[fx.Node, Any]
    image_px: int


def trace(model: str, classes: int) -> Traced:
    """Build a model and trace it, the first way that can.

    Raises ``E_MODEL`` for one that cannot be built, and for one whose control flow depends on the
    images, with what each way said.
    """
    said = []
    for way in WAYS:
        built = sources.build(model, classes)  # anew: a way that fails may leave stand-ins in it
        px = sources.image_px(model, built)
        try:
            by_fx = way == "fx"
            root, graph, path = _by_fx(model, built) if by_fx else _by_export(built, px)
            values = _values(fx.GraphModule(root, graph), px)
        except Exception as error:  # whatever a model's own code raises
            said.append(f"torch.{way}: {type(error).__name__}: {_short(str(error))}")
            continue
        return Traced(built, way, root, graph, path, values, px)
    raise ParetoPipeError(
        "E_MODEL",
        f"{model} cannot be traced with images of {px} px ({'; '.join(said)}) — its path through "
        "the layers must not depend on the images, nor on how many they are",
    )


def called(node: fx.Node) -> str:
    """Return the name of what a node calls, an operator's without its overload: ``relu_``."""
    if isinstance(node.target, str):
        return node.target
    return node.target.__name__.partition(".")[0]


def changes(node: fx.Node) -> bool:
    """Tell whether a node changes its first argument in place."""
    return node.op in ("call_function", "call_method") and called(node).endswith(("_", "setitem"))


def _short(said: str) -> str:
    line = re.sub(r"\s+", " ", said)
    return line if len(line) <= _SAID else f"{line[:_SAID]}…"


_Way = tuple[nn.Module, fx.Graph, Callable[[fx.Node], str]]


def _by_fx(model: str, built: nn.Module) -> _Way:
    """Trace a model; layers of PyTorch, and what a library marks as not traceable, stay one."""
    tracer = _tracer(model)
    graph = _cleared(tracer.trace(built, _defaults(built)))
    for path, module in built.named_modules():
        for name, kept in vars(module).items():
            if isinstance(kept, fx.Proxy):
                raise ValueError(f"{path}.{name} keeps what was computed for a batch")

    def path_of(node: fx.Node) -> str:
        if node.op == "call_module":
            return str(node.target)
        named: str = tracer.node_to_qualname.get(node, "")
        return named.rpartition(".")[0]

    return built, graph, path_of


def _by_export(built: nn.Module, px: int) -> _Way:
    """Trace a model to operators, with weights by the model's own names."""
    from torch.export import Dim, export

    if not hasattr(Dim, "DYNAMIC"):
        raise NotImplementedError(
            f"PyTorch {torch.__version__} fixes the number of images, 2.6 and later do not"
        )
    images = torch.zeros(BATCH, 3, px, px)
    with (
        torch.no_grad(),
        warnings.catch_warnings(action="ignore"),  # of PyTorch's own insides
        contextlib.redirect_stderr(io.StringIO()),  # it prints the code that it cannot trace
    ):
        logits = built(images)  # once for real: a table that it keeps for a size is there then
        open_ = ({0: Dim.DYNAMIC},)
        program = export(built, (images,), dynamic_shapes=open_, strict=False)
        root = program.module()
    assert isinstance(root, fx.GraphModule)
    graph = root.graph
    graph.set_codegen(fx.graph.CodeGen())
    output = graph.output_node()
    if isinstance(logits, torch.Tensor):
        output.args = (*output.args[0],)  # type: ignore[misc] # a tuple of one
    return root, _anywhere(_cleared(graph)), _module_of


def _module_of(node: fx.Node) -> str:
    stack = [*node.meta.get("nn_module_stack", {}).values()]
    return re.sub(r"@\d+", "", stack[-1][0]) if stack else ""  # layer@1: its second call


def _anywhere(graph: fx.Graph) -> fx.Graph:
    """Make tensors where the images are: their device, not that of tracing."""
    images = _images(graph)
    with graph.inserting_after(images):
        device = graph.call_function(getattr, (images, "device"))

    def there(given: Any) -> Any:
        return device if isinstance(given, torch.device) else given

    for node in graph.nodes:
        node.args = fx.node.map_aggregate(node.args, there)
        node.kwargs = fx.node.map_aggregate(node.kwargs, there)
    if not device.users:
        graph.erase_node(device)
    return graph


def _images(graph: fx.Graph) -> fx.Node:
    images: fx.Node = next(node for node in graph.nodes if node.op == "placeholder")
    return images


def _defaults(built: nn.Module) -> dict[str, Any]:
    """Return what a model takes beside images, as it is where nobody gives it."""
    takes = inspect.signature(built.forward).parameters.values()
    return {one.name: one.default for one in takes if one.default is not inspect.Parameter.empty}


def _cleared(graph: fx.Graph) -> fx.Graph:
    """Remove what has no effect on the logits: checks of shapes, and arguments left out."""
    images = _images(graph)
    for node in reversed([*graph.nodes]):
        checks = called(node) in ("_assert", "_assert_is_none")
        kept = node.users or changes(node) or node.op == "output" or node is images
        if checks or not kept:
            graph.erase_node(node)
    return graph


def _tracer(model: str) -> Any:
    if not model.startswith("timm:"):
        return NodePathTracer()
    marked: Any = importlib.import_module("timm.models._features_fx")
    functions = tuple(marked.get_notrace_functions())
    leaves = list(marked.get_notrace_modules())
    return NodePathTracer(leaf_modules=leaves, autowrap_functions=functions)


def _values(traced: fx.GraphModule, px: int) -> dict[fx.Node, Any]:
    """Return every node's value for a batch, as shapes without memory."""
    values: dict[fx.Node, Any] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            values[n] = super().run_node(n)
            return values[n]

    with (
        _unchanged(traced),
        FakeTensorMode(allow_non_fake_inputs=True),
        torch.inference_mode(),
    ):
        Recorder(traced, garbage_collect_values=False).run(torch.empty(BATCH, 3, px, px))
    return values


@contextlib.contextmanager
def _unchanged(whole: nn.Module) -> Iterator[None]:
    """Take back what modules keep meanwhile, such as a table of a size: it would have no memory."""
    before = [({**vars(one)}, {**one._buffers}, one) for one in whole.modules()]
    yield
    for own, buffers, one in before:
        vars(one).clear()
        vars(one).update(own)
        one._buffers.clear()
        one._buffers.update(buffers)
