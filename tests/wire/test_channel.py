"""Channels over real sockets: exact bytes, order, deadlines, damage."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import xxhash

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Tensor
from paretopipe_runtime.wire.tls import Identity
from tests.wire.pairs import encrypted, tcp_pair


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest, identity: Identity) -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair() if request.param == "plain" else encrypted(identity)
    channels = Channel(left, "left"), Channel(right, "right")
    yield channels
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("shape", [(), (0, 3), (3,), (8, 64, 112, 112)])
def test_tensor_bytes_arrive_exactly(pair: tuple[Channel, Channel], shape: tuple[int, ...]) -> None:
    sender, receiver = pair
    array = np.random.default_rng(1).random(shape, dtype=np.float32)
    if array.size:
        array.flat[0] = np.nan  # payloads are bytes: a NaN keeps its bits
    payload = array.tobytes()
    thread = threading.Thread(
        target=sender.send,
        args=(FrameType.TENSOR, payload),
        kwargs={"batch_id": 4, "dtype": "float32", "shape": shape, "timeout": 10},
    )
    thread.start()
    header = receiver.receive_header(10)
    Tensor(shape, "float32", array.nbytes).check(header, "left")
    buffer = bytearray(header.payload_nbytes)
    receiver.receive_payload(header, memoryview(buffer), 10)
    thread.join(10)
    assert bytes(buffer) == payload
    assert header.batch_id == 4
    assert sender.payload_sent == receiver.payload_received == array.nbytes


@pytest.mark.parametrize(
    "planned",
    [Tensor((5,), "float32", 20), Tensor((2, 2), "float32", 16), Tensor((4,), "int32", 16)],
    ids=["size", "shape", "type"],
)
def test_an_unplanned_tensor_is_refused_before_its_payload_is_read(
    pair: tuple[Channel, Channel], planned: Tensor
) -> None:
    sender, receiver = pair
    sender.send(FrameType.TENSOR, bytes(16), dtype="float32", shape=(4,), timeout=1)
    header = receiver.receive_header(1)
    with pytest.raises(ParetoPipeError, match="E_SHAPE"):
        planned.check(header, "left")


def test_damage_in_the_payload_is_found(pair: tuple[Channel, Channel]) -> None:
    sender, receiver = pair
    payload = bytearray(np.random.default_rng(2).bytes(16))
    header = frames.Header(FrameType.TENSOR, 0, 16, dtype=1, shape=(4,))
    digest = xxhash.xxh3_64_digest(payload)
    payload[3] ^= 1
    assert sender.sock.sendmsg([frames.encode(header) + payload + digest]) == 120
    with pytest.raises(ParetoPipeError, match="E_CHECKSUM"):
        receiver.receive_payload(receiver.receive_header(1), memoryview(bytearray(16)), 1)


def test_frames_out_of_sequence_are_refused(pair: tuple[Channel, Channel]) -> None:
    sender, receiver = pair
    header = frames.Header(FrameType.END, 1, 0)
    assert sender.sock.sendmsg([frames.encode(header)]) == frames.HEADER_SIZE
    with pytest.raises(ParetoPipeError, match="E_SEQ"):
        receiver.receive_header(1)


def test_a_silent_peer_is_a_stall(pair: tuple[Channel, Channel]) -> None:
    with pytest.raises(ParetoPipeError, match="E_STALL"):
        pair[1].receive_header(0.05)


def test_a_peer_that_stops_reading_is_a_stall(pair: tuple[Channel, Channel]) -> None:
    with pytest.raises(ParetoPipeError, match="E_STALL"):
        pair[0].send(FrameType.BLOB, bytes(64 * 1024 * 1024), timeout=0.2)


def test_a_peer_that_stops_reading_late_gets_no_second_deadline() -> None:
    ours, theirs = tcp_pair()  # Unix sockets count timeouts differently
    sender = Channel(ours, "right")

    def read_some_pieces() -> None:
        time.sleep(2.5)
        theirs.recv(4_000_000, socket.MSG_WAITALL)

    thread = threading.Thread(target=read_some_pieces)
    thread.start()
    began = time.monotonic()
    with pytest.raises(ParetoPipeError, match="E_STALL"):
        sender.send(FrameType.BLOB, bytes(64 * 1024 * 1024), timeout=3)
    assert time.monotonic() - began < 5.2  # counted from the last piece it would be 5.5
    thread.join(10)
    theirs.close()
    sender.close()


def test_a_cut_in_the_payload_is_a_truncation(pair: tuple[Channel, Channel]) -> None:
    sender, receiver = pair
    header = frames.Header(FrameType.BLOB, 0, 100)
    assert sender.sock.sendmsg([frames.encode(header) + bytes(40)]) == 136
    sender.close()
    got = receiver.receive_header(1)
    with pytest.raises(ParetoPipeError, match=r"E_TRUNC.*40/108"):
        receiver.receive_payload(got, memoryview(bytearray(100)), 1)


def test_an_error_frame_is_raised_at_the_other_end(pair: tuple[Channel, Channel]) -> None:
    pair[0].send_error(ParetoPipeError("E_WEIGHTS", "block missing — run prepare"))
    with pytest.raises(ParetoPipeError) as caught:
        pair[1].receive_message(1)
    assert (caught.value.code, caught.value.message) == (
        "E_WEIGHTS",
        "block missing — run prepare",
    )


def test_a_frame_is_pushed_as_far_as_the_kernel_takes_it(pair: tuple[Channel, Channel]) -> None:
    sender, receiver = pair
    assert sender.offer(FrameType.BLOB, bytes(100))
    payload = np.random.default_rng(3).bytes(8 * 1024 * 1024)  # more than the socket holds
    assert not sender.offer(FrameType.BLOB, payload)
    thread = threading.Thread(target=sender.complete, args=(10,))
    thread.start()
    received = []
    for size in (100, len(payload)):
        buffer = bytearray(size)
        receiver.receive_payload(receiver.receive_header(5), memoryview(buffer), 10)
        received.append(bytes(buffer))
    thread.join(10)
    assert received == [bytes(100), payload]


def test_a_frame_that_failed_does_not_keep_the_reason_from_being_sent(
    pair: tuple[Channel, Channel],
) -> None:
    sender, _ = pair
    with pytest.raises(ParetoPipeError, match="E_STALL"):
        sender.send(FrameType.BLOB, bytes(64 * 1024 * 1024), timeout=0.1)
    with pytest.raises(ParetoPipeError, match="E_STALL"):
        sender.send_error(ParetoPipeError("E_STAGE", "gone"), timeout=0.1)
