"""Fine-tuning through Ansible: trained on the orchestrator, brought home, measured, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.published import read

pytestmark = pytest.mark.testbed

ROOT = Path(__file__).resolve().parents[2]
NAME = "pytest-finetuned"
HOME = ROOT / f"experiments/weights/{NAME}/mobilenetv2.json"
RESULTS = ROOT / "experiments/results" / NAME
TRAIN = f"model=mobilenetv2 dataset=digits pretrained=none image=32 epochs=2 weights={NAME}"
MEASURE = (
    f"experiment=demo image=32 sweep={NAME} weights={NAME} splits=17 repeats=1 scenarios=baseline "
    "pairings=pi_to_pi end_points=false sentinel=false profile=false"
)
STATE = "/var/lib/paretopipe"
On = Callable[[str, str], str]


@pytest.fixture(scope="module", autouse=True)
def _clean(testbed: On) -> Iterator[None]:
    def remove() -> None:
        for folder in (HOME.parent, RESULTS, ROOT / "reports/html" / NAME):
            shutil.rmtree(folder, ignore_errors=True)
        testbed("server", f"rm -rf {STATE}/finetune {STATE}/weights/sets/{NAME}")

    remove()
    yield
    remove()


def test_a_killed_controller_s_training_stops_and_goes_on(
    testbed: On, starting: Callable[..., subprocess.Popen[str]], playbook: Callable[..., Any]
) -> None:
    controller = starting("finetune", "-e", TRAIN)
    deadline = time.monotonic() + 300
    while '"runs_done": 0' in testbed(
        "server", f"cat {STATE}/finetune.progress.json || echo '\"runs_done\": 0'"
    ):
        assert controller.poll() is None, controller.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(1)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.communicate(timeout=30)
    assert playbook("reset").status == 0
    assert testbed("server", "systemctl is-active paretopipe-sweep; true") == "inactive"
    assert not HOME.exists()

    done = playbook("finetune", "-e", TRAIN)
    assert done.status == 0, done.output
    assert "held-out images of digits right; measure with -e weights=" in done.output
    assert testbed("server", "systemctl is-active paretopipe-sweep; true") == "inactive"
    weights = read(json.loads(HOME.read_text()))
    assert weights is not None
    assert weights.manifest.origin is not None


def test_the_same_command_again_trains_nothing(playbook: Callable[..., Any]) -> None:
    before = HOME.read_bytes()
    done = playbook("finetune", "-e", TRAIN)
    assert done.status == 0, done.output
    assert HOME.read_bytes() == before


def test_a_mistake_in_the_training_is_its_own_sentence(playbook: Callable[..., Any]) -> None:
    done = playbook("finetune", "-e", f"{TRAIN} dataset=/nowhere")
    assert done.status != 0
    assert "E_DATA: there is no data set /nowhere" in done.errors[0]


def test_a_sweep_runs_the_published_weights(playbook: Callable[..., Any]) -> None:
    assert playbook("provision").status == 0
    done = playbook("measure", "-e", MEASURE)
    assert done.status == 0, done.output
    digest = json.loads(HOME.read_text())["weights_digest"]
    (records,) = RESULTS.glob("*.jsonl")
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    (run,) = (row for row in rows if row["kind"] == "run")
    assert run["status"] == "ok"
    assert run["proof"]["weights_digest"] == run["factors"]["weights_digest"] == digest
    page = (ROOT / "reports/html" / NAME / "mobilenetv2.html").read_text()
    assert "handwritten digits (UCI)" in page
