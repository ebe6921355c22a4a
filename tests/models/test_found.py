"""Found blocks: where models can be cut, that the blocks are the model, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from paretopipe_runtime import cut
from paretopipe_runtime.contract.models import MODEL_NAMES, file_name, is_found, model_info
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks, found, found_model, tracing
from paretopipe_runtime.models.architectures import THEIR_NAMES
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.weights import load_stage, make_seeded_weights
from tests.made.plans import document

NETS = "module:tests.made.nets."
LAYERS = [f"steps.{step}.{layer}" for step in (0, 2) for layer in range(3)]


def boundaries(modules: dict[str, torch.nn.Module], px: int) -> set[tuple[int, int]]:
    """Return parameters before, and elements at, each boundary behind the first block."""
    tensor, parameters, seen = torch.empty(1, 3, px, px, device="meta"), 0, set()
    with torch.inference_mode():
        for module in modules.values():
            tensor = module.to("meta")(tensor)
            parameters += sum(one.numel() for one in module.parameters())
            seen.add((parameters, tensor.numel()))
    return seen


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_boundary_of_the_papers_blocks_is_among_the_found_ones(name: str) -> None:
    info = model_info(name)
    theirs = THEIR_NAMES.get(name, name)
    blocks = dict(build_blocks(name, info.default_classes))
    every = found.find(f"torchvision:{theirs}", info.default_classes, every=True)
    found_ones = boundaries(every.modules, info.image_px)
    assert boundaries(blocks, info.image_px) <= found_ones
    assert len(every.modules) == every.cuts + 1


@pytest.mark.parametrize(
    ("net", "every"),
    [
        ("chain", [*LAYERS[:3], "steps.1.0", "steps.1.1", "steps.1.2", "mean", "head"]),
        ("residual", [*LAYERS[:3], "add", *LAYERS[3:], "mean", "head"]),
        ("dense", ["add_1", "mean", "head"]),
        # A position table and a class token do not cross; a number of images is told by the tensor.
        ("Tokens", ["patches", "cat", "add", "layer", "norm", "getitem_1", "head"]),
    ],
)
def test_a_cut_is_where_one_tensor_is_all_that_goes_on(net: str, every: list[str]) -> None:
    made = found.find(NETS + net, 10, every=True)
    assert [*made.modules] == every
    assert [*found.find(NETS + net, 10).modules] == [
        block
        for block in every
        if block not in ("add", "mean", "cat", "getitem_1") or net == "dense"
    ]


@pytest.mark.parametrize(
    ("model", "way"),
    [
        ("torchvision:resnet18", "fx"),
        ("torchvision:shufflenet_v2_x0_5", "fx"),
        (NETS + "Tokens", "fx"),
        # A path by a size, keywords, masks, a table kept for a size, an output filled, tied layers.
        (NETS + "Deciding", "export"),
    ],
)
def test_blocks_one_after_the_other_are_the_model_bit_for_bit(model: str, way: str) -> None:
    said = cut.listing(model, 10)
    assert (said["max_rel_err"], said["traced"]) == (0, way)
    assert json.loads(json.dumps(said)) == said
    shapes = boundary_shapes(model, 10, 1, said["image_px"])
    assert [block["elements"] for block in said["blocks"]] == [
        math.prod(tensor.shape) for tensor in shapes[1:]
    ]
    assert said["blocks"][-1]["name"] == [*found_model(model, 10).modules][-1]


@pytest.mark.parametrize(
    ("model", "seen"),
    [
        ("torchvision:resnet19", "torchvision has no classifier of that name; it has alexnet"),
        ("module:nowhere.at_all", "needs the package nowhere, which is not installed here"),
        ("module:tests.made.nets.absent", "has no attribute 'absent'"),
        (NETS + "nothing", "returned int, expected a torch.nn.Module"),
        (NETS + "Branching", "(torch.fx: TraceError: "),
        (NETS + "Branching", "; torch.export: "),
        (NETS + "Branching", "must not depend on the images"),
        (NETS + "pixels", "gives (2, 3, 224, 224) for 2 images, expected (2, 10): logits"),
        ("torchvision:alexnet", ""),
    ],
)
def test_what_cannot_be_cut_is_said_in_a_sentence(model: str, seen: str) -> None:
    assert is_found(model)
    if not seen:
        found.find(model, 10)
        return
    with pytest.raises(ParetoPipeError, match=r"^E_MODEL: ") as caught:
        found.find(model, 10)
    assert seen in str(caught.value)


def test_torch_export_cuts_where_torch_fx_does_and_its_graph_is_told_from_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = NETS + "residual"
    usual = found.find(net, 10)
    monkeypatch.setattr(tracing, "WAYS", ("export",))
    exported, again = found.find(net, 10), found.find(net, 10)
    assert exported.way == "export"
    assert [*usual.modules] == [*exported.modules]
    assert exported.graph == again.graph != usual.graph
    assert exported.graph != found.find(net, 11).graph
    names = [{*found.whole.state_dict()} for found in (usual, exported)]
    parts = [name for module in exported.modules.values() for name in module.state_dict()]
    assert {*parts} <= names[0] == names[1]


def test_an_old_pytorch_says_which_one_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.export.Dim, "DYNAMIC")
    with pytest.raises(ParetoPipeError, match=r"torch\.export: .* 2\.6 and later do not"):
        found.find(NETS + "Deciding", 10)


def test_a_model_that_answers_differently_each_time_is_refused() -> None:
    with pytest.raises(ParetoPipeError, match="does it compute with random numbers"):
        cut.listing(NETS + "Forgetful", 10)


def test_a_graph_is_told_from_others_and_is_the_same_every_time() -> None:
    graphs = [
        found.find(model, classes).graph
        for model, classes in (
            *((NETS + "chain", 10),) * 2,
            *((NETS + "chain", 11), (NETS + "residual", 10)),
        )
    ]
    assert graphs[0] == graphs[1]
    assert len({*graphs}) == 3


def test_a_host_that_finds_another_graph_refuses(tmp_path: Any) -> None:
    model = NETS + "chain"
    manifest = make_seeded_weights(model, 10, 0, tmp_path)
    assert WeightsManifest.from_json(manifest.to_json()) == manifest
    assert make_seeded_weights(model, 10, 0, tmp_path) == manifest
    load_stage(model, 10, manifest, tmp_path, 0, 2)
    other = replace(manifest, graph="0" * 64)
    with pytest.raises(ParetoPipeError, match=r"E_MODEL.*install the same versions"):
        load_stage(model, 10, other, tmp_path, 0, 2)


def test_a_plan_brings_the_blocks_and_the_run_key_their_graph() -> None:
    model = NETS + "residual"
    said = {"block_names": ["a", "b", "c"], "classes": 10, "image_px": 32, "graph": "f" * 64}
    plan = read_plan(document(model=model, found=said))
    assert [*plan.splits] == [(1,), (2,)]
    assert plan.workload.factors["graph"] == "f" * 64
    assert file_name(model) == "module-tests.made.nets.residual"
    with pytest.raises(ParetoPipeError, match="E_PLAN"):
        read_plan(document(model=model, found={**said, "block_names": ["a", "a"]}))
    with pytest.raises(ParetoPipeError, match=r"E_MODEL.*playbooks/cut.yml"):
        read_plan(document(model="timm:never_seen"))
