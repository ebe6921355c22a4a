"""Cut points, the tensors that cross them, and every split's answer: the unsplit model's."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.contract.plan import Workload
from paretopipe_runtime.contract.splits import all_splits, coded, stage_ranges, validate_cuts
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.golden import compare, input_batches, reference_logits
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.models.architectures import build_model
from paretopipe_runtime.models.boundaries import block_flops, boundary_shapes
from paretopipe_runtime.weights import load_stage, make_seeded_weights
from paretopipe_runtime.wire.frames import Tensor
from roles.plan.planning.blocks import blocks_of
from tests.effort import some

TOLERANCE = 1e-5
# Two images where that is cheap: a split must keep them apart and in order.
BATCH = {"mobilenetv2": 2, "resnet18": 2, "alexnet": 2}
SMALLEST_PX = {
    "mobilenetv2": 1,
    "resnet18": 1,
    "inceptionv3": 75,
    "resnet50": 1,
    "alexnet": 63,
    "vgg16": 32,
}


def _weights(name: str, store: Path) -> tuple[int, WeightsManifest]:
    classes = model_info(name).default_classes
    return classes, make_seeded_weights(name, classes, 0, store)


def _pipeline(
    name: str, manifest: WeightsManifest, store: Path, cuts: tuple[int, ...], batch: np.ndarray
) -> list[np.ndarray]:
    """Each stage loaded afresh from its files, fed a contiguous copy as if off the wire."""
    arrays = [batch]
    for first, end in stage_ranges(cuts, model_info(name).blocks):
        stage = load_stage(name, manifest.classes, manifest, store, first, end)
        with torch.inference_mode():
            output = stage(
                torch.frombuffer(bytearray(arrays[-1].tobytes()), dtype=torch.float32).reshape(
                    arrays[-1].shape
                )
            )
        arrays.append(output.numpy())
    return arrays[1:]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_splits_equal_the_unsplit_model(name: str, store: Path) -> None:
    classes, manifest = _weights(name, store)
    batch, px = BATCH.get(name, 1), model_info(name).image_px
    inputs = input_batches(batch, px, 1, seed=0)
    reference = reference_logits(name, classes, manifest, store, inputs)[0]
    boundaries = boundary_shapes(name, classes, batch, px)
    for cuts in some(all_splits(model_info(name).blocks), 4):
        crossing, logits = _pipeline(name, manifest, store, cuts, inputs[0])
        boundary = boundaries[cuts[0]]
        assert crossing.shape == boundary.shape, cuts
        assert crossing.dtype.name == boundary.dtype, cuts
        assert crossing.nbytes == boundary.nbytes, cuts
        proof = compare(logits, reference, TOLERANCE)
        assert proof.finite, cuts
        assert proof.argmax_equal, cuts
        assert proof.max_rel_err <= TOLERANCE, cuts


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_controller_without_pytorch_knows_the_blocks(name: str) -> None:
    """From a table, which is to be written again when blocks change."""
    info = model_info(name)
    size = info.default_classes, 2, info.image_px
    table = blocks_of(Workload(name, size[0], info.image_px, 2, "eager"))
    shapes = [tensor.shape for tensor in boundary_shapes(name, *size)]
    for codec, cut in itertools.product(CODECS, range(info.blocks)):
        assert table.hop_bytes(coded((cut,), codec))[0] == CODECS[codec].nbytes(shapes[cut])
    assert table.nbytes[-1] == CODECS[NONE].nbytes(shapes[-1])
    assert list(table.flops) == block_flops(name, *size)
    half = size[0], 2, info.image_px // 2
    scaled = blocks_of(Workload(name, size[0], half[2], 2, "eager"))
    real = [tensor.nbytes for tensor in boundary_shapes(name, *half)]
    assert sum(scaled.nbytes) == pytest.approx(sum(real), rel=0.15)
    assert sum(scaled.flops) == pytest.approx(sum(block_flops(name, *half)), rel=0.35)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_three_stages_equal_the_unsplit_model(name: str, store: Path) -> None:
    classes, manifest = _weights(name, store)
    inputs = input_batches(2, 80, 1, seed=1)
    reference = reference_logits(name, classes, manifest, store, inputs)[0]
    blocks = model_info(name).blocks
    logits = _pipeline(name, manifest, store, (blocks // 3, 2 * blocks // 3), inputs[0])[-1]
    assert compare(logits, reference, TOLERANCE).max_rel_err <= TOLERANCE


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_blocks_in_a_row_are_torchvisions_model(name: str, store: Path) -> None:
    """The same tensors, under torchvision's names and through its own forward method."""
    classes, manifest = _weights(name, store)
    stages = load_stage(name, classes, manifest, store, 0, model_info(name).blocks)
    names = [block for block, _ in build_blocks(name, classes)]
    state = {
        f"{block}.{key}": value
        for block, module in zip(names, stages, strict=True)
        for key, value in module.state_dict().items()
    }
    model = build_model(name, classes).eval()
    report = model.load_state_dict(state, strict=False, assign=True)
    assert report.unexpected_keys == []
    assert all(key.startswith("AuxLogits.") for key in report.missing_keys)
    assert bool(report.missing_keys) == (name == "inceptionv3")
    inputs = input_batches(2, 80, 1, seed=2)
    with torch.inference_mode():
        expected = model(torch.from_numpy(inputs[0])).numpy()
    reference = reference_logits(name, classes, manifest, store, inputs)[0]
    assert compare(reference, expected, TOLERANCE).max_rel_err <= TOLERANCE


