"""A stage's use of processor, memory and network, from psutil."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

from paretopipe_runtime import environment
from paretopipe_runtime.worker.usage import temperature, throttling


class Telemetry:
    """Measures this process and its host between `start` and `stop`.

    Baseline memory includes PyTorch, but no weights and tensors. In a container psutil's host
    figures are the whole machine's.
    """

    def __init__(self) -> None:
        self.host = environment.describe_host()
        self._baseline_rss = psutil.Process().memory_info().rss
        self._began = 0.0
        self._cpu_s = 0.0
        self._network = psutil.net_io_counters()
        self._swapped = environment.swapped_pages()
        self._throttling = throttling.Throttling(throttling.source())

    def start(self) -> None:
        self._throttling.start()
        psutil.cpu_percent()  # the next call reports the time since this one
        self._network = psutil.net_io_counters()
        self._swapped = environment.swapped_pages()
        self._cpu_s = time.process_time()
        self._began = time.perf_counter()

    def stop(self) -> dict[str, Any]:
        """Return the figures since `start`, JSON-ready, units in the names."""
        wall_s = time.perf_counter() - self._began
        cpu_s = time.process_time() - self._cpu_s
        network = psutil.net_io_counters()
        throttled = self._throttling.stop()
        swapped = environment.swapped_since(self._swapped)
        return {
            "cpu_s": cpu_s,
            "wall_s": wall_s,
            "cpu_percent": 100 * cpu_s / wall_s,
            "baseline_rss_bytes": self._baseline_rss,
            "peak_rss_bytes": peak_rss(),
            "threads": len(os.sched_getaffinity(0)),
            "host": {
                "cpu_percent": psutil.cpu_percent(),
                "memory_percent": psutil.virtual_memory().percent,
                "bytes_sent": network.bytes_sent - self._network.bytes_sent,
                "bytes_received": network.bytes_recv - self._network.bytes_recv,
                "boot_id": environment.boot_id(),
                "temperature_c": temperature.celsius(),
                **swapped,
                **throttled,
            },
        }


def peak_rss() -> int:
    """Return peak memory in bytes (``VmHWM``; fork does not inherit it)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
