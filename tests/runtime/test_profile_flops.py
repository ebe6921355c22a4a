"""Operations by block, against values computed by hand; and folders of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.models.boundaries import block_flops
from paretopipe_runtime.orchestrator.prepared import prepare
from tests.runtime.cluster import Cluster

#: AlexNet's multiply-adds for one image of 224 px: output pixels x filters x inputs of a filter.
ALEXNET = {
    "features.0": 55 * 55 * 64 * (3 * 11 * 11),
    "features.3": 27 * 27 * 192 * (64 * 5 * 5),
    "features.6": 13 * 13 * 384 * (192 * 3 * 3),
    "features.8": 13 * 13 * 256 * (384 * 3 * 3),
    "features.10": 13 * 13 * 256 * (256 * 3 * 3),
    "classifier.1": 256 * 6 * 6 * 4096,
    "classifier.4": 4096 * 4096,
    "classifier.6": 4096 * 1000,
}


def test_a_plain_network_counts_two_for_each_multiply_add() -> None:
    names = model_info("alexnet").block_names
    flops = dict(zip(names, block_flops("alexnet", 1000, 1, 224), strict=True))
    assert {name: count // 2 for name, count in flops.items() if count} == ALEXNET
    assert all(count % 2 == 0 for count in flops.values())


def test_a_depthwise_convolution_counts_its_own_channel_only() -> None:
    stem, first, *_ = block_flops("mobilenetv2", 10, 8, 224)
    assert stem == 2 * 8 * 112 * 112 * 32 * (3 * 3 * 3)
    assert first == 2 * 8 * 112 * 112 * (32 * (3 * 3) + 32 * 16)


def test_a_residual_block_counts_both_its_ways() -> None:
    names = model_info("resnet18").block_names
    flops = dict(zip(names, block_flops("resnet18", 10, 1, 224), strict=True))
    straight = 28 * 28 * 128 * (64 * 3 * 3) + 28 * 28 * 128 * (128 * 3 * 3)
    assert flops["layer2.0"] == 2 * (straight + 28 * 28 * 128 * 64)


@pytest.mark.parametrize("name", ["inceptionv3", "vgg16"])
def test_operations_grow_with_the_batch(name: str) -> None:
    one, four = (block_flops(name, 10, batch, 299) for batch in (1, 4))
    assert four == [4 * count for count in one]
    assert sum(one) > 0


def test_a_folder_of_an_earlier_version_is_completed(tmp_path: Path) -> None:
    document: dict[str, Any] = Cluster(tmp_path, b"", 1).plan(batch_size=1)
    made = prepare(read_plan(document).workload, tmp_path)
    (path,) = tmp_path.glob("prepared/*/facts.json")
    facts = json.loads(path.read_text())
    del facts["flops"]
    facts["work"] = list(made.work)
    path.write_text(json.dumps(facts))
    reference = path.with_name("reference.npy").stat().st_mtime_ns
    again = prepare(read_plan(document).workload, tmp_path)
    assert again.flops == made.flops
    assert again.work == made.work
    assert sum(again.work) == pytest.approx(1)
    assert path.with_name("reference.npy").stat().st_mtime_ns == reference
