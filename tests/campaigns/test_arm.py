"""A Raspberry Pi 4's processor, emulated: which PyTorch works there, and a pipeline on to x86-64.

Run by `make arm`. Speed means nothing under emulation, so no time is kept.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from paretopipe_runtime import try_torch
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.weights import make_seeded_weights
from tests.campaigns.conftest import Findings
from tests.campaigns.emulated_pi import (
    MODEL,
    ON_A_PI,
    PROCESSOR,
    QEMU,
    TOO_NEW,
    Environment,
    environments,
)
from tests.playbooks.conftest import run_playbook
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import runs, sweep

ROOT = Path(__file__).parents[2]
SWEEP = "campaign-arm"
CUTS = (3, 9, 17)
ENDS = ("all on pi1", "all on pi2")
TOLERANCE = 1e-5
NEWER = "max"  # QEMU's processor with all extensions
BATCHES = {"warmup_batches": 1, "latency_batches": 2, "throughput_batches": 4}
WEIGHTS = """
import pathlib, sys
from paretopipe_runtime.weights import make_seeded_weights
print(make_seeded_weights("mobilenetv2", 10, 0, pathlib.Path(sys.argv[1])).digest)
"""

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not all(environment.is_made for environment in environments()),
        reason="the emulated processor is not there: `make arm` makes it",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def emulator(findings: Findings) -> None:
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    findings.add(f"{said.splitlines()[0]}; no time is kept, for speed means nothing under it")
    findings.add("")


def tried(release: str, processor: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Environment(release).python, "-"],
        input=Path(try_torch.__file__).read_text(),
        env={**os.environ, "QEMU_CPU": processor},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("release", [ON_A_PI["torch"], *TOO_NEW])
def test_only_builds_for_the_processor_pass_the_check(findings: Findings, release: str) -> None:
    for processor in (PROCESSOR, NEWER):
        done = tried(release, processor)
        said = done.stderr.strip().rpartition("\n")[2] if done.returncode else "works"
        findings.add(f"PyTorch {release:<6} -cpu {processor:<10} {said}")
        if release in TOO_NEW and processor == PROCESSOR:
            assert done.returncode == 1
            assert said.startswith(f"torch {release} does not work on this host (illegal instr")
            assert all(f"{package} {what}" in said for package, what in ON_A_PI.items())
        else:
            assert done.returncode == 0, done.stderr


@pytest.fixture
def kept() -> Iterator[Path]:
    folder = ROOT / f"experiments/results/{SWEEP}"
    shutil.rmtree(folder, ignore_errors=True)
    yield folder / "preflight.json"
    shutil.rmtree(folder, ignore_errors=True)


def inventory(folder: Path, release: str) -> Path:
    """Write an inventory with this machine, emulated, as pi1."""
    here = {
        "ansible_connection": "local",
        "ansible_become": False,
        "experiment_ip": "127.0.0.1",
        "emulation": "processes",
        "experiment_interface": "lo",
        "runtime_home": str(folder / "home"),
        "runtime_state_dir": str(folder / "state"),
    }
    there = Environment(release)
    pi = {
        "experiment_ip": "127.0.0.2",
        "ansible_python_interpreter": str(there.python),
        "runtime_python": str(there.python),
        "runtime_home": str(there.home),
        "runtime_versions": there.versions,
    }
    groups = {
        "controller": {"hosts": {"localhost": here}},
        "orchestrator": {"hosts": {"pi2": None}},
        "workers": {"hosts": {"pi1": {**here, **pi}, "pi2": here}},
        "netem_hosts": {"hosts": {"pi1": None}},
    }
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(groups, sort_keys=False))
    return path


@pytest.mark.parametrize("release", [ON_A_PI["torch"], *TOO_NEW])
def test_the_preflight_stops_what_would_die(
    findings: Findings, tmp_path: Path, kept: Path, release: str
) -> None:
    asked = f"model=mobilenetv2 pairings=pi_to_pi scenarios=baseline sweep={SWEEP}"
    hosts = str(inventory(tmp_path, release))
    done = run_playbook("preflight", "-i", hosts, "-e", asked, timeout_s=1800)
    assert kept.exists(), done.output
    seen = json.loads(kept.read_text())
    facts = seen["hosts"]["pi1"]
    assert (facts["machine"], facts["cpu"], facts["torch"]) == ("aarch64", MODEL, release)
    stops = [finding["text"] for finding in seen["findings"] if finding["level"] == "stop"]
    said = f"stops: {'; '.join(stops)}" if stops else "passes"
    findings.add(f"PyTorch {release:<6} preflight.yml  {said}")
    if release in TOO_NEW:
        assert done.status != 0
        (sentence,) = done.errors
        assert f"pi1: torch {release} dies with an illegal instruction in a convo" in sentence
        assert "on a Cortex-A72 (Pi 4) 2.3.1, 2.8.0, 2.9.1 run, 2.4.0 and 2.10.0 do n" in sentence
    else:
        assert done.status == 0, done.output
        assert facts["convolution"] == {"status": 0, "said": "", "now": True}


def test_seeded_weights_are_the_same_to_the_last_bit(findings: Findings, tmp_path: Path) -> None:
    done = subprocess.run(
        [Environment(ON_A_PI["torch"]).python, "-c", WEIGHTS, tmp_path / "there"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = make_seeded_weights("mobilenetv2", 10, 0, tmp_path / "here").digest
    findings.add(f"MobileNetV2's seeded weights: {here[:12]} here, {done.stdout[:12]} on the Pi")
    assert done.stdout.strip() == here


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """pi1 on the emulated processor, pi2 on this machine's."""
    python = Environment(ON_A_PI["torch"]).python
    folder = tmp_path_factory.mktemp("mixed")
    with Cluster.running(folder, pythons={"pi1": python}, start_s=900) as made:
        yield made


