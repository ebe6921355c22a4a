"""Sets of weights: published whole under a name, checked wherever they are read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.weights import Origin, Published, WeightsManifest, read_published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import block_path, check_store, publish, set_path
from tests.made.weights import ORIGIN, named, unwritten, written


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
