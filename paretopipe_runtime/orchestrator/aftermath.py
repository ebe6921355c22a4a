"""After a failed run: nothing of it stays on a worker, and what was killed is called so.

To the orchestrator a process that was killed is a connection that ended. Its node knows better.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.plan import Worker
from paretopipe_runtime.wire import opening
from paretopipe_runtime.wire.opening import Keys

TIMEOUT_S = 3.0


@contextmanager
def explained(workers: Iterable[Worker], run_id: str, keys: Keys, rtt_s: float) -> Iterator[None]:
    """Where the block fails, end what is left of its run on the workers, and say what was behind.

    A worker that does not answer changes nothing.

    Raises
    ------
    ParetoPipeError
        ``E_OOM`` for a process that the kernel killed for want of memory, ``E_KILLED`` for any
        other that a signal ended, else what the block raised.
    """
    try:
        yield
    except ParetoPipeError as error:
        raise _behind(error, workers, run_id, keys, rtt_s) from error


def _behind(
    error: ParetoPipeError, workers: Iterable[Worker], run_id: str, keys: Keys, rtt_s: float
) -> ParetoPipeError:
    nodes = {(worker.address, worker.port): worker for worker in workers}

    def ask(worker: Worker) -> list[ParetoPipeError]:
        try:
            killed = end(worker, run_id, keys, TIMEOUT_S + 4 * rtt_s)
        except ParetoPipeError:
            return []
        return [_death(worker, one, error) for one in killed]

    with ThreadPoolExecutor(len(nodes)) as pool:
        deaths = [death for found in pool.map(ask, nodes.values()) for death in found]
    # Where one has run out of memory, others may have been killed for it.
    return next((death for death in deaths if death.code == "E_OOM"), (*deaths, error)[0])


def end(worker: Worker, run_id: str, keys: Keys, timeout: float) -> list[dict[str, Any]]:
    """Let `worker` end every process of a run; return those that a signal had ended before.

    Raises
    ------
    ParetoPipeError
        What the connection has to say.
    """
    hello = {"role": "end", "run_id": run_id}
    channel = opening.connect(
        *(worker.host, (worker.address, worker.port), keys, hello),
        transport=worker.transport,
        timeout=timeout,
    )
    try:
        return list(channel.receive_message(timeout)["killed"])
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
