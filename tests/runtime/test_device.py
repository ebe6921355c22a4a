"""Devices: the processor costs nothing, a GPU that is not there is told, no parent touches CUDA."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paretopipe_runtime.contract.factors import ENGINES, check_device
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.devices import cuda
from paretopipe_runtime.worker.devices.device import Cpu, open_device
from tests.runtime.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import sys
import torch

def refuse(*_, **__):
    raise SystemExit("the fork server touches CUDA")

for name in ("is_available", "init", "device_count", "current_device", "_lazy_init"):
    setattr(torch.cuda, name, refuse)
from paretopipe_runtime.worker import forkserver
forkserver.warm()
assert not torch.cuda.is_initialized()
print(*sys.modules)
"""


def without_cuda() -> bool:
    return not torch.cuda.is_available()


def test_the_processor_adds_nothing_to_a_batch() -> None:
    device = open_device("cpu")
    assert isinstance(device, Cpu)

    def compute(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    assert device.place(compute) is compute
    assert device.from_host(compute, Tensor((1,), "float32", 4), "contiguous") is compute
    assert not device.pinned
    assert device.facts == device.report() == {}


def test_the_fork_server_never_touches_cuda() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "paretopipe_runtime.worker.stage" in loaded
    for name in ("devices.cuda", "usage.nvml"):
        assert f"paretopipe_runtime.worker.{name}" not in loaded
    assert "pynvml" not in loaded


def test_only_the_file_for_gpus_calls_cuda() -> None:
    """The stage names an exception of it; a call anywhere else might be the fork server's."""
    for path in sorted((ROOT / "paretopipe_runtime").rglob("*.py")):
        named = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.cuda")
        }
        if path.name != "cuda.py":
            assert named <= {"torch.cuda", "torch.cuda.OutOfMemoryError"}, path


@pytest.mark.skipif(not without_cuda(), reason="is about hosts without a GPU, and this one has one")
def test_cuda_that_is_not_there_is_told_before_the_sweep(cluster: Cluster) -> None:
    plan = cluster.plan(cell_id="mobilenetv2.cuda")
    plan["workers"][0]["device"] = "cuda"
    said: list[str] = []
    with pytest.raises(ParetoPipeError) as caught:
        prepare_cells([plan], cluster.state_dir, cluster.keys, said.append)
    sentence = str(caught.value)
    assert sentence.startswith(
        f"E_DEVICE: pi1: asked for cuda, and torch {torch.__version__} has none here: "
    )
    assert "worker_device: cpu" in sentence
    assert "\n" not in sentence
    assert said == []


@pytest.mark.parametrize(
    ("version", "error", "count", "told"),
    [
        (
            None,
            None,
            0,
            r"was built without CUDA — name a CUDA build for this host .*worker_device: cpu",
        ),
        (
            "12.8",
            RuntimeError("Found no NVIDIA driver.\nMore"),
            0,
            r"\(Found no NVIDIA driver\) — see",
        ),
        ("12.8", None, 1, r"it finds 1, counted from cuda:0 — set worker_device to one of them"),
    ],
)
def test_each_way_to_have_no_gpu_is_a_sentence_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    version: str | None,
    error: Exception | None,
    count: int,
    told: str,
) -> None:
    def init() -> None:
        if error:
            raise error

    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ParetoPipeError, match=rf"^E_DEVICE: asked for cuda:1, and torch .*{told}"):
        cuda.open_gpu("cuda:1")


def test_an_engine_made_for_processors_is_refused_on_a_gpu() -> None:
    for name, engine in ENGINES.items():
        check_device(name, "cpu", "server")
        if engine.cuda:
            check_device(name, "cuda", "server")
            continue
        with pytest.raises(
            ParetoPipeError,
            match=rf"E_ENGINE: engine {name} .*server is to compute on cuda — choose -e "
            "engine=eager or -e engine=channels_last",
        ):
            check_device(name, "cuda", "server")
