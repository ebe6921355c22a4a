"""Acceptance of certificates: the authority's, the address's, and named in the HELLO."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames, tls
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Header
from paretopipe_runtime.wire.tls import Identity
from paretopipe_runtime.wire.tls_socket import TlsSocket
from tests.certificates import Authority
from tests.wire.pairs import encrypted, tcp_pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"))


def meet(
    client: Identity, server: Identity, *, client_says: str = "", server_says: str = ""
) -> tuple[ParetoPipeError | None, ParetoPipeError | None]:
    """Connect two ends; return their errors, the client's first."""

    def try_(do: Callable[[], TlsSocket]) -> ParetoPipeError | None:
        try:
            do().close()
        except ParetoPipeError as error:
            return error
        return None

    near, far = tcp_pair()
    named = (client_says or client.fingerprint, server_says or server.fingerprint)
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(try_, lambda: tls.accept(far, server, named[0], timeout=5))
        connected = try_(lambda: tls.connect(near, client, named[1], timeout=5))
        return connected, accepted.result()


def test_a_command_is_given_both_files_or_none(identity: Identity, tmp_path: Path) -> None:
    certificate, authority = identity.certificate, identity.authority
    assert Identity.from_options(None, None) is None
    assert Identity.from_options(certificate, authority) == identity
    for half in ((certificate, None), (None, authority)):
        with pytest.raises(ParetoPipeError, match=r"E_TLS: .* belong together"):
            Identity.from_options(*half)
    with pytest.raises(ParetoPipeError, match="E_TLS: no usable certificate"):
        Identity.from_options(tmp_path / "none.pem", authority)


def test_two_of_one_authority_agree_on_tls_1_3(identity: Identity) -> None:
    near, far = encrypted(identity)
    with near, far:
        assert near.tls.version() == far.tls.version() == "TLSv1.3"
        assert near.cipher == far.cipher
        assert near.cipher.startswith("TLS_")
        assert Channel(near, "far").cipher == near.cipher


def test_what_goes_over_the_wire_is_not_what_is_sent(identity: Identity) -> None:
    near, far = encrypted(identity)
    secret = b"a tensor that is nobody's business " * 100
    with near, far:
        near.sendmsg([secret])
        far.setblocking(True)
        raw = socket.socket.recv_into(far, bytearray(8192), 8192, socket.MSG_PEEK)
        peeked = bytearray(raw)
        socket.socket.recv_into(far, peeked, raw, socket.MSG_PEEK)
        assert b"nobody" not in peeked
        buffer = bytearray(len(secret))
        assert far.recv_into(buffer) == len(secret)
        assert bytes(buffer) == secret


def test_a_certificate_of_another_authority_is_refused_on_both_sides(
    authority: Authority, tmp_path: Path
) -> None:
    mine = authority.identity("mine", "127.0.0.1")
    other = Authority.made(tmp_path).identity("other", "127.0.0.1")
    for client, server in ((mine, other), (other, mine)):
        client_error, server_error = meet(client, server)
        assert client_error is not None
        assert server_error is not None
        assert {client_error.code, server_error.code} == {"E_TLS"}
        assert "provision" in client_error.message


def test_a_client_of_another_authority_that_trusts_ours_is_told_so(
    authority: Authority, tmp_path: Path
) -> None:
    mine = authority.identity("mine", "127.0.0.1")
    other = Authority.made(tmp_path).identity("other", "127.0.0.1")
    cunning = Identity(other.certificate, mine.authority)
    client_error, server_error = meet(cunning, mine)
    assert client_error is not None
    assert server_error is not None
    assert "does not believe this host's certificate" in client_error.message
    assert "is not believed here" in server_error.message


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize(
    ("addresses", "days", "why"),
    [
        (("127.0.0.1",), -1, "expired"),
        (("192.0.2.7",), 1, "192.0.2.7|mismatch"),
        ((), 1, "no address|mismatch|match"),
    ],
    ids=["expired", "of another address", "of no address"],
)
def test_a_certificate_that_does_not_fit_is_refused(
    authority: Authority, who: str, addresses: tuple[str, ...], days: float, why: str
) -> None:
    good = authority.identity("good", "127.0.0.1")
    bad = authority.identity("bad", *addresses, days=days)
    pair = (bad, good) if who == "client" else (good, bad)
    client_error, server_error = meet(*pair)
    judge = server_error if who == "client" else client_error
    assert client_error is not None
    assert server_error is not None
    assert judge is not None
    assert judge.code == "E_TLS"
    assert any(word in judge.message for word in why.split("|")), judge.message


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_certificate_that_the_hello_did_not_name_is_refused(
    authority: Authority, who: str
) -> None:
    one, two = authority.identity("one", "127.0.0.1"), authority.identity("two", "127.0.0.1")
    errors = meet(one, two, **{f"{who}_says": "0" * 64})
    judge = errors[1] if who == "client" else errors[0]
    assert judge is not None
    assert "another one than its HELLO names" in judge.message


