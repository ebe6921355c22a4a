"""Weights through Ansible: trained on the server, killed, resumed, swept and reported."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.weights import Published, read_published

pytestmark = [pytest.mark.testbed, pytest.mark.thorough, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
NAME = "pytest-finetuned"
HOME = ROOT / f"experiments/weights/{NAME}/mobilenetv2.json"
RESULTS = ROOT / "experiments/results" / NAME
REPORT = ROOT / "reports/html" / NAME
TRAIN = (
    f"model=mobilenetv2 dataset=digits pretrained=none image=32 epochs=6 batch=32 weights={NAME}"
)
SWEEP = (
    f"experiment=demo image=32 sweep={NAME} weights={NAME} splits=3,17 repeats=1 "
    "scenarios=baseline pairings=pi_to_pi end_points=false sentinel=false profile=false"
)
STATE = "/var/lib/paretopipe"
TRAINED_EPOCHS = f"cat {STATE}/finetune/*/checkpoint.json 2>/dev/null | grep -c train_loss; true"
On = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def _clean(testbed: On) -> Iterator[None]:
    def remove() -> None:
        for folder in (HOME.parent, RESULTS, REPORT):
            shutil.rmtree(folder, ignore_errors=True)
        gone = ("finetune", f"weights/sets/{NAME}", f"sweeps/{NAME}*")
        testbed("server", f"rm -rf {' '.join(f'{STATE}/{each}' for each in gone)}")

    remove()
    yield
    remove()


def killed_half_way(testbed: On, controller: subprocess.Popen[str]) -> None:
    """Kill controller and training after the first epoch."""
    try:
        deadline = time.monotonic() + 300
        # Epoch 0 has a train_loss of null, and a line too.
        while int(testbed("server", TRAINED_EPOCHS)) < 2:
            assert controller.poll() is None, controller.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(1)
    finally:
        os.killpg(controller.pid, signal.SIGKILL)
        controller.communicate(timeout=30)
    testbed("server", "systemctl kill -s KILL paretopipe-sweep")


def test_weights_are_trained_killed_resumed_measured_and_reported(
    testbed: On, starting: Callable[..., subprocess.Popen[str]], playbook: Callable[..., Any]
) -> None:
    killed_half_way(testbed, starting("finetune", "-e", TRAIN))
    assert not HOME.exists()
    done = playbook("finetune", "-e", TRAIN)
    assert done.status == 0, done.output
    assert f"of digits right; measure with -e weights={NAME}" in " ".join(done.output.split())
    assert testbed("server", "systemctl is-active paretopipe-sweep; true") == "inactive"
    weights = read_published(json.loads(HOME.read_text()))
    assert weights is not None
    origin = weights.manifest.origin
    assert origin is not None
    assert (origin.dataset, origin.epochs, origin.test_images) == ("digits", 6, 359)
    assert origin.accuracy > 0.5, "five times what chance would be"

    done = playbook("full_sweep", "-e", SWEEP)
    assert done.status == 0, done.output
    _every_run_had(weights)
    for host in ("pi1", "pi2"):
        held = testbed(host, f"cd {STATE}/weights && sha256sum -- *.safetensors")
        content_of = {name: content for content, name in map(str.split, held.splitlines())}
        for block in weights.manifest.blocks:
            assert content_of[f"{block.sha256}.safetensors"] == block.sha256, (host, block.name)
    text = re.sub(r"<[^>]+>", " ", (REPORT / "mobilenetv2.html").read_text())
    accuracy = f"{100 * origin.accuracy:.1f} % on handwritten digits (UCI) (359 held-out images"
    assert accuracy in re.sub(r"\s+", " ", text)


def _every_run_had(weights: Published) -> None:
    (records,) = RESULTS.glob("*.jsonl")
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    runs = [row for row in rows if row["kind"] == "run"]
    assert [row["status"] for row in runs] == ["ok", "ok"]
    digest = weights.manifest.digest
    for run in runs:
        assert run["proof"]["weights_digest"] == run["factors"]["weights_digest"] == digest
        assert run["proof"]["max_rel_err"] <= run["proof"]["tolerance"]
        assert run["weights"]["name"] == run["factors"]["weights"] == NAME
