"""The fork server: imports torch once, then forks a process for every stage.

A launch costs a fork instead of a slow import. To be safe nothing here starts a thread: no tensor
is touched before forking.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from paretopipe_runtime import forked
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.worker.node import Node

_CGROUPS = Path("/sys/fs/cgroup")


@dataclass
class _Stage:
    """One child, and the kernel's count of memory kills before it."""

    pid: int
    run_id: str
    stage: int
    oom_kills: int
    given_up: bool = False


def main(descriptor: int) -> None:
    """Serve launch requests on the inherited socket until the agent is gone."""
    agent = socket.socket(fileno=descriptor)
    node = Node.from_json(agent.recv(4096))
    warm()
    gc.collect()
    gc.freeze()  # keeps the garbage collector from copying shared pages in every child
    agent.send(b"ready")
    children: dict[int, _Stage] = {}  # by pidfd
    with selectors.DefaultSelector() as selector:
        selector.register(agent, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in children:
                    selector.unregister(key.fd)
                    _reap(agent, key.fd, children.pop(key.fd))
                elif not _launch(agent, node, selector, children):
                    for stage in children.values():
                        os.kill(stage.pid, signal.SIGKILL)
                    return


def warm() -> None:
    """Import the stage's code and build each architecture once, on the meta device.

    That fills torchvision's caches. Meta tensors have no memory and start no thread, which
    would be unsafe to fork.
    """
    # Not at the top: an import error is to reach the journal after the agent's settings.
    from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
    from paretopipe_runtime.models import keep_built
    from paretopipe_runtime.worker import stage as stage  # imported to be inherited

    for name in MODEL_NAMES:
        for classes in {10, model_info(name).default_classes}:
            keep_built(name, classes)


def _find(model: str, classes: int) -> str:
    """Find a model's blocks for the stages to come; return why that cannot be, or nothing."""
    import torch

    from paretopipe_runtime.models import found_model

    torch.set_num_threads(1)  # a stage sets its own; with one, none is started
    try:
        found_model(model, classes)
    except ParetoPipeError as error:
        return error.message
    gc.collect()
    gc.freeze()
    return ""


def _launch(
    agent: socket.socket,
    node: Node,
    selector: selectors.BaseSelector,
    children: dict[int, _Stage],
) -> bool:
    message, descriptors, _, _ = socket.recv_fds(agent, 4096, 2)
    if not message:
        return False
    asked = json.loads(message)
    if "found" in asked:
        error = _find(*asked["found"])[:500]
        agent.send(json.dumps({"found": asked["found"][0], "error": error}).encode())
        return True
    if not descriptors:
        _end(asked["end"], children)
        return True
    control, links = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        forked.die_with(parent)
        selector.close()
        agent.close()
        _child(node, control, links, asked["certificate"])
    control.close()
    links.close()
    pidfd = os.pidfd_open(pid)
    children[pidfd] = _Stage(pid, asked["run_id"], asked["stage"], oom_kills())
    selector.register(pidfd, selectors.EVENT_READ)
    return True


def _child(
    node: Node, control: socket.socket, links: socket.socket, certificate: str | None
) -> None:
    from paretopipe_runtime.worker import stage

    status = 1
    try:
        stage.main(node, control, links, certificate)
        status = 0
    except ParetoPipeError as error:
        print(error, file=sys.stderr)
    except BaseException as error:  # the process ends here whatever it was
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _end(run_id: str, children: dict[int, _Stage]) -> None:
    """Kill an abandoned run's processes, stopped ones included."""
    for stage in children.values():
        if stage.run_id == run_id:
            stage.given_up = True
            os.kill(stage.pid, signal.SIGKILL)


def _reap(agent: socket.socket, pidfd: int, stage: _Stage) -> None:
    os.close(pidfd)
    _, status = os.waitpid(stage.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    killed = code < 0 and not stage.given_up
    ended = {
        "run_id": stage.run_id,
        "stage": stage.stage,
        "signal": -code if killed else 0,
        "oom": killed and -code == signal.SIGKILL and oom_kills() > stage.oom_kills,
    }
    agent.send(json.dumps(ended).encode())


def oom_kills() -> int:
    """Count out-of-memory kills, of host and own cgroup.

    Some containers hide the host's count, some kernels lack the cgroup's.
    """
    return _count(Path("/proc/vmstat")) + _count(_cgroup() / "memory.events")


def _cgroup() -> Path:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return _CGROUPS / line.removeprefix("0::").strip("/")
    return _CGROUPS


def _count(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
