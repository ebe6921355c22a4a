"""Mutual authentication: a preamble, a HELLO each way, proofs of a key that both have.

The client proves first. Until then a peer gets `LIMIT_S` seconds, 4 KiB, no tensor buffer, no JSON
parser and no reason for a refusal. Proofs cover both HELLOs, so that nothing negotiated can be
altered::

    mac(role) = HMAC-SHA256(key, "ppw1|" role "|" sha256(hello_c) "|" sha256(hello_s))

Fresh 32-byte nonces prevent replay. Only the set-up is authenticated, not later bytes. Which of its
keys a client proved decides what it may ask for: see `keys`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.version import version
from paretopipe_runtime.wire import strict, tcp

MAGIC = b"\x89PPW\r\n\x1a\n"
MAJOR, MINOR = 1, 0
MAX_HELLO = 4096
HELLO_DEPTH = 3
LIMIT_S = 2.0
_PREAMBLE = struct.Struct("<8sHHI")
PREAMBLE_SIZE = _PREAMBLE.size
_NONCE = re.compile(r"[0-9a-f]{64}")


def connect(
    address: tuple[str, int], key: bytes, hello: dict[str, Any], *, timeout: float
) -> tuple[socket.socket, dict[str, Any]]:
    """Connect and authenticate within `timeout` seconds; return socket and peer's HELLO.

    Raises ``E_CONNECT``, ``E_MAGIC``, ``E_AUTH``, ``E_AUTH_TIMEOUT`` or ``E_VERSION``.
    """
    where = f"{address[0]}:{address[1]}"
    began = time.monotonic()
    try:
        sock = socket.create_connection(address, timeout=timeout)
    except OSError as error:
        raise ParetoPipeError(
            "E_CONNECT",
            f"no worker agent answers at {where}: {error.strerror or error} — is the host up, and "
            "paretopipe-worker running there? playbooks/provision.yml starts it",
        ) from error
    try:
        server = _authenticate(sock, where, key, hello, began + timeout)
    except TimeoutError as error:
        sock.close()
        raise _too_slow(where, "gave no answer", timeout) from error
    except (OSError, ValueError) as error:
        sock.close()
        waited = time.monotonic() - began
        if waited > LIMIT_S:  # a wrong key is refused at once
            raise _too_slow(where, "closed it unanswered", waited) from error
        if isinstance(error, _Unanswered):
            raise ParetoPipeError(
                "E_CONNECT",
                f"{where} took the connection and closed it before a word ({error}) — its agent is "
                "starting, stopping or flooded by strangers, or another program has that port: see "
                "`systemctl status paretopipe-worker` there",
            ) from error
        raise ParetoPipeError(
            "E_AUTH",
            f"{where} and this host do not share a key ({error}) — run playbooks/provision.yml, "
            "which installs one on every node",
        ) from error
    except ParetoPipeError:
        sock.close()
        raise
    return sock, server


class _Unanswered(OSError):
    """The peer left before its HELLO."""


def _too_slow(where: str, what: str, seconds: float) -> ParetoPipeError:
    return ParetoPipeError(
        "E_AUTH_TIMEOUT",
        f"{where} took the connection and {what} after {seconds:.1f} s: its agent is frozen or its "
        "host overloaded, or another program has that port — see `systemctl status "
        "paretopipe-worker` there, and restart it if it hangs",
    )


def _authenticate(
    sock: socket.socket, where: str, key: bytes, hello: dict[str, Any], deadline: float
) -> dict[str, Any]:
    tcp.tune(sock)
    mine = _hello(hello)
    sock.sendall(_PREAMBLE.pack(MAGIC, MAJOR, MINOR, len(mine)) + mine)
    try:
        theirs = _read_hello(sock, where, deadline)
    except TimeoutError:
        raise
    except OSError as error:
        raise _Unanswered(str(error)) from error
    sock.sendall(_mac(key, b"client", mine, theirs))
    proof = _read_exact(sock, 32, deadline)
    if not hmac.compare_digest(proof, _mac(key, b"server", mine, theirs)):
        raise OSError("its proof of the key is wrong")
    server = parse_hello(theirs)
    if server["version"] != version():
        raise ParetoPipeError(
            "E_VERSION",
            f"{where} runs paretopipe {server['version']}, this host {version()} — run "
            "playbooks/provision.yml on both",
        )
    return server


def accept(
    sock: socket.socket,
    key: bytes,
    hello: dict[str, Any],
    proved: Callable[[], object] = lambda: None,
    links: Sequence[bytes] = (),
) -> dict[str, Any]:
    """Authenticate a client and return its HELLO; the caller closes `sock`.

    Who proves `key` may ask for anything, who proves one of `links` for role ``link`` alone.
    `proved` is called once the client has proved a key, before it knows. Raises ``E_MAGIC``
    for another protocol, ``E_AUTH_TIMEOUT`` for a slow peer, ``E_VERSION`` for other code,
    ``E_ROLE`` for a role that its key is not for, else ``E_AUTH``.
    """
    where = "a peer that is gone"
    began = time.monotonic()
    try:
        where = "{}:{}".format(*sock.getpeername()[:2])
        tcp.tune(sock)
        # Over a slow link the proof comes a round trip later: that wait is not the peer's fault.
        limit = LIMIT_S + min(tcp.round_trip_s(sock), LIMIT_S)
        shown, theirs, mine = _check_proof(sock, where, (key, *links), hello, began + limit)
        proved()
        sock.sendall(_mac(shown, b"server", theirs, mine))
        client = parse_hello(theirs)
    except TimeoutError as error:
        raise ParetoPipeError(
            "E_AUTH_TIMEOUT",
            f"{where} had not proved itself after {time.monotonic() - began:.1f} s",
        ) from error
    except (OSError, ValueError) as error:
        raise ParetoPipeError("E_AUTH", f"{where} not let in: {error}") from error
    if client["version"] != version():  # it has our HELLO, and says the same at its end
        raise ParetoPipeError(
            "E_VERSION", f"{where} runs paretopipe {client['version']!r}, this host {version()}"
        )
    if shown != key and client.get("role") != "link":
        raise ParetoPipeError(
            "E_ROLE",
            f"{where} asks for role {str(client.get('role'))[:40]!r} with another node's key, "
            "which is for links alone — only the orchestrator may ask for others",
        )
    return client


def _check_proof(
    sock: socket.socket,
    where: str,
    keys: Sequence[bytes],
    hello: dict[str, Any],
    deadline: float,
) -> tuple[bytes, bytes, bytes]:
    """Return the key that the client proves, its HELLO and ours."""
    theirs = _read_hello(sock, where, deadline)
    mine = _hello(hello)
    sock.sendall(_PREAMBLE.pack(MAGIC, MAJOR, MINOR, len(mine)) + mine)
    proof = _read_exact(sock, 32, deadline)
    shown = [k for k in keys if hmac.compare_digest(proof, _mac(k, b"client", theirs, mine))]
    if not shown:
        raise OSError("its proof of the key is wrong")
    return shown[0], theirs, mine


def _hello(fields: dict[str, Any]) -> bytes:
    data = {**fields, "version": version(), "nonce": secrets.token_hex(32)}
    return json.dumps(data).encode()


def parse_hello(hello: bytes) -> dict[str, Any]:
    """Parse a HELLO: shallow JSON with version and nonce, else ValueError."""
    try:
        data = strict.parse_object(hello, depth=HELLO_DEPTH)
    except ValueError as error:
        raise ValueError(f"its HELLO is {error}") from error
    if not (isinstance(data.get("version"), str) and _NONCE.fullmatch(str(data.get("nonce")))):
        raise ValueError("its HELLO lacks a version or a nonce")
    return data


def parse_preamble(data: bytes, where: str) -> int:
    """Return the size of the following HELLO; ValueError if too long.

    Raises ``E_MAGIC`` for another protocol, ``E_VERSION`` for another major version.
    """
    magic, major, _minor, size = _PREAMBLE.unpack(data)
    if magic != MAGIC:
        raise ParetoPipeError(
            "E_MAGIC", f"{where} sent {magic.hex()}, not a paretopipe peer — closed"
        )
    if major != MAJOR:
        raise ParetoPipeError("E_VERSION", f"{where} speaks wire version {major}, not {MAJOR}")
    if size > MAX_HELLO:
        raise ValueError(f"its HELLO of {size} B is over {MAX_HELLO} B")
    return int(size)


def _mac(key: bytes, role: bytes, client: bytes, server: bytes) -> bytes:
    text = b"|".join(
        (b"ppw1", role, hashlib.sha256(client).digest(), hashlib.sha256(server).digest())
    )
    return hmac.digest(key, text, "sha256")


def _read_hello(sock: socket.socket, where: str, deadline: float) -> bytes:
    size = parse_preamble(_read_exact(sock, PREAMBLE_SIZE, deadline), where)
    return _read_exact(sock, size, deadline)


def _read_exact(sock: socket.socket, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:  # also for a peer that always has one byte more
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError("it closed the connection")
        data += piece
    return data
