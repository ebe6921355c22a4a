"""Cut points and the tensors that cross them."""

from __future__ import annotations

import pytest
import torch

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.contract.splits import all_splits, stage_ranges, validate_cuts
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.wire.frames import Tensor

SMALLEST_PX = {
    "mobilenetv2": 1,
    "resnet18": 1,
    "inceptionv3": 75,
    "resnet50": 1,
    "alexnet": 63,
    "vgg16": 32,
}


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
