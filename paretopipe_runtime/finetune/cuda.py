"""Choice of the training device. May start CUDA, so no fork server may import this."""

from __future__ import annotations

import torch

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.worker.devices.cuda import exact_float32


def device_called(name: str) -> torch.device:
    """Return the device ``cpu`` or ``cuda``; ``auto`` prefers CUDA. Raises ``E_OPTION``."""
    here = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if here else "cpu"
    if name not in ("cpu", "cuda") or (name == "cuda" and not here):
        raise ParetoPipeError(
            "E_OPTION",
            f"device={name} is not here: PyTorch {torch.__version__} on this host can use "
            f"cpu{' and cuda' if here else ''} — choose one, or auto",
        )
    if name == "cuda":
        exact_float32()  # as in a sweep, so that its answers have this accuracy
    return torch.device(name)
