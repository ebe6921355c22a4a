"""Wait for agents that are away: a host that reboots costs the run in hand, and no more.

An agent that comes back may be in another boot, which the next record tells. With another key or
other code it is not waited for, since what it would measure could not be compared.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from paretopipe_runtime import forked
from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import postmortem
from paretopipe_runtime.wire.keys import Keys

LIMIT_S = 600.0
KNOCK_S = 5.0
POLL_S = 1.0
#: What an agent answers that no wait will mend.
WRONG = frozenset({"E_AUTH", "E_VERSION", "E_MAGIC", "E_TLS", "E_TRANSPORT"})


class Patience:
    """Waits for agents, for each at most `limit_s` seconds at a time.

    `say` is told whom it waits for, or "", and `stop_if_told` may raise, about once a second.
    """

    def __init__(
        self,
        limit_s: float,
        keys: Keys,
        say: Callable[[str], None],
        stop_if_told: Callable[[], None],
    ) -> None:
        self._limit_s, self._keys = limit_s, keys
        self._say, self._stop_if_told = say, stop_if_told
        self._lost: set[str] = set()

    @property
    def in_vain(self) -> str:
        """Say whom it has waited for and does not any more; "" for nobody."""
        if not self._lost:
            return ""
        return f", having waited {self._limit_s:.0f} s for {_agents(self._lost)}"

    def wait(self, workers: Iterable[Worker]) -> None:
        """Return once all answer, or the limit has passed; knock but once at who was given up.

        Raises ``E_AUTH``, ``E_VERSION`` or another of `WRONG`, and what `stop_if_told` does.
        """
        workers, began, waited_for = list(workers), time.monotonic(), set[str]()
        while True:
            away = set(absent(workers, self._keys))
            self._lost &= away
            waited_s = time.monotonic() - began
            if not away - self._lost:
                break
            if waited_s >= self._limit_s:
                self._lost |= away
                return
            waited_for |= away
            self._say(f"waiting for {_agents(away)}, {waited_s:.0f} s of {self._limit_s:.0f}")
            self._stop_if_told()
            time.sleep(POLL_S)
        if waited_for:
            self._say("")
            print(f"{_agents(waited_for)} had been away for {waited_s:.0f} s", flush=True)


def absent(workers: Iterable[Worker], keys: Keys) -> list[str]:
    """Knock at every agent at once; return the hosts of those that do not answer.

    Raises one of `WRONG`.
    """
    hosts = list({worker.host: worker for worker in workers}.values())

    def missing(worker: Worker) -> bool:
        try:
            postmortem.end(worker, f"knock-{secrets.token_hex(4)}", keys, KNOCK_S)
        except ParetoPipeError as error:
            if error.code in WRONG:
                raise ParetoPipeError(error.code, f"{worker.host}: {error.message}") from error
            return True
        return False

    def knock() -> list[str]:
        with ThreadPoolExecutor(len(hosts)) as pool:
            away = list(pool.map(missing, hosts))
        return [worker.host for worker, is_away in zip(hosts, away, strict=True) if is_away]

    return list(forked.call(knock))  # threads, so not in a process that forks


def _agents(hosts: Iterable[str]) -> str:
    """Return ``pi1's and pi2's agent``."""
    return " and ".join(f"{host}'s" for host in sorted(hosts)) + " agent"
