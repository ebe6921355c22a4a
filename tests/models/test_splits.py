"""Every split of every model gives the unsplit model's answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.contract.splits import all_splits, stage_ranges
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.golden import compare, input_batches, reference_logits
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.models.architectures import build_model
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.weights import load_stage, make_seeded_weights
from tests.effort import some

TOLERANCE = 1e-5
# Two images where that is cheap: a split must keep them apart and in order.
BATCH = {"mobilenetv2": 2, "resnet18": 2, "alexnet": 2}


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
