"""Frames over a connected socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from paretopipe_runtime.wire.receiving import Receiver
from paretopipe_runtime.wire.sending import Sender
from paretopipe_runtime.wire.tcp import Deadlines


class Channel:
    """Frames over one authenticated TCP connection: `Sender` and `Receiver`.

    It owns `sock`; `peer` is named in errors; `cipher` is None without encryption. Payloads are
    counted in tensor bytes, for comparison with the plan.
    """

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.sock = sock
        self.peer = peer
        deadlines = Deadlines(sock, peer)
        self._sender, self._receiver = Sender(sock, deadlines), Receiver(sock, deadlines, peer)
        self.offer, self.complete = self._sender.offer, self._sender.complete
        self.send, self.send_message = self._sender.send, self._sender.send_message
        self.send_error = self._sender.send_error
        self.receive_header = self._receiver.receive_header
        self.receive_payload = self._receiver.receive_payload
        self.receive_message = self._receiver.receive_message
        #: Whether bytes are here that the descriptor does not tell of, as of an encrypted socket.
        self.waiting: Callable[[], bool] = getattr(sock, "waiting", lambda: False)
        self.cipher: str | None = getattr(sock, "cipher", None)

    @property
    def payload_sent(self) -> int:
        return self._sender.payload_nbytes

    @property
    def payload_received(self) -> int:
        return self._receiver.payload_nbytes

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self.sock.fileno()

    def shut(self) -> None:
        """End both directions: wakes a thread that waits."""
        with contextlib.suppress(OSError):  # the peer was faster
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sock.close()
