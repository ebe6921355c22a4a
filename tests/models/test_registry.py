"""What models there are, their blocks and sizes, and how they are built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks, keep_built, parameter_count
from roles.preflight.judging import sizes

ROOT = Path(__file__).parents[2]
# Model: blocks, classes, parameters, image.
TABLE_I = {
    "mobilenetv2": (21, 10, 2_236_682, 224),
    "resnet18": (14, 1000, 11_689_512, 224),
    "inceptionv3": (22, 10, 24_371_444, 299),
    "resnet50": (22, 1000, 25_557_032, 224),
    "alexnet": (21, 1000, 61_100_840, 224),
    "vgg16": (39, 1000, 138_357_544, 224),
}


def test_models_are_those_of_table_i() -> None:
    found = {}
    for name in MODEL_NAMES:
        info = model_info(name)
        count = parameter_count(name, info.default_classes)
        found[name] = (info.blocks, info.default_classes, count, info.image_px)
    assert found == TABLE_I


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_built_blocks_have_the_stated_names(name: str) -> None:
    names = model_info(name).block_names
    blocks = build_blocks(name, 10)
    assert tuple(block for block, _ in blocks) == names
    assert len(set(names)) == len(names)
    assert not any(module.training for _, module in blocks)
    assert all(p.is_meta and not p.requires_grad for _, m in blocks for p in m.parameters())


def test_only_the_asked_for_blocks_are_returned() -> None:
    blocks = build_blocks("alexnet", 10, device="cpu", first=2, end=5)
    assert [name for name, _ in blocks] == ["features.2", "features.3", "features.4"]
    assert blocks[1][1].weight.device == torch.device("cpu")


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ParetoPipeError, match=r"^E_MODEL: .*'vgg11'.*mobilenetv2.*-e model=") as e:
        model_info("vgg11")
    assert e.value.code == "E_MODEL"


@pytest.mark.parametrize("module", ["models", "models.boundaries", "weights", "golden"])
def test_importing_the_model_side_does_not_import_torch(module: str) -> None:
    code = f"""
import sys
import paretopipe_runtime.{module}
assert not {{"torch", "torchvision"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_weights_are_those_of_the_blocks(name: str) -> None:
    info, model = model_info(name), sizes.MODELS[name]
    blocks = [block for _, block in build_blocks(name, info.default_classes, device="meta")]
    weights = [
        sum(tensor.nbytes for tensor in (*block.parameters(), *block.buffers())) for block in blocks
    ]
    cuts = range(1, len(blocks))
    assert model.weights == round(sum(weights) / sizes.MIB)
    assert model.firsts == round(sum(sum(weights[:cut]) for cut in cuts) / sizes.MIB)
    assert model.lasts == round(sum(sum(weights[cut:]) for cut in cuts) / sizes.MIB)


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=120)


def test_models_build_without_the_extension() -> None:
    _run(
        """
import torch
def refuse(path):
    raise OSError("libtorch_cuda.so: cannot open shared object file")
torch.ops.load_library = refuse
from paretopipe_runtime.models import build_blocks
assert len(build_blocks("inceptionv3", 10)) == 22
from paretopipe_runtime.models.compat import allow_missing_extension
allow_missing_extension()  # a second time changes nothing
"""
    )


def test_a_loadable_extension_keeps_its_own_operators() -> None:
    _run(
        """
import torch
torch.ops.load_library = lambda path: None
torch.library.define = None  # any definition of ours would now fail
from paretopipe_runtime.models import compat
compat.allow_missing_extension()
"""
    )


def test_what_is_kept_is_handed_out_once() -> None:
    keep_built("alexnet", 10)
    (first, second, third) = (build_blocks("alexnet", 10, first=2, end=5) for _ in range(3))
    names = [name for name, _ in first]
    assert names == [name for name, _ in second] == ["features.2", "features.3", "features.4"]
    assert str(first) == str(second) == str(third)
    every = [id(module) for blocks in (first, second, third) for _, module in blocks]
    assert len(set(every)) == len(every), "no two share a module"
    assert not any(module.training for _, module in first)


def test_what_is_kept_for_other_classes_is_left_alone() -> None:
    keep_built("alexnet", 10)
    (name, head) = build_blocks("alexnet", 1000)[-1]
    assert (name, head.out_features) == ("classifier.6", 1000)
    (name, head) = build_blocks("alexnet", 10)[-1]
    assert (name, head.out_features) == ("classifier.6", 10)


def test_a_build_takes_what_is_kept_instead_of_building() -> None:
    keep_built("alexnet", 10)
    from paretopipe_runtime.models import blocks

    kept = blocks._kept["alexnet", 10]["features.3"]
    assert build_blocks("alexnet", 10, first=3, end=4)[0][1] is kept
