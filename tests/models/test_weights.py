"""Weights at rest: deterministic, addressed by content, checked; sets of them, published whole."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from paretopipe_runtime import weights
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.contract.weights import Origin, Published, WeightsManifest, read_published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import parameter_count
from paretopipe_runtime.models.initial import initial_tensors, uniform
from paretopipe_runtime.weights import (
    block_path,
    check_store,
    load_stage,
    make_seeded_weights,
    publish,
    set_path,
    verify_block,
)
from tests.made.weights import ORIGIN, named, unwritten, written

SMALL = "mobilenetv2"
BLOCKS = model_info(SMALL).blocks


@pytest.fixture
def own(store: Path, tmp_path: Path) -> tuple[WeightsManifest, Path]:
    """MobileNetV2's weights in a store that the test may damage."""
    manifest = make_seeded_weights(SMALL, 10, 0, store)
    for block in manifest.blocks:
        shutil.copy(block_path(store, block.sha256), tmp_path)
    return manifest, tmp_path


def test_seeded_weights_depend_on_the_seed_alone(store: Path, tmp_path: Path) -> None:
    first = make_seeded_weights(SMALL, 10, 0, store)
    torch.manual_seed(7)
    torch.rand(3)
    state = torch.get_rng_state()
    again = make_seeded_weights(SMALL, 10, 0, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert again == first
    assert again.digest == first.digest
    other = make_seeded_weights(SMALL, 10, 1, tmp_path)
    assert other.digest != first.digest
    changed = [a.name for a, b in zip(first.blocks, other.blocks, strict=True) if a != b]
    assert changed == [block.name for block in first.blocks if block.parameters]


def test_uniform_values_are_the_same_everywhere() -> None:
    # Pinned: another machine or library version that gives other values gives other weights.
    values = uniform("0/conv1.weight", (4,), -1, 1)
    assert values.dtype == np.float32
    assert [float(value).hex() for value in values] == [
        "-0x1.35a4d20000000p-1",
        "-0x1.8555540000000p-1",
        "-0x1.c208880000000p-1",
        "-0x1.0f65e40000000p-1",
    ]
    many = uniform("any", ((1 << 20) + 3,), -1, 1)  # longer than a chunk, and odd
    assert abs(many).max() <= 1
    assert abs(many.mean()) < 0.01
    assert abs(many.var() - 1 / 3) < 0.01
    assert np.array_equal(many[:5], uniform("any", (5,), -1, 1))


def test_filters_sum_to_zero() -> None:
    weight = initial_tensors("conv", torch.nn.Conv2d(8, 4, 3, device="meta"), 0)["weight"]
    assert np.array_equal(weight[:, :4], np.negative(weight[:, 4:]))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_manifest_describes_every_block(name: str, store: Path) -> None:
    info = model_info(name)
    manifest = make_seeded_weights(name, info.default_classes, 0, store)
    assert manifest.source == "seeded:0"
    assert tuple(block.name for block in manifest.blocks) == info.block_names
    unused = 2_565_386 if name == "inceptionv3" else 0  # the auxiliary head's
    total = parameter_count(name, info.default_classes)
    assert sum(block.parameters for block in manifest.blocks) == total - unused
    for block in manifest.blocks:
        assert block_path(store, block.sha256).stat().st_size == block.nbytes
    assert not list(store.glob(".*.partial"))


def test_made_weights_are_found_again(own: tuple[WeightsManifest, Path]) -> None:
    manifest, store = own
    assert make_seeded_weights(SMALL, 10, 0, store) == manifest
    stamps = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    assert make_seeded_weights(SMALL, 10, 0, store) == manifest
    assert {path: path.stat().st_mtime_ns for path in store.iterdir()} == stamps
    block_path(store, manifest.blocks[0].sha256).unlink()
    assert make_seeded_weights(SMALL, 10, 0, store) == manifest
    assert verify_block(store, manifest.blocks[0].sha256)


def test_damaged_manifest_file_is_made_again(own: tuple[WeightsManifest, Path]) -> None:
    manifest, store = own
    (store / f"{SMALL}-10-seeded-0.json").write_text('{"schema_version": 2, "blocks"')
    assert make_seeded_weights(SMALL, 10, 0, store) == manifest


def test_manifest_survives_json(own: tuple[WeightsManifest, Path]) -> None:
    manifest, _ = own
    again = WeightsManifest.from_json(json.loads(json.dumps(manifest.to_json())))
    assert again == manifest
    assert again.digest == manifest.digest


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 3},
        {"model": "vgg16"},
        {"blocks": []},
        {"blocks": None},
        {"extra": 1},
        {"sha256": "../../etc/passwd"},
        {"sha256": 5},
        {"parameters": {}, "unknown": 0},
    ],
)
def test_malformed_manifests_are_refused(
    own: tuple[WeightsManifest, Path], change: dict[str, object]
) -> None:
    document = own[0].to_json()
    if "sha256" in change or "parameters" in change:
        document["blocks"][0] |= change
    else:
        document |= change
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: the weights' manifest is malformed"):
        WeightsManifest.from_json(document)


def test_corruption_is_detected(own: tuple[WeightsManifest, Path]) -> None:
    manifest, store = own
    sha256 = manifest.blocks[0].sha256
    assert verify_block(store, sha256)
    path = block_path(store, sha256)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not verify_block(store, sha256)
    path.unlink()
    assert not verify_block(store, sha256)


