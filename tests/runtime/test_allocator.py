"""The allocator's two settings: what they do to the memory of a process."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.worker import allocator

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
