"""F7 and F9 on the wire: links that lose, reset, stall or crawl, and frozen peers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames, tcp
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Header
from tests.wire.cuts import tcp_pair

TYPED = {"E_STALL", "E_PEER_LOST", "E_TRUNC"}


@dataclass(frozen=True)
class Outcome:
    """Each end's result (``equal``, ``different`` or a code) and seconds.

    The receiver's seconds count from the header, if one came.
    """

    sender: str
    receiver: str
    sender_s: float
    receiver_s: float


def transfer(
    nbytes: int,
    seed: int,
    deadline_s: float,
    *,
    lost_s: float | None = None,
    fault: Callable[[], AbstractContextManager[None]] = nullcontext,
    after_s: float = 0,
    for_s: float | None = None,
    reading_from_s: float = 0,
) -> Outcome:
    """Send one tensor over TCP; `fault` holds from `after_s` on, to the end or for `for_s`.

    Parameters
    ----------
    lost_s : float, optional
        The sender's TCP_USER_TIMEOUT, instead of the usual.
    reading_from_s : float
        Start of the receiver's reading.
    """
    left, right = tcp_pair()
    for sock in (left, right):
        tcp.tune(sock)
    if lost_s is not None:
        tcp.set_user_timeout(left, lost_s)
    sender, receiver = Channel(left, "receiver"), Channel(right, "sender")
    payload = np.random.default_rng(seed).integers(0, 256, nbytes, dtype=np.uint8)
    buffer = bytearray(nbytes)
    ended: dict[str, tuple[str, float]] = {}
    began = time.monotonic()
    heard: list[float] = []

    def send() -> None:
        form = {"dtype": "uint8", "shape": (nbytes,)}
        sender.send(FrameType.TENSOR, payload.data, timeout=deadline_s, **form)  # type: ignore[arg-type]

    def receive() -> None:
        time.sleep(reading_from_s)
        header = receiver.receive_header(deadline_s)
        heard.append(time.monotonic())  # the payload's deadline starts here
        receiver.receive_payload(header, memoryview(buffer), deadline_s)

    def run(name: str, act: Callable[[], None]) -> None:
        try:
            act()
            code = "equal"
        except ParetoPipeError as error:
            code = error.code
        since = heard[0] if heard and name == "receiver" else began
        ended[name] = code, time.monotonic() - since

    threads = [
        threading.Thread(target=run, args=("sender", send)),
        threading.Thread(target=run, args=("receiver", receive)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(after_s)
    with fault():
        if for_s is None:
            for thread in threads:
                thread.join(deadline_s + 60)
        else:
            time.sleep(for_s)
    for thread in threads:
        thread.join(deadline_s + 60)
        assert not thread.is_alive()
    for channel in (sender, receiver):
        channel.shut()
        channel.close()
    (one, one_s), (two, two_s) = ended["sender"], ended["receiver"]
    if two == "equal" and bytes(buffer) != payload.tobytes():
        two = "different"
    return Outcome(one, two, one_s, two_s)


def frozen(sent_nbytes: int, of_nbytes: int, deadline_s: float) -> tuple[str, float]:
    """Receive from a process stopped within a payload; return code and seconds.

    Its kernel still acknowledges: no keepalive or TCP_USER_TIMEOUT notices.
    """
    ours, theirs = tcp_pair()
    for sock in (ours, theirs):
        tcp.tune(sock)
        tcp.set_user_timeout(sock, deadline_s / 2)
    header = Header(FrameType.BLOB, 0, of_nbytes)
    first = (frames.encode(header) + bytes(of_nbytes))[:sent_nbytes]
    command = [sys.executable, "-c", _FREEZES, str(theirs.fileno())]
    peer = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE)
    theirs.close()
    channel = Channel(ours, "peer")
    try:
        assert peer.stdin is not None
        peer.stdin.write(first)
        peer.stdin.close()
        while Path(f"/proc/{peer.pid}/stat").read_text().split()[2] != "T":
            time.sleep(0.01)
        began = time.monotonic()
        try:
            head = channel.receive_header(deadline_s)
            channel.receive_payload(head, memoryview(bytearray(of_nbytes)), deadline_s)
            code = "equal"
        except ParetoPipeError as error:
            code = error.code
        return code, time.monotonic() - began
    finally:
        peer.kill()
        peer.wait(10)
        channel.close()


_FREEZES = """
import os, signal, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.sendall(sys.stdin.buffer.read())
os.kill(os.getpid(), signal.SIGSTOP)
"""
