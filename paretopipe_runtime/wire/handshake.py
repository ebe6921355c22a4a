"""Who is there? A preamble, a HELLO each way, and a mutual proof of the shared key.

Client speaks first and proves first. Before the proof a peer gets `LIMIT_S` seconds and 4 KiB, no
tensor buffer, and no words about why it was refused. The proof covers both HELLOs, so that nothing
negotiated in them can be altered on the way::

    mac(role) = HMAC-SHA256(key, "ppw1|" role "|" sha256(hello_c) "|" sha256(hello_s))

Both HELLOs carry a fresh 32-byte nonce, so an old proof is worth nothing. This authenticates the
connection's set-up, not each byte that follows.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import struct
import time
from pathlib import Path
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.version import version

MAGIC = b"\x89PPW\r\n\x1a\n"
MAJOR, MINOR = 1, 0
MAX_HELLO = 4096
LIMIT_S = 2.0
_PREAMBLE = struct.Struct("<8sHHI")


def read_key(path: Path) -> bytes:
    """Return the shared key that provisioning installed (64 hex digits).

    Raises
    ------
    ParetoPipeError
        ``E_KEY`` where the file is missing or is not such a key.
    """
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise ParetoPipeError(
            "E_KEY", f"no usable key in {path}: {error} — run playbooks/provision.yml"
        ) from error
    if len(key) != 32:
        raise ParetoPipeError("E_KEY", f"{path} holds {len(key)} bytes, expected 32 in hex")
    return key


def connect(
    address: tuple[str, int], key: bytes, hello: dict[str, Any], *, timeout: float
) -> tuple[socket.socket, dict[str, Any]]:
    """Connect and authenticate; return the socket and the server's HELLO.

    Raises
    ------
    ParetoPipeError
        ``E_CONNECT``, ``E_AUTH`` or ``E_VERSION``, each with what to do.
    """
    where = f"{address[0]}:{address[1]}"
    try:
        sock = socket.create_connection(address, timeout=timeout)
    except OSError as error:
        raise ParetoPipeError(
            "E_CONNECT",
            f"no worker agent answers at {where}: {error.strerror or error} — is the host up, and "
            "paretopipe-worker running there? playbooks/provision.yml starts it",
        ) from error
    try:
        tune(sock)
        sock.settimeout(timeout)
        mine = _hello(hello)
        sock.sendall(_PREAMBLE.pack(MAGIC, MAJOR, MINOR, len(mine)) + mine)
        theirs = _read_hello(sock, where, time.monotonic() + timeout)
        sock.sendall(_mac(key, b"client", mine, theirs))
        proof = _read_exact(sock, 32, time.monotonic() + timeout)
        if not hmac.compare_digest(proof, _mac(key, b"server", mine, theirs)):
            raise OSError("its proof of the key is wrong")
        server = _parse(theirs)
    except (OSError, ValueError) as error:
        sock.close()
        raise ParetoPipeError(
            "E_AUTH",
            f"{where} and this host do not share a key ({error}) — run playbooks/provision.yml, "
            "which installs one on every node",
        ) from error
    if server.get("version") != version():
        sock.close()
        raise ParetoPipeError(
            "E_VERSION",
            f"{where} runs paretopipe {server.get('version')}, this host {version()} — run "
            "playbooks/provision.yml on both",
        )
    return sock, server


def accept(sock: socket.socket, key: bytes, hello: dict[str, Any]) -> dict[str, Any]:
    """Authenticate the client at the other end of `sock`; return its HELLO.

    Raises
    ------
    ParetoPipeError
        ``E_MAGIC`` for a stranger's protocol, ``E_AUTH`` for everything else. The peer is told
        nothing: the caller closes the socket.
    """
    tune(sock)
    where = "{}:{}".format(*sock.getpeername()[:2])
    deadline = time.monotonic() + LIMIT_S
    try:
        theirs = _read_hello(sock, where, deadline)
        mine = _hello(hello)
        sock.sendall(_PREAMBLE.pack(MAGIC, MAJOR, MINOR, len(mine)) + mine)
        # Over a slow link the proof comes a round trip later: that wait is not the peer's fault.
        proof = _read_exact(sock, 32, time.monotonic() + LIMIT_S)
        if not hmac.compare_digest(proof, _mac(key, b"client", theirs, mine)):
            raise OSError("its proof of the key is wrong")
        client = _parse(theirs)
        sock.sendall(_mac(key, b"server", theirs, mine))
    except (OSError, ValueError) as error:
        raise ParetoPipeError("E_AUTH", f"{where} not let in: {error}") from error
    return client


def tune(sock: socket.socket) -> None:
    """Set what every connection needs: no Nagle delay, and a dead peer is noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)


def _hello(fields: dict[str, Any]) -> bytes:
    data = {**fields, "version": version(), "nonce": secrets.token_hex(32)}
    return json.dumps(data).encode()


def _parse(hello: bytes) -> dict[str, Any]:
    data = json.loads(hello)
    if not isinstance(data, dict):
        raise ValueError("its HELLO is not a JSON object")
    return data


def _mac(key: bytes, role: bytes, client: bytes, server: bytes) -> bytes:
    text = b"|".join(
        (b"ppw1", role, hashlib.sha256(client).digest(), hashlib.sha256(server).digest())
    )
    return hmac.digest(key, text, "sha256")


def _read_hello(sock: socket.socket, where: str, deadline: float) -> bytes:
    magic, major, _minor, size = _PREAMBLE.unpack(_read_exact(sock, _PREAMBLE.size, deadline))
    if magic != MAGIC:
        raise ParetoPipeError(
            "E_MAGIC", f"{where} sent {magic.hex()}, not a paretopipe peer — closed"
        )
    if major != MAJOR:
        raise ParetoPipeError("E_VERSION", f"{where} speaks wire version {major}, not {MAJOR}")
    if size > MAX_HELLO:
        raise ValueError(f"its HELLO of {size} B is over {MAX_HELLO} B")
    return _read_exact(sock, size, deadline)


def _read_exact(sock: socket.socket, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        sock.settimeout(max(deadline - time.monotonic(), 1e-3))
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError("it closed the connection")
        data += piece
    return data
