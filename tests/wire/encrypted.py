"""A pair of TLS sockets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from paretopipe_runtime.wire import tls
from paretopipe_runtime.wire.tls import Identity
from paretopipe_runtime.wire.tls_socket import TlsSocket
from tests.wire.cuts import tcp_pair


def encrypted(identity: Identity, *, timeout: float = 5) -> tuple[TlsSocket, TlsSocket]:
    client, server = tcp_pair()
    named = identity.fingerprint
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(tls.accept, server, identity, named, timeout=timeout)
        connected = tls.connect(client, identity, named, timeout=timeout)
        return connected, accepted.result()
