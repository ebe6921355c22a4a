"""A GPU's load, memory and other users, from NVML.

Where nvidia-ml-py or the driver is missing, a stage runs all the same, and its record says so.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Callable
from typing import Any

PERIOD_S = 0.1


class Gpu:
    """One GPU, sampled from `start` to `stop`.

    NVML's load is the share of time with a kernel running, over up to a second
    (https://docs.nvidia.com/deploy/nvml-api/api/structnvmlUtilization__t.html): shorter runs
    include time before them. Its clock falls while it has nothing to do. `uuid` is CUDA's: NVML's
    indices differ.
    """

    def __init__(self, uuid: str, nvml: Any) -> None:
        self._nvml = nvml
        # The second is raised where the driver is too old for a function, and is no NVMLError.
        self._silent = (nvml.NVMLError, nvml.NVMLLibraryMismatchError)
        nvml.nvmlInit()
        self._handle = handle = self._find(uuid)
        self.driver = str(nvml.nvmlSystemGetDriverVersion())
        self._asked: dict[str, Callable[[], float]] = {
            "percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "performance_state": lambda: nvml.nvmlDeviceGetPerformanceState(handle),
        }
        self._told: dict[str, list[float]] = {name: [] for name in self._asked}
        self._others: dict[int, int | None] | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._look()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Return the figures; None for unavailable ones.

        `used_bytes` is this process's at the end, `others` are other processes at start or
        end. Of the clock of its multiprocessors there is the median and the least; performance
        states go from 0, the fastest, to 15.
        """
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        own = self._look()
        others = self._others
        percents, clocks, states = self._told.values()
        return {
            "percent": statistics.fmean(percents) if percents else None,
            "samples": len(percents),
            "sm_clock_mhz": statistics.median(clocks) if clocks else None,
            "sm_clock_least_mhz": min(clocks, default=None),
            "performance_states": sorted(set(states)) or None,
            "used_bytes": own,
            "others": None if others is None else len(others),
            "others_bytes": None if others is None else sum(n or 0 for n in others.values()),
        }

    def _find(self, uuid: str) -> Any:
        by_uuid = self._nvml.nvmlDeviceGetHandleByUUID
        try:
            return by_uuid(f"GPU-{uuid}")
        except self._nvml.NVMLError:
            return by_uuid(f"MIG-{uuid}")  # a slice of a GPU

    def _sample(self) -> None:
        while not self._ended.wait(PERIOD_S):
            for name, ask in [*self._asked.items()]:
                try:
                    self._told[name].append(ask())
                except (
                    self._silent
                ):  # this product does not tell: no samples, and the record says so
                    del self._asked[name]
                    self._told[name].clear()

    def _look(self) -> int | None:
        """Note the other processes on the GPU; return this one's bytes."""
        own = None
        for ask in (
            "nvmlDeviceGetComputeRunningProcesses",
            "nvmlDeviceGetGraphicsRunningProcesses",
        ):
            try:
                running = getattr(self._nvml, ask)(self._handle)
            except self._silent:
                continue
            seen = {process.pid: process.usedGpuMemory for process in running}
            own = seen.pop(os.getpid(), own)
            self._others = {**(self._others or {}), **seen}
        return own


def find(uuid: str) -> tuple[Gpu | None, dict[str, Any]]:
    """Return the GPU and its driver, or None and the reason."""
    try:
        import pynvml
    except ImportError:
        return None, {"nvml": "nvidia-ml-py is not installed: run playbooks/provision.yml"}
    try:
        gpu = Gpu(uuid, pynvml)
    except pynvml.NVMLError as error:
        return None, {"nvml": str(error)}
    return gpu, {"gpu_driver": gpu.driver}
