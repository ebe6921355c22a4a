"""Emulate another host: a process in its own network namespace, with one cable here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from paretopipe_runtime.wire import handshake
from tests.wire import mutate

ROOT = Path(__file__).resolve().parents[2]
CABLE, OTHER = "ppw-cable", "ppw-other"
HOSTS, NEIGHBOUR = ("192.0.2.11", "192.0.2.12"), "192.0.2.66"
CONNECT_S, LISTEN_S = 2.0, 5.0  # an agent closes on a silent peer after two seconds
WAYS = ("silence", "garbage", "wrong key")


class Neighbour:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def connected(cls) -> Iterator[Neighbour]:
        """Lay the cable; this end has the addresses of `HOSTS`."""
        process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        try:
            far = ("peer", "name", CABLE, "netns", str(process.pid))
            _run("ip", "link", "add", "dev", CABLE, "type", "veth", *far)
            # PyTorch RPC wants an interface for each host; the cable's answers for both.
            _run("ip", "link", "add", "dev", OTHER, "type", "veth", "peer", "name", f"{OTHER}-end")
            for address, interface in zip(HOSTS, (CABLE, OTHER), strict=True):
                size = 24 if interface == CABLE else 32
                _run("ip", "address", "add", f"{address}/{size}", "dev", interface)
                _run("ip", "link", "set", "dev", interface, "up")
            made = cls(process)
            made._ask({"up": True})
            yield made
        finally:
            process.communicate(timeout=30)
            for interface in (CABLE, OTHER):
                with contextlib.suppress(subprocess.CalledProcessError):
                    _run("ip", "link", "delete", "dev", interface)

    def met(self, address: str, port: int, way: str) -> str:
        """Connect and speak in one of `WAYS`; return the ending."""
        return self._ask({"address": address, "port": port, "way": way})

    def _ask(self, request: dict[str, object]) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline()))


def ports(listeners: Iterable[str]) -> list[int]:
    return sorted({int(where.rpartition(":")[2]) for where in listeners})


def listeners() -> set[str]:
    """Return this network's listeners, ``address:port``."""
    done = subprocess.run(
        ["ss", "--no-header", "--listening", "--tcp", "--numeric"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.split()[3] for line in done.stdout.splitlines()}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30, capture_output=True)


def _meet(address: str, port: int, way: str) -> str:
    try:
        sock = socket.create_connection((address, port), timeout=CONNECT_S)
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "no way"
    with sock:
        sock.settimeout(LISTEN_S)
        heard = b""
        try:
            if way == "garbage":
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n" + secrets.token_bytes(64))
            elif way == "wrong key":
                hello = mutate.good_hello()
                sock.sendall(mutate.preamble(len(hello)) + hello)
                start = sock.recv(handshake.PREAMBLE_SIZE, socket.MSG_WAITALL)
                size = handshake.parse_preamble(start, "the agent")
                sock.recv(size, socket.MSG_WAITALL)
                sock.sendall(hashlib.sha256(b"not the key").digest())
            while piece := sock.recv(4096):
                heard += piece
        except TimeoutError:
            return "left open"
        except (OSError, ValueError):
            pass
    return f"answered {heard[:32].hex()}" if heard else "closed"


def _serve() -> None:
    print("here", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "up" in request:
            _run("ip", "address", "add", f"{NEIGHBOUR}/24", "dev", CABLE)
            _run("ip", "link", "set", "dev", CABLE, "up")
            answer = "up"
        else:
            answer = _meet(**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
