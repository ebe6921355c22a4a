"""A stage's memory allocator, part of a run's identity.

glibc returns large free blocks to the kernel by default, and every batch faults its pages in again:
most of a small model's time. ``tuned`` keeps them.
"""

from __future__ import annotations

import ctypes

from paretopipe_runtime.errors import ParetoPipeError

_MIB = 1024 * 1024
# malloc.h's numbers. The trim threshold is an int: 2 GiB - 1 is the most that mallopt(3) takes.
_TUNED = {
    "M_MMAP_THRESHOLD": (-3, 1024 * _MIB),
    "M_TRIM_THRESHOLD": (-1, 2048 * _MIB - 1),
    "M_TOP_PAD": (-2, 64 * _MIB),
}


def apply(setting: str) -> None:
    """Configure the allocator, before the first large tensor.

    Raises ``E_ALLOCATOR`` where the C library cannot.
    """
    if setting == "default":
        return
    library = ctypes.CDLL(None)
    for name, (number, value) in _TUNED.items():
        if not hasattr(library, "mallopt") or library.mallopt(number, value) != 1:
            raise ParetoPipeError(
                "E_ALLOCATOR",
                f"this host's C library does not take {name}={value} — set worker_allocator: "
                "default for it in the inventory",
            )
