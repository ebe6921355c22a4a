"""The worker agent: a node's one listening port. It routes authenticated peers by role:

``run``
    the orchestrator's control connection, to a fresh stage process;
``link``
    the previous stage's data connection, to its stage process;
``deploy``
    weight files, kept by sha256;
``end``
    an abandoned run: kill its processes, report earlier deaths by signal.

It imports no torch; the fork server does, once.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any, NoReturn

from paretopipe_runtime import environment
from paretopipe_runtime.contract import addresses
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import accept_channel, agent_hello, client_certificate
from paretopipe_runtime.worker import deploy
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.pending import Pending
from paretopipe_runtime.worker.refusals import RefusalLog

LINK_WAIT_S = 10.0
FIND_S = 240.0  # for a model's blocks
_BACKLOG = 128
_NO_ROOM_S = 0.1  # between two tries while the process has no descriptor or thread to give
GRACE_S = 0.5  # for the processes of a run that is given up to end by themselves
# For the processes of the run before to end: a first stage that computes while its orchestrator is
# killed notices when it has done the batch.
TURN_S = 30.0
KNOWN_ENDS = 256  # how many ended stages are remembered


class Agent:
    """Serves one node until killed, on its experiment address only, else ``E_BIND``."""

    def __init__(self, node: Node, port: int) -> None:
        self._node = node
        self._port = port
        self._pending = Pending()
        self._refusals = RefusalLog()
        self._stages: dict[tuple[str, int], socket.socket] = {}
        self._ends: dict[tuple[str, int], dict[str, Any] | None] = {}  # None: it lives
        self._found: dict[str, str] = {}  # why a model's blocks could not be found, or nothing
        self._stage_arrived = threading.Condition()
        self._greeting = agent_hello(node.name, node.keys.identity)
        self._listener = _bind(node.address, port)
        self._fork_server = _start_fork_server(node)
        self._listener.listen(_BACKLOG)  # from now on a launch is fast

    def serve(self) -> None:
        threading.Thread(target=self._watch_fork_server, daemon=True).start()
        print(
            f"paretopipe agent {self._node.name} serves {self._node.address}:{self._port}",
            flush=True,
        )
        while True:
            try:
                sock, (host, _) = self._listener.accept()
            except OSError as error:  # no descriptor left, or the peer has gone again
                self._refusals.write(f"E_ACCEPT: {error.strerror}")
                time.sleep(_NO_ROOM_S)
                continue
            try:
                self._pending.enter(sock, host)
                threading.Thread(target=self._admit, args=(sock,), daemon=True).start()
            except RuntimeError as error:  # no thread left
                self._refusals.write(f"E_ACCEPT: {host} not let in: {error}")
                self._pending.leave(sock)
                sock.close()
                time.sleep(_NO_ROOM_S)

    def _admit(self, sock: socket.socket) -> None:
        try:
            try:
                hello = handshake.accept(
                    sock,
                    self._node.keys.own,
                    {**self._greeting, "boot_id": environment.boot_id()},
                    proved=lambda: self._pending.leave(sock),
                    links=self._node.keys.links,
                )
            finally:
                self._pending.leave(sock)
            self._route(sock, hello)
        except ParetoPipeError as error:
            self._refusals.write(str(error))
        finally:
            sock.close()  # a stage that took the connection over has its own descriptor

    def _route(self, sock: socket.socket, hello: dict[str, Any]) -> None:
        fingerprint = client_certificate(hello)
        match hello.get("role"):
            case "run":
                self._launch(sock, _stage(hello), fingerprint)
            case "link":
                self._pass_link(
                    sock, _stage(hello), f"{str(hello.get('plan'))[:64]}{fingerprint or ''}"
                )
            case "deploy":
                with contextlib.closing(self._channel(sock, fingerprint)) as channel:
                    deploy.serve(channel, self._node.state_dir, self._find)
            case "end":
                with contextlib.closing(self._channel(sock, fingerprint)) as channel:
                    self._end(channel, str(hello["run_id"]))
            case other:
                raise ParetoPipeError("E_ROLE", f"peer asks for role {str(other)[:40]!r}")

    def _channel(self, sock: socket.socket, fingerprint: str | None) -> Channel:
        return accept_channel(sock, "orchestrator", fingerprint, self._node.keys.identity)

    def _launch(self, sock: socket.socket, stage: tuple[str, int], fingerprint: str | None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                request = {"run_id": stage[0], "stage": stage[1], "certificate": fingerprint}
                self._begin(sock, stage, fingerprint)
                # Over TLS the stage agrees on it: its keys could not be handed over.
                descriptors = [sock.fileno(), theirs.fileno()]
                try:
                    socket.send_fds(self._fork_server, [json.dumps(request).encode()], descriptors)
                except OSError as error:
                    with self._stage_arrived:
                        del self._ends[stage]  # or every later run would find this one here
                        self._stage_arrived.notify_all()
                    self._refuse(sock, fingerprint, _no_stage(self._node.name, error))
            with self._stage_arrived:
                self._stages[stage] = ours
                self._stage_arrived.notify_all()
            sock.close()
            # Readable again when the stage process has ended; reset where a link is left unread.
            with contextlib.suppress(ConnectionResetError):
                ours.recv(1)
            with self._stage_arrived:
                if self._stages.get(stage) is ours:  # else it has been launched once more
                    del self._stages[stage]

    def _pass_link(self, sock: socket.socket, stage: tuple[str, int], plan: str) -> None:
        with self._stage_arrived:
            if not self._stage_arrived.wait_for(lambda: stage in self._stages, LINK_WAIT_S):
                raise ParetoPipeError(
                    "E_NO_STAGE", f"a link came for run {stage[0]} stage {stage[1]}, not launched"
                )
            try:
                # What waits there already, one link, is all that a stage takes.
                said = plan.encode("ascii", "replace")
                socket.send_fds(self._stages[stage], [said], [sock.fileno()], socket.MSG_DONTWAIT)
            except OSError as error:
                raise ParetoPipeError(
                    "E_NO_STAGE",
                    f"run {stage[0]} stage {stage[1]} takes no link: {error.strerror}",
                ) from error

    def _begin(self, sock: socket.socket, stage: tuple[str, int], fingerprint: str | None) -> None:
        """Register a stage, unless another run's is here: runs would disturb each other."""

        def others() -> list[str]:
            return [run for (run, _), end in self._ends.items() if not end and run != stage[0]]

        with self._stage_arrived:
            if not self._stage_arrived.wait_for(lambda: not others(), TURN_S):
                busy = ParetoPipeError(
                    "E_BUSY",
                    f"{self._node.name} is in the middle of another run ({others()[0]}) — does "
                    "another orchestrator measure on it? Else restart paretopipe-worker there",
                )
                self._refuse(sock, fingerprint, busy)
            for ended in [one for one, end in self._ends.items() if end][:-KNOWN_ENDS]:
                del self._ends[ended]
            self._ends[stage] = None

    def _refuse(
        self, sock: socket.socket, fingerprint: str | None, error: ParetoPipeError
    ) -> NoReturn:
        """Tell the orchestrator why it gets no stage."""
        with contextlib.closing(self._channel(sock, fingerprint)) as channel:
            channel.send_error(error)
        raise error

    def _end(self, channel: Channel, run_id: str) -> None:
        """Kill the run's processes; answer once none is left."""

        def gone() -> bool:
            return all(end for (run, _), end in self._ends.items() if run == run_id)

        with self._stage_arrived:
            if not self._stage_arrived.wait_for(gone, GRACE_S):
                self._fork_server.send(json.dumps({"end": run_id}).encode())
                self._stage_arrived.wait_for(gone, GRACE_S)
            ends = [end for (run, _), end in self._ends.items() if run == run_id and end]
        killed = [end for end in ends if end["signal"]]
        channel.send_message({"killed": killed}, timeout=handshake.LIMIT_S)

    def _find(self, model: str, classes: int) -> None:
        """Have a model's blocks found once, which would take every launch seconds."""
        with self._stage_arrived:
            self._found.pop(model, None)
            self._fork_server.send(json.dumps({"found": [model, classes]}).encode())
            found = self._stage_arrived.wait_for(lambda: model in self._found, FIND_S)
        if not found or self._found[model]:
            why = self._found.get(model) or f"its blocks were not found in {FIND_S:.0f} s"
            raise ParetoPipeError("E_MODEL", f"{self._node.name}: {why}")

    def _watch_fork_server(self) -> None:
        while event := self._fork_server.recv(4096):
            end = json.loads(event)
            if "found" in end:
                with self._stage_arrived:
                    self._found[end["found"]] = end["error"]
                    self._stage_arrived.notify_all()
                continue
            with self._stage_arrived:
                self._ends[end["run_id"], end["stage"]] = end
                self._stage_arrived.notify_all()
            if end["signal"]:
                memory = " for want of memory" if end["oom"] else ""
                print(
                    f"E_STAGE: stage {end['stage']} of run {end['run_id']} was killed by signal "
                    f"{end['signal']}{memory}",
                    file=sys.stderr,
                    flush=True,
                )
        print("E_FORKSERVER: the fork server has died — the agent stops", file=sys.stderr)
        # Every other thread may be blocked in a socket call; systemd restarts the whole agent.
        os._exit(1)


