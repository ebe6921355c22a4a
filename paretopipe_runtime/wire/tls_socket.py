"""An encrypted socket for `Channel`.

`ssl.SSLSocket` waits inside OpenSSL, where kernel timeouts have no effect and two threads must not
be. Here OpenSSL works on memory, under a lock, without waiting.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable
from typing import Any, NoReturn, cast

from paretopipe_runtime.errors import ParetoPipeError

# So much is encrypted, or read from the kernel, at once: a small frame as a whole, and little
# enough that who wants to read does not wait long for who is encrypting.
PIECE = 256 * 1024
_TIMEVAL = struct.Struct("@ll")
_NO_LIMIT_S = 24 * 3600.0


class TlsSocket(socket.socket):
    """Takes over `sock`; `address` is the server's, at the client's end.

    Only a channel's calls are encrypted; others are closed.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, address: str | None) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._arrived, self._leaving, server_side=address is None, server_hostname=address
        )
        self._lock = threading.Lock()  # one thread at a time is in OpenSSL
        self._raw = memoryview(bytearray(PIECE))
        self._sealed = memoryview(b"")  # encrypted, but not yet the kernel's
        self._taken = 0  # so many bytes are in there, of which the sender has not been told

    @property
    def cipher(self) -> str:
        """The cipher suite that was agreed on."""
        return (self.tls.cipher() or ("",))[0]

    def waiting(self) -> bool:
        """Tell whether bytes have arrived that the descriptor does not show."""
        return self._arrived.pending > 0 or self.tls.pending() > 0

    # -- handshake --------------------------------------------------------------------------------

    def handshake(self, deadline: float) -> None:
        """Agree on keys before `deadline`, else raise OSError."""
        while True:
            try:
                self.tls.do_handshake()
                self._flush(deadline)
                return
            except ssl.SSLWantReadError:
                self._flush(deadline)
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the peer may as well know why
                    self._flush(deadline)
                raise
            self._await(deadline)

    def expect(self, word: bytes, deadline: float) -> None:
        """Read exactly `word`, the peer's first."""
        heard = memoryview(bytearray(len(word)))
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.read(len(heard), heard)
                if heard != word:
                    raise OSError("something else came")
                return
            self._await(deadline)

    def say(self, word: bytes, deadline: float) -> None:
        """Send `word`, this side's first."""
        self.tls.write(word)
        self._flush(deadline)

    def _await(self, deadline: float) -> None:
        self.settimeout(_left(deadline))
        if not self._fill(0):
            raise OSError("it closed the connection")

    def _flush(self, deadline: float) -> None:
        while said := self._leaving.read():
            self.settimeout(_left(deadline))
            super().sendall(said)

    # -- receiving ---------------------------------------------------------------------------------

    def recv_into(self, buffer: Any, _nbytes: int = 0, flags: int = 0) -> int:
        """Read at least one byte; 0 is the end."""
        view = memoryview(buffer)
        until = 0.0
        while not (count := self._open(view)):
            if until and time.monotonic() > until:  # a peer must not trickle within a record
                raise BlockingIOError
            if not self._fill(flags):
                return 0
            until = until or time.monotonic() + self._patience_s()
        return count

    def recvmsg_into(
        self, buffers: Iterable[Any], _ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, Any]:
        return self.recv_into(next(iter(buffers)), 0, flags), [], 0, None

    def _open(self, view: memoryview) -> int:
        """Decrypt received records into `view`; 0 if none is whole."""
        done = 0
        with self._lock:
            try:
                while done < len(view):
                    # Into a buffer it returns a number, whatever its type says.
                    count = cast(int, self.tls.read(len(view) - done, view[done:]))
                    if not count:
                        break
                    done += count
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise ParetoPipeError(
                    "E_TLS",
                    f"what came was not encrypted by the peer ({error.reason or error.strerror}) — "
                    "the run is discarded; something on the way altered it",
                ) from error
        return done

    def _fill(self, flags: int) -> int:
        count = super().recv_into(self._raw, 0, flags)
        with self._lock:
            self._arrived.write(self._raw[:count])
        return count

    def _patience_s(self) -> float:
        limit = self.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.size)
        whole, part = _TIMEVAL.unpack(limit)
        return float(whole) + part / 1e6 or _NO_LIMIT_S

    # -- sending -----------------------------------------------------------------------------------

    def sendmsg(
        self, buffers: Iterable[Any], _ancdata: Any = (), flags: int = 0, _address: Any = None
    ) -> int:
        """Send a beginning of `buffers` and return its length.

        0 until the kernel has all encrypted bytes: repeat the call with the same buffers,
        which are not encrypted again.
        """
        data = b"".join(buffers) if not isinstance(buffers, list) or buffers[1:] else buffers[0]
        if self._taken > len(data):  # other bytes: a frame that was given up lies before them
            raise TimeoutError("what was to go before it has not left")
        if not self._taken:
            with self._lock:
                self._taken = self.tls.write(memoryview(data)[:PIECE])
                self._sealed = memoryview(self._leaving.read())
        self._sealed = self._sealed[super().send(self._sealed, flags) :]
        if self._sealed:
            return 0
        taken, self._taken = self._taken, 0
        return taken


def _barred(*_args: Any) -> NoReturn:
    raise NotImplementedError("this would go past the encryption")


_PAST_IT = ("send", "sendall", "sendto", "sendfile", "recv", "recvfrom", "recvmsg", "recvfrom_into")
for _way in (*_PAST_IT, "makefile", "dup"):
    setattr(TlsSocket, _way, _barred)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
