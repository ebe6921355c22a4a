"""Folded batch normalisations, and tensors with their channels innermost."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paretopipe_runtime import engines
from paretopipe_runtime.contract.models import MODEL_NAMES
from tests.engines.conftest import Stage, inputs


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_no_batch_normalisation_is_left(name: str, stage: Stage) -> None:
    modules = engines.load("channels_last", stage(name))
    assert isinstance(modules, nn.Sequential)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in modules.modules())
    assert not any(parameter.requires_grad for parameter in modules.parameters())


def test_one_without_its_convolution_stays(stage: Stage) -> None:
    modules = engines.load("channels_last", stage("resnet18", 1, 6))
    assert isinstance(modules, nn.Sequential)
    left = [key for key, layer in modules.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    assert left == ["0"]


def test_what_it_gives_needs_no_reordering(stage: Stage) -> None:
    whole = stage("mobilenetv2", 0, 3)
    function = engines.load("channels_last", whole)
    given = torch.from_numpy(inputs(whole)).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        output = function(given)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert not output.is_contiguous()
