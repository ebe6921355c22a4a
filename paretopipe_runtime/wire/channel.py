"""A connected socket that speaks frames: exact reads, scatter-gather writes, deadlines.

Every operating-system error becomes a `ParetoPipeError` here, at the socket line, and nowhere
else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import xxhash

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames, strict
from paretopipe_runtime.wire.frames import FrameType, Header
from paretopipe_runtime.wire.outgoing import PIECE, Outgoing, rest

MESSAGE_DEPTH = 16
# Within a frame a peer that lives is not silent for longer, however slow the link: a transfer that
# may take minutes is given up long before.
SILENCE_S = 30.0
_SMALL = 64 * 1024  # up to here a payload is sent, or read, with its digest in one call
_DIGEST_SIZE = 8
_IDLE = 24 * 3600.0
_LATE_S = 1.0  # by so much the kernel may end a read or a write after its deadline
_TIMEVAL = struct.Struct("@ll")


def _never() -> bool:
    return False


class Channel:
    """Frames over one authenticated TCP connection.

    Parameters
    ----------
    sock : socket.socket
        Connected; the handshake is over. The channel owns it from here on.
    peer : str
        Who is at the other end, for error sentences: ``pi2 10.78.0.12``.

    Attributes
    ----------
    payload_sent, payload_received : int
        Tensor payload bytes so far: what a run proves equal to the plan's.
    cipher : str or None
        What encrypts the connection, None where nothing does.
    """

    def __init__(self, sock: socket.socket, peer: str) -> None:
        # The kernel keeps the deadlines, one for each direction; a time-out of Python's would bind
        # both. A read is then a single system call, with no poll before it.
        sock.setblocking(True)
        self._limits: dict[int, float] = {}
        self.sock = sock
        self.peer = peer
        self.payload_sent = 0
        self.payload_received = 0
        self._sent = 0
        self._received = 0
        self._header = bytearray(frames.HEADER_SIZE)
        self._digest = bytearray(_DIGEST_SIZE)
        self._form: tuple[Any, ...] = ()  # of the frame sent last, and its header
        self._form_header = bytearray()
        self._header_view, self._digest_view = memoryview(self._header), memoryview(self._digest)
        self._sending = threading.Lock()  # a stage's sender may report an error while it sends
        #: Whether bytes are here that the descriptor does not tell of, as of an encrypted socket.
        self.waiting: Callable[[], bool] = getattr(sock, "waiting", _never)
        self.cipher: str | None = getattr(sock, "cipher", None)

    def fileno(self) -> int:
        """The socket's descriptor, so that selectors take a channel as it is."""
        return self.sock.fileno()

    def shut(self) -> None:
        """End the connection in both directions: wakes a thread that waits on it."""
        with contextlib.suppress(OSError):  # the peer was faster
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the peer sees the end of the stream."""
        self.sock.close()

    # -- sending ---------------------------------------------------------------------------------

    def offer(
        self,
        kind: FrameType,
        payload: memoryview | bytes = b"",
        *,
        batch_id: int = 0,
        dtype: str | None = None,
        shape: tuple[int, ...] = (),
    ) -> Outgoing | None:
        """Send one frame, without waiting: return what the kernel did not take, None if it did.

        It goes straight from `payload`'s own memory, one-dimensional bytes that must not change
        before the frame is complete. Nothing else can go out on this channel until then.
        """
        self._sending.acquire()
        header = self._encode(kind, len(payload), batch_id, dtype, shape)
        if len(payload) > _SMALL:
            view = memoryview(payload)
            outgoing = Outgoing(self, kind, len(payload), [memoryview(header)], view)
        else:  # a single call, as most frames of a run are worth it
            parts = [header, payload]
            if payload:
                parts.append(xxhash.xxh3_64_digest(payload))
            try:
                count = self.sock.sendmsg(parts, (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                count = 0
            except OSError as error:
                raise self.unsent(kind, 0, error) from error
            if count == sum(map(len, parts)):
                self.sent(kind, len(payload))
                return None
            left = rest([memoryview(part) for part in parts], count)
            outgoing = Outgoing(self, kind, len(payload), left)
        return None if outgoing.push() else outgoing

    def send(
        self,
        kind: FrameType,
        payload: memoryview | bytes = b"",
        *,
        batch_id: int = 0,
        dtype: str | None = None,
        shape: tuple[int, ...] = (),
        timeout: float,
    ) -> None:
        """Send one frame; `timeout` is for the whole of it."""
        outgoing = self.offer(kind, payload, batch_id=batch_id, dtype=dtype, shape=shape)
        if outgoing:
            outgoing.complete(timeout)

    def send_message(self, message: dict[str, Any], *, timeout: float) -> None:
        """Send a JSON object."""
        self.send(FrameType.MESSAGE, json.dumps(message).encode(), timeout=timeout)

    def send_error(self, error: ParetoPipeError, *, timeout: float = 5.0) -> None:
        """Tell the peer why this end gives up."""
        self.send(FrameType.ERROR, frames.error_payload(error), timeout=timeout)

    def sent(self, kind: FrameType, payload_nbytes: int) -> None:
        """Take note of a frame that is complete, and let the next one begin."""
        self._sent += 1
        if kind is FrameType.TENSOR:
            self.payload_sent += payload_nbytes
        self._sending.release()

    def unsent(self, kind: FrameType, timeout: float, error: OSError) -> ParetoPipeError:
        """Let go of a frame that cannot be completed, so that the reason may still be sent."""
        doing = f"sending {kind.name} {self._sent}"
        self._sending.release()
        return self._failure(doing, timeout, error)

    def _encode(
        self, kind: FrameType, nbytes: int, batch_id: int, dtype: str | None, shape: tuple[int, ...]
    ) -> bytearray:
        """Return the next frame's header: the last one's, renumbered, if it has the same form."""
        form = (kind, nbytes, dtype, shape)
        if form == self._form:
            frames.renumber(self._form_header, self._sent, batch_id)
        else:
            code = frames.DTYPE_CODES[dtype] if dtype else 0
            header = Header(kind, self._sent, nbytes, batch_id, code, shape)
            self._form, self._form_header = form, bytearray(frames.encode(header))
        return self._form_header

    # -- receiving -------------------------------------------------------------------------------

    def receive_header(self, timeout: float = _IDLE) -> Header:
        """Wait for the next frame and return its checked header; an ERROR frame is raised."""
        began = time.monotonic()
        try:
            self.limit(socket.SO_RCVTIMEO, timeout)
            count = self.sock.recv_into(self._header)
            if count != frames.HEADER_SIZE:
                left = began + timeout - time.monotonic()
                self._read([self._header_view], count, max(left, _LATE_S))
        except OSError as error:
            raise self._failure("waiting for a frame", timeout, error) from error
        header = frames.decode(self._header)
        if header.seq != self._received:
            raise ParetoPipeError(
                "E_SEQ", f"{self.peer}: frame {header.seq} came, expected {self._received}"
            )
        self._received += 1
        if header.type is FrameType.ERROR:
            raise frames.read_error(self._json(header), self.peer)
        return header

    def receive_payload(self, header: Header, buffer: memoryview, timeout: float) -> float:
        """Read `header`'s payload into `buffer`, exactly its size, and check its digest.

        Returns
        -------
        float
            Seconds that reading took; computing the digest is not counted.

        Raises
        ------
        ParetoPipeError
            ``E_CHECKSUM`` for a payload that was damaged on the way.
        """
        if not len(buffer):
            return 0.0
        start = time.perf_counter()
        try:
            if len(buffer) <= _SMALL:
                views = [buffer, self._digest_view]
                count = self._take(views)
                if count != len(buffer) + _DIGEST_SIZE:
                    self._read(views, count, timeout)
                receive_s = time.perf_counter() - start
                digest = xxhash.xxh3_64_digest(buffer)
            else:
                hashing_s, digest = self._read_by_piece(buffer, timeout)
                receive_s = time.perf_counter() - start - hashing_s
        except OSError as error:
            raise self._failure(
                f"receiving {header.type.name} {header.seq}", timeout, error
            ) from error
        if digest != self._digest:
            raise ParetoPipeError(
                "E_CHECKSUM",
                f"{self.peer}: payload of frame {header.seq} was damaged on the way — the run is "
                "discarded; suspect the link or the memory of either host",
            )
        if header.type is FrameType.TENSOR:
            self.payload_received += len(buffer)
        return receive_s

    def receive_message(self, timeout: float) -> dict[str, Any]:
        """Return the next frame's JSON object; any other frame is an error."""
        header = self.receive_header(timeout)
        if header.type is not FrameType.MESSAGE:
            raise ParetoPipeError("E_ORDER", f"{self.peer}: {header.type.name} came, not MESSAGE")
        return self._json(header)

    def _json(self, header: Header) -> dict[str, Any]:
        buffer = memoryview(bytearray(header.payload_nbytes))
        self.receive_payload(header, buffer, timeout=10.0)
        try:
            return strict.parse_object(bytes(buffer), depth=MESSAGE_DEPTH)
        except ValueError as error:
            raise ParetoPipeError(
                "E_MESSAGE", f"{self.peer}: {header.type.name} {header.seq} is {error}"
            ) from error

    def _read_by_piece(self, buffer: memoryview, timeout: float) -> tuple[float, bytes]:
        """Read a long payload, hashing each piece while it is in the cache; seconds, digest."""
        deadline = time.monotonic() + timeout
        hash_so_far = xxhash.xxh3_64()
        hashing_s = 0.0
        done = 0
        self.limit(socket.SO_RCVTIMEO, min(timeout, SILENCE_S))
        while done < len(buffer):
            try:
                count = self.sock.recv_into(buffer[done : done + PIECE])
            except BlockingIOError as error:
                raise self._silent(done, len(buffer)) from error
            self._check_read(count, done, len(buffer), deadline)
            before = time.perf_counter()
            hash_so_far.update(buffer[done : done + count])
            hashing_s += time.perf_counter() - before
            done += count
        self._read([self._digest_view], None, max(deadline - time.monotonic(), _LATE_S))
        return hashing_s, hash_so_far.digest()

    def _take(self, views: list[memoryview]) -> int | None:
        """Read what is there already; None where nothing is."""
        try:
            return self.sock.recvmsg_into(views, 0, socket.MSG_DONTWAIT)[0]
        except BlockingIOError:
            return None

    def _read(self, views: list[memoryview], count: int | None, timeout: float) -> None:
        """Fill `views` one after the other; `count` bytes are in them already, 0 means the end."""
        deadline = time.monotonic() + timeout
        size = sum(map(len, views))
        done = 0
        self.limit(socket.SO_RCVTIMEO, min(timeout, SILENCE_S))
        while True:
            if count is not None:
                self._check_read(count, done, size, deadline)
                done += count
                if done == size:
                    return
                views = rest(views, count)
            try:
                count = self.sock.recvmsg_into(views)[0]
            except BlockingIOError as error:
                raise self._silent(done, size) from error

    def _check_read(self, count: int, done: int, size: int, deadline: float) -> None:
        if count == 0:
            raise ParetoPipeError(
                "E_TRUNC", f"{self.peer} closed the connection at {done}/{size} B"
            )
        if done + count < size:
            self.hurry(socket.SO_RCVTIMEO, deadline)

    def limit(self, option: int, seconds: float) -> None:
        """Let the kernel end a read (SO_RCVTIMEO) or a write (SO_SNDTIMEO) after `seconds`."""
        if self._limits.get(option) != seconds:
            whole = int(seconds)
            part = max(int((seconds - whole) * 1e6), 0 if whole else 1)  # zero means no limit
            self.sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(whole, part))
            self._limits[option] = seconds

    def hurry(self, option: int, deadline: float) -> None:
        """Give what is still to come only the time that is left: a peer must not trickle."""
        left = deadline - time.monotonic()
        if left < 0:
            raise TimeoutError
        if left + _LATE_S < self._limits[option]:
            self.limit(option, left + _LATE_S / 2)

    def _silent(self, done: int, size: int) -> TimeoutError:
        waited = self._limits[socket.SO_RCVTIMEO]
        return TimeoutError(f"no byte for {waited:.1f} s at {done}/{size} B")

    def _failure(self, doing: str, timeout: float, error: OSError) -> ParetoPipeError:
        """Return what the operating system raised, as an error of ours."""
        # ETIMEDOUT is a TimeoutError for Python, and the kernel's word that nobody answers.
        if isinstance(error, TimeoutError | BlockingIOError) and error.errno != errno.ETIMEDOUT:
            what = f"not done in {timeout:.1f} s" if error.errno or not error.args else str(error)
            return ParetoPipeError("E_STALL", f"{self.peer}: {doing}: {what}")
        return ParetoPipeError("E_PEER_LOST", f"{self.peer}: {doing}: {error.strerror or error}")
