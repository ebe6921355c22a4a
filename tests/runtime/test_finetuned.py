"""From random values to a measured split: trained on real images, published, swept, proved."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.weights import Published, read_published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.datasets import open_dataset
from paretopipe_runtime.finetune.progress import Progress, Work
from paretopipe_runtime.finetune.training import evaluate
from paretopipe_runtime.golden import TOLERANCE, compare, input_batches
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.weights import block_path, check_store, load_stage, make_seeded_weights
from tests.effort import trials
from tests.finetune.processes import Processes
from tests.made.weights import named, unwritten
from tests.runtime.cluster import Cluster

CLI = [sys.executable, "-m", "paretopipe_runtime.cli"]
CHANCE = 0.1
# After one epoch, as rounding has it, 20 %; of 359 images chance has 15 % once in a thousand times.
EPOCHS, BATCH, LEARNT = trials(1, 8), trials(16, 32), trials(15, 90) / 100


@pytest.fixture(scope="module")
def document(cluster: Cluster) -> dict[str, Any]:
    """What fine-tuning publishes of MobileNetV2 on the handwritten digits, from random values."""
    options = ("--dataset", "digits", "--pretrained", "none", "--image", "32")
    steps = ("--epochs", str(EPOCHS), "--batch", str(BATCH))
    processes = Processes()  # with one thread: two, of two busy cores, take ten times as long
    try:
        processes.start(
            cluster.folder,
            ["finetune", "mobilenetv2", *options, *steps, "--state-dir", str(cluster.state_dir)],
        )
        done = processes.wait()
    finally:
        processes.close()
    assert done.status == 0, done.stderr
    (path,) = (cluster.state_dir / "weights/sets/finetuned").glob("*.json")
    published: dict[str, Any] = json.loads(path.read_text())
    return published


@pytest.fixture
def weights(document: dict[str, Any]) -> Published:
    found = read_published(document)
    assert found is not None
    return found


@pytest.fixture
def plan(cluster: Cluster, document: dict[str, Any]) -> dict[str, Any]:
    parts = ("weights", "weights_digest", "weights_manifest")
    return cluster.plan(**{part: document[part] for part in parts})


def accuracy(weights: Published, store: Path) -> float:
    """The share of held-out digits that these blocks, from this store, get right."""
    stage = load_stage("mobilenetv2", 10, weights.manifest, store, 0, 21)
    test = open_dataset("digits", 32, store).test
    progress = Progress(None, Work(0, 0, 0, 0))
    return evaluate(stage, test, 32, 64, torch.device("cpu"), progress, lambda: False).accuracy


def sweep(cluster: Cluster, folder: Path, plan: dict[str, Any]) -> list[dict[str, Any]]:
    (folder / "plan.json").write_text(json.dumps(plan))
    files = ("--records", str(folder / "cell.jsonl"), "--key-file", str(cluster.key_file))
    done = subprocess.run(
        [*CLI, "sweep", str(folder / "plan.json"), *files, "--state-dir", str(cluster.state_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, (folder / "cell.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "run"]


def test_it_learns_more_than_chance_and_with_time_nine_in_ten(
    document: dict[str, Any], weights: Published, cluster: Cluster
) -> None:
    origin = weights.manifest.origin
    assert origin is not None
    before = document["made"]["history"][0]["validation_accuracy"]
    assert before < 2.5 * CHANCE, "random values know nothing"
    assert origin.accuracy >= LEARNT
    assert origin.test_images > 300
    assert (origin.dataset, origin.base, origin.image_px) == ("digits", "none", 32)
    assert accuracy(weights, cluster.state_dir / "weights") == origin.accuracy


@pytest.mark.parametrize("image_px", [32, 64])
def test_trained_weights_leave_the_proof_its_margins(
    weights: Published, cluster: Cluster, image_px: int
) -> None:
    """Rounding stays below the tolerance on any machine, and a mixed-up image far above it."""
    stage = load_stage("mobilenetv2", 10, weights.manifest, cluster.state_dir / "weights", 0, 21)
    batches = [torch.from_numpy(batch) for batch in input_batches(8, image_px, 2, 0)]
    with torch.inference_mode():
        usual = np.stack([stage(batch.clone()).numpy() for batch in batches])
        stage.double()
        exact = np.stack([stage(batch.double()).numpy() for batch in batches])
    assert compare(usual, exact.astype(np.float32)).max_rel_err < TOLERANCE / 2
    images = usual.reshape(-1, 10) / np.abs(usual).max()
    closest = min(np.abs(a - b).max() for a, b in itertools.combinations(images, 2))
    assert closest > 100 * TOLERANCE


def test_a_sweep_proves_that_it_ran_those_weights(
    cluster: Cluster, plan: dict[str, Any], weights: Published, tmp_path: Path
) -> None:
    prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
    rows = sweep(cluster, tmp_path, plan)
    assert len(rows) == 4
    origin = weights.manifest.origin
    assert origin is not None
    for row in rows:
        assert row["status"] == "ok"
        assert row["proof"]["weights_digest"] == weights.manifest.digest
        assert row["proof"]["max_rel_err"] <= row["proof"]["tolerance"]
        assert row["factors"]["weights"] == "finetuned"
        assert row["factors"]["weights_digest"] == weights.manifest.digest
        assert "weights_seed" not in row["factors"]
        assert row["weights"]["accuracy"] == origin.accuracy
        assert row["weights"]["name"] == "finetuned"
    for host in cluster.agents:
        # The workers hold every block by its digest, and what they hold is as good.
        store = cluster.folder / host / "weights"
        check_store(weights, store)
        assert accuracy(weights, store) == origin.accuracy
    seeded = make_seeded_weights("mobilenetv2", 10, 0, cluster.state_dir / "weights")
    assert rows[0]["proof"]["weights_digest"] != seeded.digest
    assert not {b.sha256 for b in seeded.blocks if b.parameters} & {
        b.sha256 for b in weights.manifest.blocks
    }


def test_the_same_sweep_with_seeded_weights_is_another_measurement(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    few = {**plan, "splits": [[3]], "repeats": 1}
    sweep(cluster, tmp_path, few)
    seeded = {key: value for key, value in few.items() if not key.startswith("weights_")}
    seeded |= {"weights": "seeded", "weights_seed": 0}
    prepare_cells([seeded], cluster.state_dir, cluster.keys, lambda _: None)
    rows = sweep(cluster, tmp_path, seeded)
    assert len({row["run_key"] for row in rows}) == 2
    assert [row["factors"].get("weights_seed") for row in rows] == [None, 0]
    assert sweep(cluster, tmp_path, few) == rows, "what is measured is not measured again"


@pytest.fixture
def _damaged(cluster: Cluster, weights: Published) -> Iterator[None]:
    path = block_path(cluster.state_dir / "weights", weights.manifest.blocks[3].sha256)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    yield
    path.write_bytes(content)


@pytest.mark.usefixtures("_damaged")
def test_a_block_that_changed_on_the_disk_is_not_run(
    cluster: Cluster, plan: dict[str, Any]
) -> None:
    other = {**plan, "batch_size": 3}  # prepared by none of the tests before
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: block features\.3 of .* or damaged"):
        prepare_cells([other], cluster.state_dir, cluster.keys, lambda _: None)


def test_weights_that_are_not_in_the_store_say_how_to_make_them(cluster: Cluster) -> None:
    plan = cluster.plan(**named(unwritten(name="elsewhere")))
    with pytest.raises(ParetoPipeError, match=r"'elsewhere' is missing .* playbooks/finetune\.yml"):
        prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)


def test_other_classes_than_the_weights_have_are_refused(
    cluster: Cluster, plan: dict[str, Any]
) -> None:
    assert model_info("mobilenetv2").default_classes == plan["classes"]
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: .* with 10 classes, the plan asks for"):
        prepare_cells([{**plan, "classes": 1000}], cluster.state_dir, cluster.keys, lambda _: None)
