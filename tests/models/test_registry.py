"""The registry: Table I, and nothing heavier than names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.models.architectures import build_model

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
        model = build_model(name, info.default_classes)
        count = sum(parameter.numel() for parameter in model.parameters())
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
