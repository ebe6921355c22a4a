"""Clean-up after a failed run, and its root cause as the nodes know it.

The orchestrator only sees a connection end.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.connect import open_channel
from paretopipe_runtime.wire.keys import Keys

# Timeout for a silent host, longer on a slow link; an authenticated one may be busy and gets more.
TIMEOUT_S = 1.5
ANSWER_S = 3.0

Boots = dict[str, str | None]  # by host; None where its kernel does not say
REBOOTED = "E_REBOOTED"
NODE_REBOOTED = "invalid:node_rebooted"


@contextmanager
def explained(workers: Iterable[Worker], run_id: str, keys: Keys, rtt_s: float) -> Iterator[Boots]:
    """On failure, kill the run's remaining processes and raise the root cause.

    Yields a dict for the hosts' boot ids. Ignores workers that do not answer.

    Raises
    ------
    ParetoPipeError
        ``E_OOM`` for a process killed for want of memory, ``E_KILLED`` for any other signal,
        ``E_REBOOTED`` for a restarted host, else the block's own error.
    """
    boots: Boots = {}
    try:
        yield boots
    except ParetoPipeError as error:
        raise _root_cause(error, workers, run_id, keys, rtt_s, boots) from error


def _root_cause(
    error: ParetoPipeError,
    workers: Iterable[Worker],
    run_id: str,
    keys: Keys,
    rtt_s: float,
    boots: Boots,
) -> ParetoPipeError:
    nodes = {(worker.address, worker.port): worker for worker in workers}

    def ask(worker: Worker) -> list[ParetoPipeError]:
        try:
            killed, boot = end(worker, run_id, keys, max(TIMEOUT_S, 1 + 4 * rtt_s))
        except ParetoPipeError:
            return []
        if changed([worker.host], boots, {worker.host: boot}):
            return [rebooted(worker.host)]
        return [_death(worker, one, error) for one in killed]

    with ThreadPoolExecutor(len(nodes)) as pool:
        deaths = [death for found in pool.map(ask, nodes.values()) for death in found]
    # One process out of memory may be why the others were killed.
    grave = (death for code in (REBOOTED, "E_OOM") for death in deaths if death.code == code)
    return next(grave, (*deaths, error)[0])


def end(
    worker: Worker, run_id: str, keys: Keys, timeout: float
) -> tuple[list[dict[str, Any]], str | None]:
    """Have a worker kill a run's processes; return those already dead by a signal, and its boot id.

    Raises
    ------
    ParetoPipeError
        For a failed connection.
    """
    hello = {"role": "end", "run_id": run_id}
    channel, agent = open_channel(
        *(worker.host, (worker.address, worker.port), keys, hello),
        transport=worker.transport,
        timeout=timeout,
    )
    try:
        return channel.receive_message(timeout + ANSWER_S)["killed"], agent.get("boot_id")
    finally:
        channel.close()


def _death(worker: Worker, one: dict[str, Any], error: ParetoPipeError) -> ParetoPipeError:
    number = int(one["signal"])
    who = "its hub" if one["stage"] < 0 else f"its stage {int(one['stage']) + 1}"
    if one["oom"]:
        return ParetoPipeError(
            "E_OOM",
            f"{worker.host}: {who} was killed for want of memory — a split that leaves less there, "
            "a smaller -e batch=… or a larger worker_memory_max needs to be chosen",
        )
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "an unknown one"
    return ParetoPipeError(
        "E_KILLED",
        f"{worker.host}: {who} was killed by signal {number} ({name}) — see `journalctl -u "
        f"paretopipe-worker` there; seen here as {error}",
    )


def status(error: ParetoPipeError) -> str:
    """Return a failed run's status; invalid after a reboot, which is not the split's fault."""
    return NODE_REBOOTED if error.code == REBOOTED else f"failed:{error.code}"


def rebooted(host: str) -> ParetoPipeError:
    return ParetoPipeError(
        REBOOTED,
        f"{host} was rebooted while the run was measured — the run does not count and is measured "
        f"again; if nobody did it, see `journalctl --boot=-1` there, and its power supply",
    )


def changed(hosts: Iterable[str], before: Boots, after: Boots) -> list[str]:
    """Return the hosts whose boot id is known to have changed."""
    pairs = {host: (before.get(host), after.get(host)) for host in hosts}
    return [host for host, (old, new) in pairs.items() if old and new and old != new]


class Known:
    """The last known boot id of each host."""

    def __init__(self) -> None:
        self._boots: Boots = {}

    def note(self, row: dict[str, Any]) -> dict[str, list[str]]:
        """Note a run's boot ids; return a record's field for hosts restarted since the last run."""
        seen = {host: facts.get("boot_id") for host, facts in row.get("hosts", {}).items()}
        again = changed(seen, self._boots, seen)
        self._boots |= {host: boot for host, boot in seen.items() if boot}
        return {"rebooted_before": again} if again else {}
