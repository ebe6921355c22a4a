"""Every engine gives the unsplit eager model's answer, within what it states."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from paretopipe_runtime import engines, golden
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.engines import StageToLoad
from tests.effort import THOROUGH, some
from tests.engines.conftest import Stage, boundaries, compute, inputs

#: What compiles takes half a minute a stage: see test_compile.py and campaigns/.
QUICK = [name for name in ENGINES if name != "compile"]
#: A chain, one with residual blocks and one that branches.
NAMES = MODEL_NAMES if THOROUGH else ("mobilenetv2", "resnet18", "inceptionv3")


def cut(whole: StageToLoad, first: int, end: int) -> StageToLoad:
    """The blocks [first, end) of a whole model."""
    takes = boundaries(whole.model, whole.takes.shape[0])[first]
    return dataclasses.replace(whole, first=first, end=end, takes=takes)


@pytest.mark.parametrize("engine", QUICK)
@pytest.mark.parametrize("name", NAMES)
def test_two_stages_equal_the_unsplit_eager_model(engine: str, name: str, stage: Stage) -> None:
    whole = stage(name)
    batch = inputs(whole)
    reference = golden.reference_logits(name, 10, whole.manifest, whole.store, [batch])[0]
    blocks = model_info(name).blocks
    for split in some([blocks // 2, 1, blocks - 2], 1):
        crossing = compute(engine, cut(whole, 0, split), batch)
        logits = compute(engine, cut(whole, split, blocks), crossing)
        proof = golden.compare(logits, reference, ENGINES[engine].tolerance)
        assert proof.max_rel_err <= ENGINES[engine].tolerance, split
        assert proof.argmax_equal, split


@pytest.mark.parametrize("engine", [name for name in QUICK if name != "eager"])
@pytest.mark.parametrize("name", some(["mobilenetv2", "alexnet", "resnet18"], 1))
def test_every_block_alone_is_a_stage(engine: str, name: str, stage: Stage) -> None:
    """Those that compute nothing too: a dropout's stage gives what it takes."""
    whole = stage(name)
    array = inputs(whole)
    for index in range(model_info(name).blocks):
        block = cut(whole, index, index + 1)
        expected = compute("eager", block, array.copy())
        output = compute(engine, block, array.copy())
        assert output.shape == expected.shape, index
        np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())
        array = expected


@pytest.mark.parametrize("engine", QUICK)
def test_mixed_up_images_are_far_outside_the_tolerance(engine: str, stage: Stage) -> None:
    whole = stage("mobilenetv2")
    logits = compute(engine, whole, inputs(whole)[::-1].copy())
    reference = compute("eager", whole, inputs(whole))
    assert golden.compare(logits, reference).max_rel_err > 10 * ENGINES[engine].tolerance


@pytest.mark.parametrize("engine", QUICK)
def test_a_second_batch_leaves_the_first_output_alone(engine: str, stage: Stage) -> None:
    whole = stage("alexnet", 0, 5)
    function = engines.load(engine, whole)
    first, second = (torch.from_numpy(inputs(whole, seed)) for seed in (0, 1))
    with torch.inference_mode():
        output = function(first.clone())
        kept = output.clone()
        function(second)
    assert torch.equal(output, kept)
