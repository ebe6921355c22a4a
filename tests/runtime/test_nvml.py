"""A GPU's load and company through a stand-in for pynvml: what is told, and what is not."""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from paretopipe_runtime.worker.usage import nvml

UUID = "8f3c1f2e-0000-0000-0000-000000000001"


class Error(Exception):
    """Stands for pynvml.NVMLError."""


class Mismatch(Exception):
    """Stands for pynvml.NVMLLibraryMismatchError, which is no NVMLError."""


class Pynvml:
    """As nvidia-ml-py 13 behaves, with this process and one more on the GPU."""

    NVMLError = Error
    NVMLLibraryMismatchError = Mismatch

    def __init__(self) -> None:
        self.loads = iter([10, 30, *[50] * 1000])
        self.running: Any = [
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=700),
            SimpleNamespace(pid=1, usedGpuMemory=300),
        ]
        self.drawing: Any = [SimpleNamespace(pid=2, usedGpuMemory=None)]
        self.load_error: Exception | None = None

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != f"GPU-{UUID}":
            raise Error("Not Found")
        return "handle"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        assert handle == "handle"
        if self.load_error:
            raise self.load_error
        return SimpleNamespace(gpu=next(self.loads), memory=1)

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
    fake.load_error = fake.running = fake.drawing = error
    gpu, _ = nvml.find(UUID)
    assert watch(gpu) == {
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