def test_every_inner_boundary_is_a_split() -> None:
    assert all_splits(model_info("resnet18").blocks) == [(cut,) for cut in range(1, 14)]
    assert sum(len(all_splits(model_info(name).blocks)) for name in MODEL_NAMES) == 133


def test_stage_ranges_cover_all_blocks() -> None:
    assert stage_ranges((), 21) == [(0, 21)]
    assert stage_ranges((3,), 21) == [(0, 3), (3, 21)]
    assert stage_ranges((3, 9), 21) == [(0, 3), (3, 9), (9, 21)]


def test_valid_cuts_come_back_as_a_tuple() -> None:
    assert validate_cuts("vgg16", 39, [1, 38]) == (1, 38)
    assert validate_cuts("vgg16", 39, []) == ()


@pytest.mark.parametrize("cuts", [[0], [39], [40], [-1], [True], [1.0], ["3"], [5, 39]])
def test_cuts_out_of_range_are_refused(cuts: list[int]) -> None:
    with pytest.raises(ParetoPipeError, match=r"^E_SPLIT: split .* of vgg16 .* 1…38 — "):
        validate_cuts("vgg16", 39, cuts)


@pytest.mark.parametrize("cuts", [[3, 3], [9, 3]])
def test_cuts_that_do_not_increase_are_refused(cuts: list[int]) -> None:
    with pytest.raises(ParetoPipeError, match=r"^E_SPLIT: cut points .* do not increase"):
        validate_cuts("vgg16", 39, cuts)


def test_boundaries_of_the_paper_are_known() -> None:
    boundaries = boundary_shapes("mobilenetv2", 10, 8, 224)
    assert len(boundaries) == 22
    assert boundaries[0] == Tensor((8, 3, 224, 224), "float32", 4_816_896)
    assert boundaries[3] == Tensor((8, 24, 56, 56), "float32", 2_408_448)
    assert boundaries[21] == Tensor((8, 10), "float32", 320)


@pytest.mark.parametrize("name", [name for name, px in SMALLEST_PX.items() if px > 1])
def test_too_small_an_image_is_refused_with_the_smallest_that_works(name: str) -> None:
    smallest = SMALLEST_PX[name]
    with pytest.raises(ParetoPipeError, match=rf"^E_IMAGE: .*{name}.* have {smallest} — "):
        boundary_shapes(name, 10, 8, smallest - 1)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_smallest_image_is_what_the_cpu_takes_too(name: str) -> None:
    assert set(SMALLEST_PX) == set(MODEL_NAMES)
    smallest = SMALLEST_PX[name]
    assert boundary_shapes(name, 10, 1, smallest)[-1].shape == (1, 10)
    chain = torch.nn.Sequential(*(module for _, module in build_blocks(name, 10, device="cpu")))
    assert model_info(name).blocks == len(chain)
    with torch.inference_mode():
        assert chain(torch.zeros(1, 3, smallest, smallest)).shape == (1, 10)
        if smallest > 1:
            with pytest.raises(RuntimeError):
                chain(torch.zeros(1, 3, smallest - 1, smallest - 1))
