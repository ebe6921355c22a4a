"""How a stage process gets its memory: glibc's defaults, or settings that keep what was freed.

By default glibc gives a large block back to the kernel as soon as it is free, so that every batch
faults every page of its activations in again: on small models most of a stage's time. ``tuned``
keeps freed memory in the process. It changes what is measured, so it is a factor of a run.
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
    """Set this process's allocator to ``tuned`` or leave it at ``default``.

    To be called before the first large tensor; memory got earlier stays as it is.

    Raises
    ------
    ParetoPipeError
        ``E_ALLOCATOR`` where the C library cannot be tuned so.
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
