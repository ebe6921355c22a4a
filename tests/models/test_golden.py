"""Golden inputs, and what counts as the same answer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.golden import compare, input_batches, input_digest, reference_logits
from paretopipe_runtime.weights import make_seeded_weights

REFERENCE = np.array([[1.0, 3.0, 2.0], [-4.0, 0.5, 0.0]], np.float32)


def test_inputs_are_seeded_normalised_images() -> None:
    batches = input_batches(2, 40, 3, seed=0)
    assert [batch.shape for batch in batches] == [(2, 3, 40, 40)] * 3
    assert all(batch.dtype == np.float32 and batch.flags.c_contiguous for batch in batches)
    assert all(batch.flags.writeable for batch in batches)
    assert all(-2.2 < batch.min() < -1 and 1 < batch.max() < 2.7 for batch in batches)
    images = [image.tobytes() for batch in batches for image in batch]
    assert len(set(images)) == 6


def test_input_digest_is_the_same_everywhere() -> None:
    # Pinned: nodes compare it, so no machine or library version may make other images.
    assert (
        input_digest(input_batches(2, 224, 2, seed=0))
        == "bbc94f380948dc364bd0adfce6f544d479ab4e1a7a31a1d4b23bf0adfe5afebb"
    )
    assert (
        input_digest(input_batches(2, 224, 2, seed=1))
        != "bbc94f380948dc364bd0adfce6f544d479ab4e1a7a31a1d4b23bf0adfe5afebb"
    )
    longer = input_batches(2, 224, 3, seed=0)
    assert input_digest(longer[:2]) == input_digest(input_batches(2, 224, 2, seed=0))
    assert input_digest(longer) != input_digest(longer[::-1])


def test_images_of_cifar_size_are_not_resampled() -> None:
    enlarged, original = (input_batches(1, px, 1, seed=0)[0] for px in (96, 32))
    assert np.allclose(enlarged[..., 1::3, 1::3], original, atol=1e-6)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_seeded_models_tell_images_apart(name: str, store: Path) -> None:
    info = model_info(name)
    manifest = make_seeded_weights(name, info.default_classes, 0, store)
    batches = input_batches(4, 128, 1, seed=0)
    logits = reference_logits(name, info.default_classes, manifest, store, batches)
    assert logits.shape == (1, 4, info.default_classes)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert 0.01 < np.abs(logits).max() < 1e4
    between_images = logits[0].std(axis=0).mean()
    assert between_images > 0.05 * logits[0].std(axis=1).mean()


def test_equal_logits_prove_equal() -> None:
    proof = compare(REFERENCE, REFERENCE.copy())
    assert (proof.max_rel_err, proof.argmax_equal, proof.finite) == (0.0, True, True)


def test_error_is_relative_to_the_largest_logit_of_each_batch() -> None:
    stack = np.stack([REFERENCE, 100 * REFERENCE])
    logits = stack.copy()
    logits[0, 1, 2] += 0.5
    assert compare(logits, stack).max_rel_err == pytest.approx(0.5 / 4)
    logits = stack.copy()
    logits[1, 1, 2] += 0.5
    assert compare(logits, stack).max_rel_err == pytest.approx(0.5 / 400)


def test_another_class_is_noticed_unless_it_ties() -> None:
    swapped = REFERENCE[:, [0, 2, 1]]
    assert not compare(swapped, REFERENCE).argmax_equal
    near = REFERENCE.copy()
    near[0] = (1.0, 2.0, 2.00001)
    other = near.copy()
    other[0] = (1.0, 2.00001, 2.0)
    assert compare(other, near).argmax_equal
    assert not compare(other, near, tolerance=1e-7).argmax_equal


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_prove_nothing(value: float) -> None:
    broken = REFERENCE.copy()
    broken[1, 1] = value
    for pair in ((broken, REFERENCE), (REFERENCE, broken), (broken, broken)):
        proof = compare(*pair)
        assert (proof.max_rel_err, proof.argmax_equal, proof.finite) == (math.inf, False, False)


def test_another_shape_proves_nothing() -> None:
    proof = compare(REFERENCE[:1], REFERENCE)
    assert (proof.max_rel_err, proof.argmax_equal, proof.finite) == (math.inf, False, True)


def test_all_zero_reference_does_not_divide_by_zero() -> None:
    zero = np.zeros_like(REFERENCE)
    assert compare(zero, zero).max_rel_err == 0
    assert compare(REFERENCE, zero).max_rel_err == 4
