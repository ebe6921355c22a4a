"""What a keeper says of the shaping it holds, and what that means for those who measure.

A keeper renews the lease of one shaped host and keeps a small file about it; see
action_plugins/hold_netem.py. Times are the controller's own, on one monotonic clock.

Shaping of lease L ends by itself at the earliest L after a renewal was begun. Whoever measures
gives up as soon as none has come for L/2, and its own lease lasts L/3: so it has stopped, or knows
that its run does not count, while the network is still what it should be.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Renewals in the life of a lease, at which share of it to give up, and what a sweep's own may be.
RENEWALS, PATIENCE, SWEEP_SHARE = 9, 1 / 2, 1 / 3
#: Between a look at the host and the time noted for it; and between a sweep's start and the first
#: look at its guards. In seconds, and rather too many.
MARGIN_S, LAUNCH_S = 2.0, 30.0


@dataclass(frozen=True)
class State:
    """What the keeper last noted: when it began a renewal that went well, and what went wrong."""

    good_at: float
    lost: str = ""
    trouble: str = ""

    def write(self, path: Path) -> None:
        """Replace the file, so that a reader sees the old one or the new one."""
        scratch = path.with_name(path.name + ".new")
        scratch.write_text(json.dumps(asdict(self)))
        scratch.replace(path)


@dataclass(frozen=True)
class Guard:
    """One shaped host, the file about it, and its lease in seconds."""

    host: str
    file: Path
    lease_s: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Guard:
        """Return the guard that hold_netem described."""
        return cls(str(values["host"]), Path(values["file"]), float(values["lease_s"]))

    @property
    def wish(self) -> Path:
        """The file that asks the keeper to renew at once."""
        return self.file.with_name("wish")

    def state(self) -> State | None:
        """Return what the keeper noted; None where it has gone, and the file with it."""
        try:
            return State(**json.loads(self.file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def problem(self, now: float) -> str:
        """Return why what is measured now may not be under the network asked for, or ``""``."""
        state = self.state()
        if state is None:
            return f"nobody renews the lease on {self.host}'s shaping any more"
        if state.lost:
            return f"the shaping of {self.host} was lost while it was relied on: {state.lost}"
        silent_s = now - state.good_at
        if silent_s > PATIENCE * self.lease_s:
            said = f" ({state.trouble})" if state.trouble else ""
            return (
                f"the lease on {self.host}'s shaping could not be renewed for {silent_s:.0f} s"
                f"{said}, and it ends by itself soon"
            )
        return ""


class Guards:
    """All the hosts a measurement relies on; there may be none."""

    def __init__(self, described: Iterable[Mapping[str, Any]]) -> None:
        self._guards = [Guard.of(values) for values in described]
        self._seen = {guard.host: time.monotonic() - LAUNCH_S for guard in self._guards}

    def problem(self) -> str:
        """Return the first host's problem, or ``""``."""
        now = time.monotonic()
        for guard in self._guards:
            if problem := guard.problem(now):
                return problem
            state = guard.state()
            if state is not None:
                self._seen[guard.host] = state.good_at
        return ""

    def doubtful_s(self) -> float:
        """Return for how many seconds up to now the network is not known to have been right."""
        now = time.monotonic()
        good = [
            state.good_at if (state := guard.state()) else self._seen[guard.host]
            for guard in self._guards
        ]
        return max((now - at for at in good), default=0.0) + MARGIN_S

    def confirm(self, poll_s: float = 0.2) -> str:
        """Wait until every host was seen to be right after this call, or return the problem."""
        called = time.monotonic()
        for guard in self._guards:
            with contextlib.suppress(FileNotFoundError):  # gone: `problem` says so
                guard.wish.touch()
            while not (problem := guard.problem(time.monotonic())):
                state = guard.state()
                if state is not None and state.good_at >= called:
                    break
                time.sleep(poll_s)
            if problem:
                return problem
        return ""