def strange(identity: Identity, do: Callable[[socket.socket], Any]) -> ParetoPipeError:
    """Connect a foreign peer to the server; return the server's error."""
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as pool, near:
        refused: Future[Any] = pool.submit(
            tls.accept, far, identity, identity.fingerprint, timeout=1
        )
        do(near)
        with pytest.raises(ParetoPipeError) as caught:
            refused.result()
    assert caught.value.code == "E_TLS"
    return caught.value


def test_a_plain_peer_gets_nothing(identity: Identity) -> None:
    def say(sock: socket.socket) -> None:
        sock.sendall(frames.encode(Header(FrameType.END, 0, 0)))
        sock.settimeout(5)
        heard = sock.recv(4096)
        assert len(heard) <= 7  # at most an alert
        assert sock.recv(1) == b""

    assert "does not speak TLS 1.3" in strange(identity, say).message


def test_tls_1_2_is_refused(identity: Identity) -> None:
    def old(sock: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(identity.authority)
        context.load_cert_chain(identity.certificate)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            context.wrap_socket(sock)

    assert "UNSUPPORTED_PROTOCOL" in strange(identity, old).message


def test_a_client_without_a_certificate_is_refused(identity: Identity) -> None:
    def bare(sock: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(identity.authority)
        stream = context.wrap_socket(sock, server_hostname="127.0.0.1")
        with stream, pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            stream.recv(1)

    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in strange(identity, bare).message


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"], ids=["silent", "begun"])
def test_who_stalls_is_given_up_in_time(identity: Identity, said: bytes) -> None:
    began = time.monotonic()

    def stall(sock: socket.socket) -> None:
        sock.sendall(said)
        sock.settimeout(10)
        assert sock.recv(1) == b""

    assert "had not agreed on TLS" in strange(identity, stall).message
    assert time.monotonic() - began < 1 + 2


def test_a_server_that_talks_plain_is_refused(identity: Identity) -> None:
    near, far = tcp_pair()

    def talk() -> None:
        with far:
            far.recv(65536)
            far.sendall(frames.encode(Header(FrameType.END, 0, 0)))
            far.recv(65536)

    thread = threading.Thread(target=talk)
    thread.start()
    with pytest.raises(ParetoPipeError, match=r"E_TLS.*does not speak TLS 1.3"):
        tls.connect(near, identity, identity.fingerprint, timeout=5)
    thread.join(5)


def test_what_is_altered_on_the_way_is_noticed(identity: Identity) -> None:
    near, far = encrypted(identity)
    with near, far:
        channel = Channel(far, "near")
        socket.socket.send(near, struct.pack(">BHH", 23, 0x0303, 40) + bytes(40))
        with pytest.raises(ParetoPipeError, match="E_TLS"):
            channel.receive_header(2)


def test_a_record_that_trickles_is_given_up(identity: Identity) -> None:
    near, far = encrypted(identity)
    stop = threading.Event()

    def trickle() -> None:
        record = struct.pack(">BHH", 23, 0x0303, 16384) + bytes(16384)
        for byte in record:
            if stop.wait(0.05):
                return
            socket.socket.send(near, bytes([byte]))

    with near, far:
        thread = threading.Thread(target=trickle)
        thread.start()
        began = time.monotonic()
        with pytest.raises(ParetoPipeError, match="E_STALL"):
            Channel(far, "near").receive_header(0.5)
        assert time.monotonic() - began < 3
        stop.set()
        thread.join(5)


def test_nothing_goes_past_the_encryption(identity: Identity) -> None:
    near, far = encrypted(identity)
    with near, far:
        for way in (near.send, near.sendall, near.recv):
            with pytest.raises(NotImplementedError):
                way(b"plain")  # type: ignore[operator]


def test_an_unusable_certificate_is_told_of(identity: Identity, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for wrong in (
        Identity(tmp_path / "missing", identity.authority),
        Identity(tmp_path / "empty", identity.authority),
        Identity(identity.certificate, tmp_path / "empty"),
    ):
        with pytest.raises(ParetoPipeError, match=r"E_TLS.*provision"):
            wrong.context(server=True)
