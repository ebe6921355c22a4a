"""Devices and memory: the processor costs nothing, a GPU is told or missed; the allocator."""

from __future__ import annotations

import ast
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from paretopipe_runtime.contract.factors import ENGINES, check_device
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker import allocator
from paretopipe_runtime.worker.devices import cuda
from paretopipe_runtime.worker.devices.device import Cpu, open_device
from paretopipe_runtime.worker.usage import nvml
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
UUID = "8f3c1f2e-0000-0000-0000-000000000001"
FAULTS = """
import resource, sys
import numpy as np
from paretopipe_runtime.worker import allocator
allocator.apply(sys.argv[1])
def use():
    np.ones(8_000_000)  # 64 MB: 15,625 pages
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
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


@pytest.mark.parametrize("kind", [torch.cuda.OutOfMemoryError, RuntimeError])
def test_a_full_gpu_is_no_wrong_build(
    monkeypatch: pytest.MonkeyPatch, kind: type[RuntimeError]
) -> None:
    def full(_device: torch.device) -> None:
        raise kind("CUDA error: out of memory\nCUDA kernel errors might be …")

    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", full)
    monkeypatch.setattr(cuda, "exact_float32", lambda: None)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"^CUDA error: out of memory$"):
        cuda.open_gpu("cuda")


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


class Error(Exception):
    """Stands for pynvml.NVMLError."""


class Mismatch(Exception):
    """Stands for pynvml.NVMLLibraryMismatchError, which is no NVMLError."""


class Pynvml:
    """As nvidia-ml-py 13 behaves, with this process and one more on the GPU."""

    NVMLError = Error
    NVML_CLOCK_SM = 1
    NVMLLibraryMismatchError = Mismatch

    def __init__(self) -> None:
        self.loads = iter([10, 30, *[50] * 1000])
        self.clocks = iter([1980, 345, *[1755] * 1000])
        self.states = iter([0, 8, *[2] * 1000])
        self.running: Any = [
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=700),
            SimpleNamespace(pid=1, usedGpuMemory=300),
        ]
        self.drawing: Any = [SimpleNamespace(pid=2, usedGpuMemory=None)]
        self.load_error: Exception | None = None
        self.clock_error: Exception | None = None
        self.uuid = f"GPU-{UUID}"

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != self.uuid:
            raise Error("Not Found")
        return "handle"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        assert handle == "handle"
        if self.load_error:
            raise self.load_error
        return SimpleNamespace(gpu=next(self.loads), memory=1)

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:
        assert (handle, kind) == ("handle", self.NVML_CLOCK_SM)
        if self.clock_error:
            raise self.clock_error
        return next(self.clocks)

    def nvmlDeviceGetPerformanceState(self, _handle: str) -> int:
        return next(self.states)

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> Any:
        return self._told(self.running)

    def nvmlDeviceGetGraphicsRunningProcesses(self, _handle: str) -> Any:
        return self._told(self.drawing)

    def _told(self, answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Pynvml:
    made = Pynvml()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setattr(nvml, "PERIOD_S", 0.01)
    return made


def watch(gpu: nvml.Gpu | None) -> dict[str, Any]:
    assert gpu is not None
    gpu.start()
    time.sleep(0.3)
    return gpu.stop()


@pytest.mark.usefixtures("fake")
def test_load_memory_and_company() -> None:
    gpu, told = nvml.find(UUID)
    assert told == {"gpu_driver": "580.1"}
    seen = watch(gpu)
    assert seen["samples"] > 2
    assert seen["percent"] == (10 + 30 + 50 * (seen["samples"] - 2)) / seen["samples"]
    assert (seen["used_bytes"], seen["others"], seen["others_bytes"]) == (700, 2, 300)
    assert (seen["sm_clock_mhz"], seen["sm_clock_least_mhz"]) == (1755, 345)
    assert seen["performance_states"] == [0, 2, 8]


def test_a_slice_of_a_gpu_is_found_and_tells_what_it_can(fake: Pynvml) -> None:
    fake.uuid, fake.load_error = f"MIG-{UUID}", Error("Not Supported")
    gpu, told = nvml.find(UUID)
    assert told == {"gpu_driver": "580.1"}
    seen = watch(gpu)
    assert (seen["percent"], seen["samples"]) == (None, 0)
    assert seen["sm_clock_least_mhz"] == 345


def test_a_process_that_came_or_went_meanwhile_was_there(fake: Pynvml) -> None:
    gpu, _ = nvml.find(UUID)
    assert gpu is not None
    gpu.start()
    fake.running = [SimpleNamespace(pid=3, usedGpuMemory=5)]
    fake.drawing = []
    seen = gpu.stop()
    assert (seen["used_bytes"], seen["others"], seen["others_bytes"]) == (None, 3, 305)


@pytest.mark.parametrize("error", [Error("Not Supported"), Mismatch("too old")])
def test_what_a_product_does_not_tell_is_none_and_no_zero(fake: Pynvml, error: Exception) -> None:
    fake.load_error = fake.clock_error = fake.running = fake.drawing = error
    gpu, _ = nvml.find(UUID)
    assert watch(gpu) == {
        **{"sm_clock_mhz": None, "sm_clock_least_mhz": None, "performance_states": [0, 2, 8]},
        **{"percent": None, "samples": 0, "used_bytes": None},
        **{"others": None, "others_bytes": None},
    }


@pytest.mark.usefixtures("fake")
def test_without_the_package_or_the_driver_the_reason_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert nvml.find("another") == (None, {"nvml": "Not Found"})
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpu, told = nvml.find(UUID)
    assert gpu is None
    assert told["nvml"] == "nvidia-ml-py is not installed: run playbooks/provision.yml"


@pytest.mark.parametrize(("setting", "fewest", "most"), [("default", 500, 10**6), ("tuned", 0, 99)])
def test_tuned_memory_is_not_faulted_in_again(setting: str, fewest: int, most: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, setting], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert fewest <= int(done.stdout) <= most


def test_another_c_library_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Musl:
        """A C library without mallopt."""

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Musl())
    allocator.apply("default")
    with pytest.raises(ParetoPipeError, match=r"E_ALLOCATOR.*worker_allocator: default"):
        allocator.apply("tuned")