def _no_stage(node: str, error: OSError) -> ParetoPipeError:
    return ParetoPipeError(
        "E_STAGE",
        f"{node} cannot start a stage: {error.strerror} — try again, and restart "
        "paretopipe-worker there if it stays so",
    )


def _stage(hello: dict[str, Any]) -> tuple[str, int]:
    run_id, stage = hello.get("run_id"), hello.get("stage")
    if not (isinstance(run_id, str) and 0 < len(run_id) <= 200 and run_id.isprintable()):
        raise ParetoPipeError("E_ROLE", "peer names no run")
    if type(stage) is not int or not -1 <= stage < 64:
        raise ParetoPipeError("E_ROLE", f"peer names no stage of run {run_id}")
    return run_id, stage


def _bind(address: str, port: int) -> socket.socket:
    if wrong := addresses.unusable(address):
        raise ParetoPipeError("E_BIND", f"cannot listen: {wrong} — set experiment_ip for this host")
    if not 0 <= port < 65536:
        raise ParetoPipeError("E_BIND", f"cannot listen on port {port}: expected one up to 65535")
    try:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
    except OSError as error:
        raise ParetoPipeError(
            "E_BIND",
            f"cannot listen on {address}:{port}: {error.strerror} — is experiment_ip an address "
            "of this host, and the port free?",
        ) from error
    return sock


def _start_fork_server(node: Node) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "paretopipe_runtime.worker.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            # numpy would otherwise start threads on import, and a process that forks has none.
            # PyTorch would log as a warning that a peer has ended, as it does after every RPC run.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"},
        )
    # The key goes through the socket pair: never through arguments or the environment.
    ours.send(node.to_json())
    if ours.recv(64) != b"ready":
        raise ParetoPipeError(
            "E_FORKSERVER", "the fork server did not start — see the lines above it in the journal"
        )
    return ours
