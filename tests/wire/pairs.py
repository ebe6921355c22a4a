"""Connected sockets, plain and encrypted."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from paretopipe_runtime.wire import tls
from paretopipe_runtime.wire.tls import Identity
from paretopipe_runtime.wire.tls_socket import TlsSocket


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


def encrypted(identity: Identity, *, timeout: float = 5) -> tuple[TlsSocket, TlsSocket]:
    client, server = tcp_pair()
    named = identity.fingerprint
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(tls.accept, server, identity, named, timeout=timeout)
        connected = tls.connect(client, identity, named, timeout=timeout)
        return connected, accepted.result()
