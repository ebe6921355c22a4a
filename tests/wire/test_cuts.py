"""F5: a connection cut at any byte is a timely typed error, and the next one is served."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
import xxhash

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.version import version
from paretopipe_runtime.wire import frames, handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Header
from tests.effort import proved, some
from tests.wire import strangers
from tests.wire.conftest import Live
from tests.wire.pairs import tcp_pair
from tests.wire.strangers import reset

NBYTES = 200_000
NEXT_S = 5.0  # a second, and slack for a busy machine
POINTS = 64
DEADLINE_S = 5.0
LATE_S = 2.0
LARGE = 16 * 1024 * 1024  # more than the buffers of two sockets
TYPED = {"E_TRUNC", "E_PEER_LOST", "E_STALL"}


def test_what_is_received_may_end_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    told = hearing()
    with capsys.disabled():
        print("", *told, sep="\n")


def test_what_is_sent_may_end_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    told = saying()
    with capsys.disabled():
        print("", *told, sep="\n")


def test_an_agent_serves_the_next_peer(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    told = served(live)
    with capsys.disabled():
        print("", *told, sep="\n")


def hearing() -> list[str]:
    """Cut large payloads, and small ones read with their digest."""
    return [
        _told(f"cuts of what a channel receives, {nbytes:,} B", received(nbytes))
        for nbytes in (NBYTES, 64)
    ]


def saying() -> list[str]:
    return [_told("cuts of what a channel sends", sent())]


def served(live: Live) -> list[str]:
    live.session()
    before = strangers.Held.settled(live)
    found, slowest = at_an_agent(live)
    after = strangers.Held.settled(live, before)
    assert found.findings[:3] == []
    assert found.codes == {"served": 2 * CASES}
    assert slowest < NEXT_S
    assert after.no_more_than(before)
    assert strangers.unexplained(live.cluster.log("pi1")) == []
    left = list((live.cluster.folder / "pi1" / "weights").glob(".*"))
    assert left == [], "a half-received file was kept"
    return [
        proved("cuts of a session with a live agent", len(found.findings), found.trials),
        f"  the next session took at most {slowest:.3f} s",
    ]


def _told(what: str, found: Cut) -> str:
    codes = ", ".join(f"{count} {code}" for code, count in found.codes.most_common())
    assert found.findings[:3] == []
    assert found.trials == CASES
    line = proved(what, len(found.findings), found.trials)
    return f"{line}\n  {codes}; the slowest after {found.slowest_s:.2f} s"


def places(nbytes: int) -> list[int]:
    payload = [frames.HEADER_SIZE + nbytes * part // POINTS for part in range(POINTS)]
    return some([*range(frames.HEADER_SIZE), *payload], 32)


CASES = len(places(NBYTES)) * 2


@dataclass
class Cut:
    trials: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    findings: list[str] = field(default_factory=list)

    def note(self, where: str, code: str, took: float) -> None:
        self.trials += 1
        self.codes[code] += 1
        self.slowest_s = max(self.slowest_s, took)
        if code not in TYPED:
            self.findings.append(f"{where}: {code}")
        if took > DEADLINE_S + LATE_S:
            self.findings.append(f"{where}: {code} after {took:.1f} s")


def received(nbytes: int) -> Cut:
    payload = secrets.token_bytes(nbytes)
    head = frames.encode(Header(FrameType.TENSOR, 0, nbytes, 0, 3, (nbytes,)))
    frame = head + payload + xxhash.xxh3_64_digest(payload)
    found = Cut()
    for at in places(nbytes):
        for end in (socket.socket.close, reset):
            ours, theirs = tcp_pair()
            channel = Channel(ours, "peer")
            threading.Thread(target=_say, args=(theirs, frame[:at], end)).start()
            began = time.monotonic()
            code = _code(channel, lambda channel: _take(channel, nbytes))
            found.note(f"{at} B received, {end.__name__}", code, time.monotonic() - began)
            channel.close()
    return found


def sent(nbytes: int = LARGE) -> Cut:
    payload = memoryview(bytes(nbytes))
    found = Cut()
    for at in places(nbytes):
        for end in (socket.socket.close, reset):
            ours, theirs = tcp_pair()
            channel = Channel(ours, "peer")
            threading.Thread(target=_hear, args=(theirs, at, end)).start()
            began = time.monotonic()
            code = _code(channel, lambda channel: _give(channel, payload))
            found.note(f"{at} B sent, {end.__name__}", code, time.monotonic() - began)
            channel.close()
    return found


def at_an_agent(live: Live) -> tuple[Cut, float]:
    """Cut deployments at a live agent, in both directions.

    Returns
    -------
    Cut
        Of the sessions served after each cut.
    float
        Seconds of the slowest.
    """
    content = secrets.token_bytes(200_000)
    name = hashlib.sha256(content).hexdigest()
    said = b"".join(
        frames.encode(Header(kind, seq, len(part))) + part + xxhash.xxh3_64_digest(part)
        for seq, (kind, part) in enumerate(
            (
                (FrameType.MESSAGE, json.dumps({"files": [name]}).encode()),
                (FrameType.MESSAGE, json.dumps({"nbytes": len(content)}).encode()),
                (FrameType.BLOB, content),
            )
        )
    )
    before_blob = len(said) - len(content) - frames.HEADER_SIZE - 8
    found, slowest = Cut(), 0.0
    for receiving in (True, False):
        for at in places(len(content) if receiving else 86):
            for end in (socket.socket.close, reset):
                hello = {"role": "deploy", "version": version(), "nonce": secrets.token_hex(32)}
                sock, _ = handshake.connect(live.address, live.cluster.key, hello, timeout=5)
                sock.settimeout(5)
                if receiving:
                    sock.sendall(said[: before_blob + at])
                else:
                    sock.sendall(said[:before_blob])
                    sock.recv(at, socket.MSG_WAITALL) if at else None
                end(sock)
                found.trials += 1
                try:
                    slowest = max(slowest, live.session())
                    found.codes["served"] += 1
                except ParetoPipeError as error:
                    found.findings.append(f"{at} B, {end.__name__}, hearing {receiving}: {error}")
    return found, slowest


def _take(channel: Channel, nbytes: int) -> None:
    header = channel.receive_header(DEADLINE_S)
    channel.receive_payload(header, memoryview(bytearray(nbytes)), DEADLINE_S)


def _give(channel: Channel, payload: memoryview) -> None:
    """Send, then wait for an answer: the kernel may have buffered the rest before the cut."""
    channel.send(FrameType.BLOB, payload, timeout=DEADLINE_S)
    channel.receive_header(DEADLINE_S)


def _code(channel: Channel, act: object) -> str:
    try:
        act(channel)  # type: ignore[operator]
    except ParetoPipeError as error:
        return error.code
    except Exception as error:
        return f"{type(error).__name__} escaped: {error}"
    return "no error"


def _say(sock: socket.socket, data: bytes, end: object) -> None:
    sock.sendall(data)
    end(sock)  # type: ignore[operator]


def _hear(sock: socket.socket, size: int, end: object) -> None:
    if size:
        sock.recv(size, socket.MSG_WAITALL)
    end(sock)  # type: ignore[operator]
