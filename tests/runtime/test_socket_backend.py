"""The socket backend's ends over real TCP, every kind of tensor; the RPC backend's parts."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import psutil
import pytest
import torch

from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.wire.tls import Identity
from paretopipe_runtime.worker.backends import rpc
from paretopipe_runtime.worker.backends.backend import Batch, Context, TensorSink
from paretopipe_runtime.worker.backends.rpc_calls import Call, Inbox
from paretopipe_runtime.worker.backends.rpc_group import explain, interface_of
from paretopipe_runtime.worker.backends.socket import TensorSource, kernel_holds
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.node import Node
from tests.wire.pairs import encrypted, tcp_pair

SMALL, LARGE = (2, 3, 5, 4), (8, 16, 128, 128)  # 480 B and 8 MiB
FORM = Tensor((2, 3), "float32", 24)


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest, identity: Identity) -> Iterator[tuple[Channel, Channel]]:
    left, right = tcp_pair() if request.param == "plain" else encrypted(identity)
    channels = Channel(left, "left"), Channel(right, "right")
    yield channels
    for channel in channels:
        channel.shut()
        channel.close()


def fail(error: ParetoPipeError) -> NoReturn:
    """Keep the thread for good, as a stage would end its process: the test closes its channel.

    An exception, SystemExit too, would be the next test's warning.
    """
    threading.Event().wait()
    raise error


def form_of(tensor: torch.Tensor) -> Tensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Tensor(tuple(tensor.shape), dtype, tensor.numel() * tensor.element_size())


def ends(
    pair: tuple[Channel, Channel], form: Tensor, layout: Layout = "contiguous"
) -> tuple[TensorSink, TensorSource]:
    sink = TensorSink(pair[0], form, layout=layout, io_timeout_s=10, fail=fail)
    source = TensorSource(
        *(pair[1], form, itertools.count()),
        layout=layout,
        io_timeout_s=10,
        idle_timeout_s=10,
        fail=fail,
    )
    return sink, source


def as_batch(number: int, tensor: torch.Tensor, released: list[int] | None = None) -> Batch:
    def release() -> None:
        if released is not None:
            released.append(number)

    return Batch(number, tensor, 0.0, release)


def example(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 100
    return values.to(dtype)


@pytest.mark.parametrize("shape", [SMALL, LARGE, (0, 7), (1,), (3, 0, 5, 5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8])
def test_every_tensor_arrives_bit_for_bit(
    pair: tuple[Channel, Channel], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    sent = [example(shape, dtype, seed) for seed in range(4)]
    sink, source = ends(pair, form_of(sent[0]))

    def send() -> None:
        for number, tensor in enumerate(sent):
            sink.send(as_batch(number, torch.empty(0)), tensor)
        sink.finish()

    thread = threading.Thread(target=send)
    thread.start()
    for number, batch in enumerate(source):
        assert batch.batch_id == number
        assert torch.equal(batch.tensor.view(torch.uint8), sent[number].view(torch.uint8))
        assert batch.tensor.dtype == dtype
        batch.release()
    thread.join(10)
    assert source.payload_received == sink.payload_sent == 4 * form_of(sent[0]).nbytes


def test_small_batches_need_no_thread_and_large_ones_have_one(
    pair: tuple[Channel, Channel],
) -> None:
    small, large = form_of(example(SMALL, torch.float32)), form_of(example(LARGE, torch.float32))
    before = threading.active_count()
    sink, source = ends(pair, small)
    assert not source.overlaps_by_thread
    sink.send(as_batch(0, torch.empty(0)), example(SMALL, torch.float32))
    assert next(iter(source)).batch_id == 0
    assert threading.active_count() == before
    assert ends(pair, large)[1].overlaps_by_thread


def test_the_kernel_makes_room_for_what_it_is_asked_to_hold() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    with sender, receiver:
        payload = bytes(1_500_000)
        assert kernel_holds(receiver, len(payload))
        assert not kernel_holds(receiver, 1_000_000_000)
        sender.settimeout(10)
        sender.sendall(payload)  # nobody reads, yet most of it leaves the sender
        received = memoryview(bytearray(len(payload)))
        time.sleep(0.2)
        assert receiver.recv_into(received, len(payload)) > 400_000


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.transpose(1, 2),
        lambda t: t[:, ::2],
        lambda t: t.contiguous(memory_format=torch.channels_last),
        lambda t: t.expand(4, *t.shape)[1],
        lambda t: t.clone().requires_grad_(),
    ],
    ids=["transposed", "strided", "channels_last", "expanded", "requires grad"],
)
def test_a_view_is_sent_as_what_it_shows(pair: tuple[Channel, Channel], view: object) -> None:
    assert callable(view)
    shown = view(example((2, 4, 6, 6), torch.float32))
    sink, source = ends(pair, form_of(shown))
    sink.send(as_batch(0, torch.empty(0)), shown)
    assert torch.equal(next(iter(source)).tensor, shown)


@pytest.mark.parametrize("shape", [(2, 4, 6, 6), (2, 10)])
def test_channels_last_travels_as_it_lies(
    pair: tuple[Channel, Channel], shape: tuple[int, ...]
) -> None:
    tensor = example(shape, torch.float32)
    if tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    assert memory.as_bytes(tensor, "channels_last").obj.ctypes.data == tensor.data_ptr()
    sink, source = ends(pair, form_of(tensor), "channels_last")
    sink.send(as_batch(0, torch.empty(0)), tensor)
    got = next(iter(source)).tensor
    assert torch.equal(got, tensor)
    assert got.stride() == tensor.stride()


def test_bytes_of_a_contiguous_tensor_are_its_own_memory() -> None:
    tensor = example(SMALL, torch.float32)
    assert memory.as_bytes(tensor, "contiguous").obj.ctypes.data == tensor.data_ptr()
    buffer_tensor, buffer = memory.empty(form_of(tensor), "contiguous")
    buffer[:] = memory.as_bytes(tensor, "contiguous")
    assert torch.equal(buffer_tensor, tensor)


def test_a_buffer_is_free_at_once_unless_the_output_lies_in_it(
    pair: tuple[Channel, Channel],
) -> None:
    released: list[int] = []
    large = torch.zeros(96, 1024, 1024, dtype=torch.int8)  # more than any socket holds
    sink, source = ends(pair, form_of(large))
    sink.send(as_batch(0, torch.empty(0), released), large)
    assert released == [0]
    received = iter(source)
    next(received).release()
    view = large.view_as(large)
    sink.send(as_batch(1, large, released), view)  # as a dropout layer's output does
    assert released == [0]  # it is still being read from
    next(received).release()
    sink.finish()
    assert released == [0, 1]


def test_a_stage_that_does_not_read_holds_the_sender_back(pair: tuple[Channel, Channel]) -> None:
    large = example(LARGE, torch.float32)
    sink, source = ends(pair, form_of(large))
    sent: list[int] = []

    def send() -> None:
        for number in range(40):
            sink.send(as_batch(number, torch.empty(0)), large)
            sent.append(number)
        sink.finish()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    arriving = iter(source)
    first = next(arriving)
    before = -1
    while len(sent) > before:  # until nothing has moved for a second
        before = len(sent)
        time.sleep(1)
    assert len(sent) < 40  # two buffers here, two outputs there, the rest in the kernel
    first.release()
    for batch in arriving:
        batch.release()
    thread.join(10)
    assert len(sent) == 40


def test_an_output_that_the_plan_does_not_know_is_refused(pair: tuple[Channel, Channel]) -> None:
    sink, _ = ends(pair, form_of(example(SMALL, torch.float32)))
    for wrong in (example(SMALL, torch.float16), example((2, 3), torch.float32)):
        with pytest.raises(ParetoPipeError, match=r"E_SHAPE: batch 7.*the plan says"):
            sink.send(as_batch(7, torch.empty(0)), wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a CUDA torch")
def test_a_tensor_on_the_gpu_is_sent_from_there(pair: tuple[Channel, Channel]) -> None:
    tensor = example(SMALL, torch.float32).cuda()
    sink, source = ends(pair, form_of(tensor))
    sink.send(as_batch(0, torch.empty(0)), tensor)
    assert torch.equal(next(iter(source)).tensor, tensor.cpu())


def stop(error: ParetoPipeError) -> NoReturn:
    raise error


def call(batch_id: int, *shape: int) -> Call:
    return Call(batch_id, torch.zeros(*shape), torch.futures.Future())


def context(*, allowed: bool) -> Context:
    node = Node("pi1", "127.0.77.11", Keys(bytes(32)), Path(), allow_insecure_rpc=allowed)
    nothing = cast(Any, None)
    return Context(node, nothing, nothing, nothing, "contiguous", stop)


def test_it_is_off_unless_the_node_allows_it() -> None:
    with pytest.raises(ParetoPipeError, match=r"E_RPC_OFF.*reaches 127\.0\.77\.11.*provision"):
        rpc.connect(context(allowed=False))


def test_a_torch_without_rpc_is_told_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed.rpc, "is_available", lambda: False)
    with pytest.raises(ParetoPipeError, match=r"E_RPC_UNAVAILABLE.*use backend=socket"):
        rpc.connect(context(allowed=True))


def test_calls_are_taken_up_in_the_order_of_their_batches() -> None:
    inbox = Inbox(FORM, stop)
    for batch_id in (2, 0, 1):
        inbox.put(call(batch_id, 2, 3))
    inbox.close()  # what has come is still there to take
    taken = iter(inbox.take, None)
    assert [each.batch_id for each in taken] == [0, 1, 2]
    assert inbox.payload_received == 3 * FORM.nbytes


def test_a_tensor_that_is_not_the_plan_s_ends_the_stage() -> None:
    inbox = Inbox(FORM, stop)
    with pytest.raises(ParetoPipeError, match=r"E_SHAPE: batch 7"):
        inbox.put(call(7, 3, 2))
    assert inbox.payload_received == 0


def test_loopback_is_one_interface_and_a_foreign_address_is_none() -> None:
    assert interface_of("127.0.77.11") == interface_of("127.0.0.1")
    with pytest.raises(ParetoPipeError, match=r"E_RPC_BIND.*198\.51\.100\.7"):
        interface_of("198.51.100.7")


def test_a_second_address_of_an_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (lo,) = (each for each in psutil.net_if_addrs()["lo"] if each.address == "127.0.0.1")
    entries = [lo._replace(address=address) for address in ("192.0.2.9", "192.0.2.11")]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": entries})
    assert interface_of("192.0.2.9") == "eth0"
    with pytest.raises(ParetoPipeError, match="E_RPC_BIND"):
        interface_of("192.0.2.11")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("RPC ran for more than set timeout (4000 ms) and will now be marked …", "E_STALL"),
        ("wait timeout after 30000ms, keys: /rpc_prefix_0/0", "E_STALL"),
        ("EOF: end of file (this error originated at …/connection_impl.cc:132)", "E_PEER_LOST"),
        ("Failed to recv, got 0 bytes. Connection was likely closed.\nframe #0", "E_PEER_LOST"),
        ("On WorkerInfo(id=1, name=stage1):\nIndexError()\nTraceback …", "E_RPC"),
    ],
)
def test_pytorch_s_errors_become_ours(words: str, code: str) -> None:
    error = explain(RuntimeError(words), "calling stage1")
    assert error.code == code
    assert "\n" not in str(error)
    assert "calling stage1" in error.message
