"""Turn a connection into a channel, with TLS where planned.

The key is proved first, so that strangers never reach TLS. Transport is agreed by the client's
HELLO, which the proof covers, and either plan.
"""

from __future__ import annotations

import re
import socket
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake, tls
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.wire.tls import Identity

TLS_TIMEOUT_S = 10.0  # for who has proved the key to agree on TLS
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def open_channel(
    host: str,
    address: tuple[str, int],
    keys: Keys,
    hello: dict[str, Any],
    *,
    transport: str,
    timeout: float,
    via: tuple[str, int] | None = None,
) -> tuple[Channel, dict[str, Any]]:
    """Connect to a node's agent, authenticate, and encrypt for transport ``tls``.

    `via` is a relay in between. Returns channel and agent's HELLO. Raises as
    `handshake.connect` does, and ``E_TLS`` where a certificate is missing or distrusted.
    """
    identity: Identity | None = None
    if transport != "plain":
        identity = _needed(keys.identity, "this host")
        hello = {**hello, "transport": transport, "certificate": identity.fingerprint}
    try:
        sock, server = handshake.connect(via or address, keys.towards(host), hello, timeout=timeout)
    except ParetoPipeError as error:
        if via is None or error.code != "E_CONNECT":
            raise
        raise ParetoPipeError(
            "E_CONNECT",
            f"the relay at {via[0]}:{via[1]} gives no connection to {host}: it has ended with its "
            f"lease, or {host}'s agent does not run — give the same command again, which starts "
            f"both; {error.message}",
        ) from error
    if identity is None:
        return Channel(sock, host), server
    fingerprint = server.get("certificate")
    if not isinstance(fingerprint, str):
        sock.close()
        raise _lacking(host)
    encrypted = tls.connect(sock, identity, fingerprint, timeout=timeout, address=address[0])
    return Channel(encrypted, host), server


def agent_hello(node: str, identity: Identity | None) -> dict[str, Any]:
    """Compose a node's own HELLO."""
    return {"node": node, **({"certificate": identity.fingerprint} if identity else {})}


def client_certificate(hello: dict[str, Any]) -> str | None:
    """Return the client certificate's fingerprint; None without TLS.

    Raises ``E_TRANSPORT`` for a HELLO with neither.
    """
    transport, fingerprint = hello.get("transport", "plain"), hello.get("certificate")
    if transport == "plain":
        return None
    if transport != "tls" or not (
        isinstance(fingerprint, str) and _FINGERPRINT.fullmatch(fingerprint)
    ):
        raise ParetoPipeError(
            "E_TRANSPORT", f"peer asks for transport {str(transport)[:20]!r} without a certificate"
        )
    return fingerprint


def accept_channel(
    sock: socket.socket, peer: str, fingerprint: str | None, identity: Identity | None
) -> Channel:
    """Make a channel of an authenticated connection; `fingerprint`: see `client_certificate`.

    Raises ``E_TLS`` where TLS fails, having closed the connection.
    """
    if fingerprint is None:
        return Channel(sock, peer)
    known = _needed(identity, "this node")
    return Channel(tls.accept(sock, known, fingerprint, timeout=TLS_TIMEOUT_S), peer)


def _needed(identity: Identity | None, who: str) -> Identity:
    if identity is None:
        raise _lacking(who)
    return identity


def _lacking(who: str) -> ParetoPipeError:
    return ParetoPipeError(
        "E_TLS", f"{who} was given no certificate, transport tls needs one — {tls.REMEDY}"
    )
