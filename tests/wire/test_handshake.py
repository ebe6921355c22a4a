"""Nobody without the key is admitted, or told why not."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.version import version
from paretopipe_runtime.wire import handshake

KEY = bytes(range(32))


class Listener:
    def __init__(self, key: bytes) -> None:
        self.key = key
        self.outcome: dict[str, Any] | ParetoPipeError | None = None
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._server, self._server.accept()[0] as sock:
            try:
                self.outcome = handshake.accept(sock, self.key, {"node": "pi1"})
            except ParetoPipeError as error:
                self.outcome = error

    def join(self) -> None:
        self._thread.join(10)


@pytest.fixture
def listen() -> Iterator[Callable[[bytes], Listener]]:
    made: list[Listener] = []

    def make(key: bytes = KEY) -> Listener:
        made.append(Listener(key))
        return made[-1]

    yield make
    for listener in made:
        listener.join()


def test_both_sides_learn_who_the_other_is(listen: Callable[..., Listener]) -> None:
    listener = listen()
    sock, server = handshake.connect(listener.address, KEY, {"role": "run"}, timeout=5)
    sock.close()
    listener.join()
    assert server["node"] == "pi1"
    assert isinstance(listener.outcome, dict)
    assert listener.outcome["role"] == "run"


def test_another_key_is_refused_on_both_sides(listen: Callable[..., Listener]) -> None:
    listener = listen(bytes(32))
    with pytest.raises(ParetoPipeError, match=r"E_AUTH.*provision"):
        handshake.connect(listener.address, KEY, {"role": "run"}, timeout=5)
    listener.join()
    assert isinstance(listener.outcome, ParetoPipeError)


def test_a_server_that_goes_at_once_is_not_said_to_have_another_key() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def go() -> None:
        sock, _ = server.accept()
        with server, sock:
            sock.recv(4096)

    thread = threading.Thread(target=go)
    thread.start()
    with pytest.raises(ParetoPipeError, match=r"E_CONNECT: .* closed it before a word") as told:
        handshake.connect(server.getsockname(), KEY, {"role": "run"}, timeout=5)
    thread.join(5)
    assert "share a key" not in str(told.value)


@pytest.mark.parametrize(
    "answer", [lambda _: bytes(32), lambda proof: proof], ids=["made up", "the client's own"]
)
def test_a_server_without_the_key_is_not_believed(answer: Callable[[bytes], bytes]) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def pretend() -> None:
        sock, _ = server.accept()
        with server, sock:
            sock.recv(4096)
            # Everything valid but the proof.
            fields = {"node": "pi1", "version": version(), "nonce": "0" * 64}
            hello = json.dumps(fields).encode()
            sock.sendall(struct.pack("<8sHHI", handshake.MAGIC, 1, 0, len(hello)) + hello)
            sock.sendall(answer(sock.recv(32)))

    thread = threading.Thread(target=pretend)
    thread.start()
    with pytest.raises(ParetoPipeError, match=r"E_AUTH: .*its proof of the key is wrong"):
        handshake.connect(server.getsockname(), KEY, {"role": "run"}, timeout=5)
    thread.join(5)


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        handshake.MAGIC + struct.pack("<HHI", 9, 0, 10) + b"{}",
        handshake.MAGIC + struct.pack("<HHI", 1, 0, 2**31),
        b"",
    ],
    ids=["http", "other major version", "endless hello", "hang up"],
)
def test_strangers_are_closed_on_without_a_word(
    listen: Callable[..., Listener], opening: bytes
) -> None:
    listener = listen()
    with socket.create_connection(listener.address, timeout=5) as sock:
        heard = b""
        with contextlib.suppress(OSError):  # closed at any byte
            sock.sendall(opening)
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(4096):
                heard += piece
    listener.join()
    assert heard == b""
    assert isinstance(listener.outcome, ParetoPipeError)


def test_a_silent_stranger_is_dropped_in_time(listen: Callable[..., Listener]) -> None:
    listener = listen()
    began = time.monotonic()
    with socket.create_connection(listener.address, timeout=10) as sock:
        assert sock.recv(1) == b""
    assert time.monotonic() - began < handshake.LIMIT_S + 3


def test_a_stranger_that_always_has_one_byte_more_is_dropped_in_time(
    listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "LIMIT_S", 0.3)
    listener = listen()
    with socket.create_connection(listener.address, timeout=0.05) as sock:
        size = struct.pack("<HHI", handshake.MAJOR, handshake.MINOR, handshake.MAX_HELLO)
        with contextlib.suppress(ConnectionError):
            sock.sendall(handshake.MAGIC + size)
            for _ in range(
                handshake.MAX_HELLO // 20
            ):  # after ten seconds there is still more to send
                sock.sendall(b" ")
                with contextlib.suppress(TimeoutError):
                    assert sock.recv(1) == b""
                    break
    listener.join()
    assert isinstance(listener.outcome, ParetoPipeError)
    assert listener.outcome.code == "E_AUTH_TIMEOUT"


def test_no_agent_gives_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with pytest.raises(ParetoPipeError, match=r"E_CONNECT.*provision"):
        handshake.connect(address, KEY, {}, timeout=1)
