"""The one setting of the machine itself that bringing a testbed up may have to borrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .settings import Settings

ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


@contextmanager
def cubic_allowed(settings: Settings) -> Iterator[None]:
    """Let namespaces choose cubic while they are set up.

    The kernel refuses a namespace any algorithm that is not on the machine-wide list. What was
    there is noted first, so that `give_back` can put it right after a SIGKILL too.
    """
    before = ALLOWED.read_text().strip()
    if "cubic" in before.split():
        yield
        return
    _note(settings).write_text(before)
    try:
        ALLOWED.write_text(f"{before} cubic")
        yield
    finally:
        give_back(settings)


def give_back(settings: Settings) -> None:
    """Restore the setting where an interrupted start has left it changed."""
    note = _note(settings)
    if note.exists():
        if before := note.read_text().strip():
            ALLOWED.write_text(before)
        note.unlink()


def _note(settings: Settings) -> Path:
    return settings.folder / "borrowed-sysctl"
