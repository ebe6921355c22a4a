"""Programs exported for ExecuTorch, a method a stage, and sentences where it cannot run."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from paretopipe_runtime import engines, golden
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.contract.weights import PROGRAM
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import digest_of
from paretopipe_runtime.weights import block_path, verify_stage
from tests.effort import THOROUGH, some
from tests.engines.conftest import Stage, compute, inputs
from tests.engines.test_engines import cut
from tests.shared import needs_executorch

TOLERANCE = ENGINES["xnnpack"].tolerance
ADVICE = r"^E_ENGINE: .* runtime_engines: \[xnnpack"
Export = Callable[..., list[StageToLoad]]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Return a function that exports blocks of a model in one program, and its stages."""

    def exported(whole: StageToLoad, *ranges: tuple[int, int]) -> list[StageToLoad]:
        stages = [cut(whole, first, end) for first, end in ranges]
        engines.export("xnnpack", stages, tmp_path / "program")
        sha256 = digest_of(tmp_path / "program")
        (tmp_path / "program").rename(tmp_path / f"{sha256}{PROGRAM}")
        manifest = dataclasses.replace(whole.manifest, program=sha256)
        return [dataclasses.replace(each, manifest=manifest, store=tmp_path) for each in stages]

    return exported


@needs_executorch
@pytest.mark.parametrize("name", MODEL_NAMES if THOROUGH else ["alexnet"])  # the quickest
def test_two_stages_equal_the_unsplit_eager_model(name: str, stage: Stage, export: Export) -> None:
    whole = stage(name)
    blocks = model_info(name).blocks
    splits = some([blocks // 2, 1, blocks - 2], 1)
    ranges = [each for split in splits for each in ((0, split), (split, blocks))]
    exported = export(whole, *ranges)
    weights = sum(block.nbytes for block in whole.manifest.blocks)
    assert (
        block_path(exported[0].store, exported[0].manifest.files[0]).stat().st_size < 1.3 * weights
    )
    batch = inputs(whole)
    reference = golden.reference_logits(name, 10, whole.manifest, whole.store, [batch])[0]
    for first, last in zip(exported[::2], exported[1::2], strict=True):
        logits = compute("xnnpack", last, compute("xnnpack", first, batch))
        proof = golden.compare(logits, reference, TOLERANCE)
        assert proof.max_rel_err <= TOLERANCE, first.end
        assert proof.argmax_equal, first.end


@needs_executorch
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["mobilenetv2", "inceptionv3", "alexnet"])
def test_every_block_alone_is_a_stage(name: str, stage: Stage, export: Export) -> None:
    whole = stage(name)
    blocks = model_info(name).blocks
    array = inputs(whole)
    for block in export(whole, *((index, index + 1) for index in range(blocks))):
        expected = compute("eager", cut(whole, block.first, block.end), array.copy())
        output = compute("xnnpack", block, array.copy())
        assert output.shape == expected.shape, block.first
        np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())
        array = expected


@needs_executorch
def test_a_method_keeps_its_outputs_apart_and_the_threads_it_is_given(
    stage: Stage, export: Export
) -> None:
    one, _ = export(stage("alexnet"), (0, 5), (1, 2))  # a ReLU in place, alone
    function = engines.load("xnnpack", one)
    first, second = (torch.from_numpy(inputs(one, seed)) for seed in (0, 1))
    output = function(first)
    kept = output.clone()
    engines.load("xnnpack", one)  # leaves the pool to those that have it
    function(second)
    assert torch.equal(output, kept)
    runtime = sys.modules["executorch.extension.pybindings._C"]
    assert runtime._threadpool_get_thread_count() == len(os.sched_getaffinity(0))
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .* blocks 0…4 of alexnet .* prepare"):
        engines.load("xnnpack", dataclasses.replace(one, end=4))


def test_without_the_package_it_says_what_to_set(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = "executorch.extension.pybindings"
    for name in ("executorch", runtime, f"{runtime}._C"):
        monkeypatch.setitem(sys.modules, name, None)
    one = stage("mobilenetv2", 0, 3)
    with pytest.raises(ParetoPipeError, match=rf"{ADVICE}\] .* \{{executorch: 1\.0\.1\}}"):
        engines.load("xnnpack", one)
    with pytest.raises(ParetoPipeError, match=rf"{ADVICE}, xnnpack-export\]"):
        engines.export("xnnpack", [one], tmp_path / "program")


def test_a_damaged_program_is_not_loaded(stage: Stage, tmp_path: Path) -> None:
    one = stage("mobilenetv2", 0, 3)
    (tmp_path / "program").write_bytes(b"sound")
    manifest = dataclasses.replace(one.manifest, program=digest_of(tmp_path / "program"))
    path = (tmp_path / "program").rename(tmp_path / f"{manifest.program}{PROGRAM}")
    verify_stage(manifest, tmp_path, 0, 3)  # its blocks' files need not be there
    path.write_bytes(b"found")
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: .*'s program: .*prepare.yml sends it"):
        verify_stage(manifest, tmp_path, 0, 3)
