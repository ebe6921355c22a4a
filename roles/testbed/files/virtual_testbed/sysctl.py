"""The machine-wide sysctl that a start may change temporarily."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .settings import Settings
from .shell import TestbedError

ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


@contextmanager
def cubic_allowed(settings: Settings) -> Iterator[None]:
    """Let namespaces choose cubic, which must be on a machine-wide list.

    The old value is saved first, so that `give_back` can restore it even after a SIGKILL.
    """
    before = ALLOWED.read_text().strip()
    if "cubic" in before.split():
        yield
        return
    _note(settings).write_text(before)
    try:
        try:
            ALLOWED.write_text(f"{before} cubic")
        except OSError as error:
            raise TestbedError(
                f"the hosts' TCP is to be cubic, and {ALLOWED} can only be '{before}' here: use "
                "cubic on the machine itself (sysctl -w net.ipv4.tcp_congestion_control=cubic)"
            ) from error
        yield
    finally:
        give_back(settings)


def give_back(settings: Settings) -> None:
    """Restore the saved value, if any."""
    note = _note(settings)
    if note.exists():
        before = note.read_text().strip()
        if before and ALLOWED.read_text().strip() != before:
            ALLOWED.write_text(before)
        note.unlink()


def _note(settings: Settings) -> Path:
    return settings.folder / "borrowed-sysctl"