def test_a_pipeline_from_arm_to_x86_gives_the_unsplit_models_answer(
    mixed: Cluster, tmp_path: Path, findings: Findings
) -> None:
    splits = [[cut] for cut in CUTS]
    plan = mixed.plan(splits=splits, repeats=1, end_points=True, image_px=224, **BATCHES)
    prepare_cells([plan], mixed.state_dir, mixed.keys, print)
    weights = {path.name for path in (mixed.state_dir / "weights").glob("*.safetensors")}
    assert weights == {path.name for path in (mixed.folder / "pi1/weights").iterdir()}
    done = sweep(mixed, tmp_path, plan, timeout=3000)
    rows = {row["factors"]["split"]: row for row in runs(tmp_path)}
    for row in sorted(rows.values(), key=lambda row: row["factors"]["cuts"]):
        findings.add(_line(row))
    assert done.returncode == 0, done.stderr + mixed.log("pi1")
    assert set(rows) == {*(f"P{cut}" for cut in CUTS), *ENDS}
    for row in rows.values():
        _assert_proved(row)
    for split in set(rows) - {ENDS[0]}:
        there, here = rows[split]["hosts"]["pi1"], rows[split]["hosts"]["pi2"]
        assert (there["machine"], here["machine"]) == ("aarch64", platform.machine())
        assert there["torch"].partition("+")[0] == ON_A_PI["torch"]
        assert here["torch"] == torch.__version__


def _line(row: dict[str, Any]) -> str:
    if "proof" not in row:
        return f"{row['factors']['split']:<11} {row['status']}: {row['message']}"
    hosts = [row["hosts"][stage["host"]] for stage in row["stages"]]
    chain = " → ".join(f"{host['machine']} with torch {host['torch']}" for host in hosts)
    return (
        f"{row['factors']['split']:<11} {chain}: {row['status']}, largest relative error "
        f"{row['proof']['max_rel_err']:.1e} (allowed {TOLERANCE:.0e}) over "
        f"{row['proof']['batches_checked']} batches, {row['hops'][0]['bytes_received']} of "
        f"{row['hops'][0]['bytes_planned']} B over the first hop"
    )


def _assert_proved(row: dict[str, Any]) -> None:
    assert row["status"] == "ok"
    assert row["proof"]["batches_checked"] == sum(BATCHES.values())
    assert row["proof"]["argmax_equal"]
    assert row["proof"]["max_rel_err"] <= TOLERANCE
    for hop in row["hops"]:
        assert hop["bytes_planned"] == hop["bytes_sent"] == hop["bytes_received"]
