"""All processors busy for some seconds: do cooling and supply bear what a sweep asks of them?"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import torch

from paretopipe_runtime.worker.usage import temperature
from paretopipe_runtime.worker.usage.throttling import Throttling, source


def measure(seconds: float) -> dict[str, Any]:
    """Return the temperature before and after in °C, and what the throttle watch saw."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    square = torch.rand(512, 512)
    before_c, watch = temperature.celsius(), Throttling(source())
    watch.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        torch.mm(square, square)
    after_c = temperature.celsius()
    return {"seconds": seconds, "before_c": before_c, "after_c": after_c, **watch.stop()}


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]))))
