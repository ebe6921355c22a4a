"""Engines: the unsplit eager model's answer from each, what is folded, what is compiled."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paretopipe_runtime import engines, golden
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.engines import compile as compiling
from paretopipe_runtime.errors import ParetoPipeError
from tests.effort import THOROUGH, some
from tests.engines.conftest import Stage, boundaries, compute, inputs

#: What compiles takes half a minute a stage: see below and campaigns/.
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


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is missing: apt install g++")
def test_a_stage_is_compiled_once_for_any_weights(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "LAUNCH_LIMIT_S", 500.0)  # a busy machine is no finding here
    one = stage("resnet18", 1, 4)
    array = np.random.default_rng(0).standard_normal(one.takes.shape, dtype=np.float32)
    given = array.copy()
    output = compute("compile", one, given)
    np.testing.assert_allclose(output, compute("eager", one, array.copy()), rtol=1e-4, atol=1e-5)
    assert np.array_equal(given, array)
    (library,) = (one.cache / "compile").iterdir()
    assert library.suffix == ".so"

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiling, "_compile", refuse)
    other = stage("resnet18", 1, 4, seed=1)
    expected = compute("eager", other, array.copy())
    assert not np.allclose(expected, output)
    np.testing.assert_allclose(compute("compile", other, array), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError, match="compiled again"):
        compute("compile", stage("resnet18", 1, 4, batch=1), array[:1])


def test_without_a_compiler_it_names_the_package(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .*g\+\+ is not on this host — install"):
        engines.load("compile", stage("alexnet", 0, 1))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A script in the compiling process's place, and a C++ compiler for it to find."""
    monkeypatch.setattr(compiling.shutil, "which", lambda _: "/usr/bin/g++")
    python = tmp_path / "python"
    python.touch(0o755)
    monkeypatch.setattr(compiling.sys, "executable", str(python))
    return python


@pytest.mark.parametrize(
    ("limit", "wait", "told"),
    [
        ("LAUNCH_LIMIT_S", None, r"not done within 0 s; playbooks/prepare\.yml allows 1800 s —"),
        ("LIMIT_S", lambda: None, "not done within 0 s — choose"),
    ],
)
def test_a_host_that_is_too_slow_is_told_so(
    stage: Stage, compiler: Path, monkeypatch: pytest.MonkeyPatch, limit: str, wait: Any, told: str
) -> None:
    monkeypatch.setattr(compiling, limit, 0.2)
    compiler.write_text("#!/bin/sh\nexec sleep 20\n")
    one = dataclasses.replace(stage("alexnet", 0, 1), wait=wait)
    with pytest.raises(ParetoPipeError, match=rf"^E_ENGINE: .* blocks 0…1 of alexnet .*{told}"):
        engines.load("compile", one)
    assert list((one.cache / "compile").iterdir()) == []


def test_a_compiler_that_takes_long_gives_signs_of_life(
    stage: Stage, compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "LAUNCH_LIMIT_S", 0.1)
    monkeypatch.setattr(compiling, "WAIT_S", 0.1)
    compiler.write_text("#!/bin/sh\nsleep 0.6\necho 'done, and no library' >&2\n")
    signs: list[float] = []
    one = dataclasses.replace(stage("alexnet", 0, 1), wait=lambda: signs.append(time.monotonic()))
    with pytest.raises(ParetoPipeError, match="done, and no library"):
        engines.load("compile", one)
    assert len(signs) > 2


def test_a_compiler_that_fails_is_quoted(stage: Stage, compiler: Path) -> None:
    compiler.write_text("#!/bin/sh\necho 'first line' >&2\necho 'no such header' >&2\nexit 1\n")
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .*no such header — choose"):
        engines.load("compile", stage("alexnet", 0, 1))