@pytest.mark.parametrize("damage", ["missing", "short", "header", "other block"])
def test_a_file_that_cannot_be_loaded_says_which(
    own: tuple[WeightsManifest, Path], damage: str
) -> None:
    manifest, store = own
    path = block_path(store, manifest.blocks[1].sha256)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        path.write_bytes(content[:-4])
    elif damage == "header":
        path.write_bytes(b"\xff" * len(content))
    else:
        other = block_path(store, manifest.blocks[0].sha256).read_bytes()
        path.write_bytes(other.ljust(len(content), b"\0"))
    load_stage(SMALL, 10, manifest, store, 0, 1)
    with pytest.raises(ParetoPipeError, match=rf"^E_WEIGHTS: .* features\.1 from {path}: "):
        load_stage(SMALL, 10, manifest, store, 0, 2)


def test_weights_of_another_model_are_refused(own: tuple[WeightsManifest, Path]) -> None:
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: .* 10 classes, the stage .* 1000"):
        load_stage(SMALL, 1000, *own, 0, BLOCKS)


def test_unwritable_store_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParetoPipeError, match=r"^E_DISK: cannot write weights to .*file/store: "):
        make_seeded_weights(SMALL, 10, 0, tmp_path / "file" / "store")


def test_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_half(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights, "save_file", save_half)
    with pytest.raises(ParetoPipeError, match=r"^E_DISK: .*No space left.* — free some space"):
        make_seeded_weights(SMALL, 10, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stage_is_mapped_and_for_inference_only(own: tuple[WeightsManifest, Path]) -> None:
    manifest, store = own
    stage = load_stage(SMALL, 10, manifest, store, 0, 3)
    assert not stage.training
    assert not any(p.requires_grad or p.is_meta for p in stage.parameters())
    assert not any(buffer.is_meta for buffer in stage.buffers())
    mapped = Path("/proc/self/maps").read_text()
    for index, block in enumerate(manifest.blocks[:4]):
        assert (str(block_path(store, block.sha256)) in mapped) == (index < 3)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_blocks_hold_the_values_drawn_for_them(name: str, store: Path) -> None:
    classes = model_info(name).default_classes
    manifest = make_seeded_weights(name, classes, 0, store)
    stage = load_stage(name, classes, manifest, store, 0, 2)
    for block, module in zip(manifest.blocks, stage, strict=False):
        drawn = initial_tensors(block.name, module, 0)
        assert {key: value.dtype for key, value in drawn.items()} == {
            key: value.numpy().dtype for key, value in module.state_dict().items()
        }
        assert all(np.array_equal(drawn[k], v.numpy()) for k, v in module.state_dict().items())


def test_a_set_is_read_as_it_was_published(tmp_path: Path) -> None:
    weights = unwritten()
    path = publish(tmp_path, weights, {"at": "2000-01-01"})
    assert path == set_path(tmp_path, "finetuned", "mobilenetv2")
    document = json.loads(path.read_text())
    assert read_published(document) == weights
    assert document["made"] == {"at": "2000-01-01"}
    assert [file.name for file in path.parent.iterdir()] == ["mobilenetv2.json"]


def test_seeded_weights_are_no_set() -> None:
    assert read_published({}) is None
    assert read_published({"weights": "seeded"}) is None


@pytest.mark.parametrize("name", ["seeded", "../x", "", "a b", ".x", "a" * 65])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    weights = Published(name, unwritten().manifest)
    with pytest.raises(ParetoPipeError, match=r"^E_OPTION: weights=.* cannot name a set: use "):
        publish(tmp_path, weights, {})
    assert list(tmp_path.iterdir()) == []


def test_the_digest_covers_the_origin_and_leaves_seeded_ones_alone() -> None:
    manifest = unwritten().manifest
    plain = WeightsManifest(manifest.model, manifest.classes, manifest.source, manifest.blocks)
    assert "origin" not in plain.to_json()
    assert plain.digest != manifest.digest
    document = manifest.to_json()
    document["origin"]["accuracy"] = 0.99
    assert WeightsManifest.from_json(document).digest != manifest.digest


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": math.nan},
        {"accuracy": 1.5},
        {"accuracy": -0.1},
        {"accuracy": "0.9"},
        {"epochs": -1},
        {"epochs": True},
        {"epochs": 2.5},
        {"dataset": "x" * 1000},
        {"dataset": "<b>\n"},
        {"dataset": None},
        {"unknown": 1},
    ],
)
def test_a_malformed_origin_is_refused(change: dict[str, Any]) -> None:
    document = unwritten().manifest.to_json()
    document["origin"] |= change
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: the weights' manifest is malformed"):
        WeightsManifest.from_json(document)


@pytest.mark.parametrize("document", [None, [], "x", {}, {"accuracy": 1.0}])
def test_an_origin_is_an_object_with_every_field(document: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Origin.from_json(document)
    assert Origin.from_json(unwritten().manifest.to_json()["origin"]) == ORIGIN


def test_a_changed_manifest_is_not_the_set_that_was_named() -> None:
    document = named(unwritten())
    document["weights_manifest"]["origin"]["accuracy"] = 1.0
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: .* has been changed: its digest is "):
        read_published(document)


def test_the_store_s_files_are_read_and_compared(tmp_path: Path) -> None:
    weights = written(tmp_path)
    check_store(weights, tmp_path)
    path = block_path(tmp_path, weights.manifest.blocks[3].sha256)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: block features\.3 of .*damaged here"):
        check_store(weights, tmp_path)
    path.unlink()
    with pytest.raises(ParetoPipeError, match=r"make them again with playbooks/finetune\.yml"):
        check_store(weights, tmp_path)


def test_a_record_says_what_the_weights_are() -> None:
    weights = unwritten()
    facts = weights.facts()
    assert facts["name"] == "finetuned"
    assert facts["digest"] == weights.manifest.digest
    assert (facts["accuracy"], facts["dataset"], facts["image_px"]) == (
        ORIGIN.accuracy,
        "digits",
        32,
    )
