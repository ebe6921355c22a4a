"""Guards: shaped hosts' state, for measurements that rely on it.

A keeper renews each host's lease and notes it in a file (action_plugins/hold_netem.py), in the
controller's monotonic clock.

Shaping of lease L lasts at least L after a renewal began. Measuring is given up L/2 after the
latest, and its own lease lasts L/3: so it ends, or is invalid, before the network changes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Renewals a lease, share of it until giving up, and a sweep's share.
RENEWALS, PATIENCE, SWEEP_SHARE = 9, 1 / 2, 1 / 3
#: Seconds, rather too many: between a look at the host and its noted time; between a sweep's start
#: and the first look at its guards.
MARGIN_S, LAUNCH_S = 2.0, 30.0


@dataclass(frozen=True)
class State:
    """The keeper's latest note: start of a good renewal, and any problem."""

    good_at: float
    lost: str = ""
    trouble: str = ""

    def write(self, path: Path) -> None:
        scratch = path.with_name(path.name + ".new")
        scratch.write_text(json.dumps(asdict(self)))
        scratch.replace(path)


@dataclass(frozen=True)
class Guard:
    host: str
    file: Path
    lease_s: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Guard:
        return cls(str(values["host"]), Path(values["file"]), float(values["lease_s"]))

    @property
    def wish(self) -> Path:
        """The file that requests a renewal at once."""
        return self.file.with_name("wish")

    def state(self) -> State | None:
        """Return the keeper's note; None once it has gone."""
        try:
            return State(**json.loads(self.file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def problem(self, now: float) -> str:
        """Return why the network may not be as asked, or ``""``."""
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
    def __init__(self, described: Iterable[Mapping[str, Any]]) -> None:
        self._guards = [Guard.of(values) for values in described]
        self._seen = {guard.file: time.monotonic() - LAUNCH_S for guard in self._guards}

    def problem(self) -> str:
        now = time.monotonic()
        for guard in self._guards:
            if problem := guard.problem(now):
                return problem
            state = guard.state()
            if state is not None:
                self._seen[guard.file] = state.good_at
        return ""

    def doubtful_s(self) -> float:
        """Return the latest seconds in which the network is in doubt."""
        now = time.monotonic()
        good = [
            state.good_at if (state := guard.state()) else self._seen[guard.file]
            for guard in self._guards
        ]
        return max((now - at for at in good), default=0.0) + MARGIN_S

    def confirm(self, poll_s: float = 0.2) -> str:
        """Wait until every host is confirmed anew, or return the problem."""
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
