"""The RPC backend's parts on their own: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, cast

import psutil
import pytest
import torch

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.connect import Keys
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.backends import rpc
from paretopipe_runtime.worker.backends.backend import Context
from paretopipe_runtime.worker.backends.rpc_calls import Call, Inbox
from paretopipe_runtime.worker.backends.rpc_group import explain, interface_of
from paretopipe_runtime.worker.node import Node

FORM = Tensor((2, 3), "float32", 24)


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
