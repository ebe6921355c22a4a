"""Limits on strangers and on log lines about them; links only between stages that agree."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Tensor
from paretopipe_runtime.worker import deploy
from paretopipe_runtime.worker.backends.backend import links_from_previous
from paretopipe_runtime.worker.order import StageOrder
from paretopipe_runtime.worker.pending import Pending
from paretopipe_runtime.worker.refusals import BURST, RefusalLog
from tests.runtime.test_pipeline import wait_until
from tests.wire import strangers
from tests.wire.conftest import Live
from tests.wire.pairs import tcp_pair


class Door:
    def __init__(self, most: int) -> None:
        self.pending = Pending(most)
        self.dropped: list[str] = []
        self._peers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def knock(self, name: str, host: str) -> None:
        peer, sock = tcp_pair()
        self._peers.append(peer)
        self.pending.enter(sock, host)
        self._threads.append(threading.Thread(target=self._wait, args=(sock, name)))
        self._threads[-1].start()

    def _wait(self, sock: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            sock.recv(1)
        self.dropped.append(name)
        self.pending.leave(sock)
        sock.close()

    def close(self) -> None:
        for peer in self._peers:
            peer.close()
        for thread in self._threads:
            thread.join(10)


def test_a_crowd_makes_way_and_not_the_single_peer() -> None:
    door = Door(3)
    try:
        door.knock("peer", "pi2")
        for number in range(10):
            door.knock(f"stranger {number}", "elsewhere")
        assert door.dropped == [f"stranger {number}" for number in range(8)]
        door.knock("another", "pi1")
        assert door.dropped[-1] == "stranger 8"
    finally:
        door.close()


def test_a_flood_of_refusals_is_a_few_lines_and_a_count() -> None:
    lines: list[str] = []
    now = [0.0]
    log = RefusalLog(lines.append, lambda: now[0])
    for number in range(1000):
        log.write(f"E_MAGIC: {number}")
    assert lines == [f"E_MAGIC: {number}" for number in range(BURST)]
    now[0] = 1.5
    log.write("E_AUTH: once more")
    assert lines[-1] == f"E_AUTH: once more (and {1000 - BURST} such lines before it were left out)"
    now[0] = 3600
    log.write("E_AUTH: later")
    assert lines[-1] == "E_AUTH: later"


def order(**changes: Any) -> StageOrder:
    form = Tensor((2, 10), "float32", 80)
    fields: dict[str, Any] = {
        **{"run_id": "x", "stage": 1, "stages": 2, "backend": "socket", "engine": "eager"},
        **{"allocator": "default", "model": "mobilenetv2", "classes": 10, "manifest": {}},
        **{"first": 3, "end": 5, "takes": form, "gives": form, "onward": ()},
        **{"input_batches": 1, "input_seed": 0, "image_px": 0, "io_timeout_s": 2.0},
        **{"idle_timeout_s": 2.0},
    }
    return StageOrder(**{**fields, **changes})


@pytest.mark.parametrize(
    "other",
    [
        {"end": 4},
        {"model": "vgg16"},
        {"manifest": {"blocks": []}},
        {"gives": Tensor((2, 9), "float32", 72)},
    ],
    ids=str,
)
def test_stages_that_follow_different_plans_do_not_link(other: dict[str, Any]) -> None:
    before = order(stage=0, first=0, end=3)
    mine = order()
    assert before.link_digest(after=True) == mine.link_digest(after=False)
    for agrees, plan in ((True, before), (False, dataclasses.replace(before, **other))):
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near, far = tcp_pair()
        with one, two, near, far:
            socket.send_fds(one, [plan.link_digest(after=True).encode()], [far.fileno()])
            if agrees:
                links_from_previous(two, mine)[0].close()
            else:
                with pytest.raises(ParetoPipeError, match="E_PLAN"):
                    links_from_previous(two, mine)


@pytest.mark.parametrize(("transport", "named"), [("tls", ""), ("plain", "0" * 64)])
def test_a_link_is_encrypted_where_the_plan_says_so_and_nowhere_else(
    transport: str, named: str
) -> None:
    mine = order(transport=transport)
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near, far = tcp_pair()
    with one, two, near, far:
        said = mine.link_digest(after=False) + named
        socket.send_fds(one, [said.encode()], [far.fileno()])
        with pytest.raises(ParetoPipeError, match="E_PLAN"):
            links_from_previous(two, mine)


@pytest.mark.parametrize(
    "wrong",
    [
        {"io_timeout_s": "5"},
        {"stage": True},
        {"stage": 1.5},
        {"model": None},
        {"manifest": []},
        {"engine": "unheard of"},
        {"takes": {"shape": [2, 10], "dtype": "float32", "nbytes": 81}},
        {"takes": {"shape": [-1], "dtype": "float32", "nbytes": -4}},
        {"gives": {"shape": [1] * 9, "dtype": "float32", "nbytes": 4}},
        {"gives": {"shape": [1], "dtype": "object", "nbytes": 4}},
        {"onward": [["a", "b"]]},
        {"idle_timeout_s": -1.0},
        {"unknown": 1},
    ],
    ids=str,
)
def test_an_order_is_taken_only_as_a_whole(wrong: dict[str, Any]) -> None:
    message = json.loads(json.dumps(order().to_message()))
    assert StageOrder.from_message(message) == order()
    with pytest.raises(ParetoPipeError, match="E_LAUNCH"):
        StageOrder.from_message({**message, **wrong})


def test_a_stage_that_ends_before_it_takes_its_link(live: Live) -> None:
    run_id = secrets.token_hex(8)
    before = strangers.Held.settled(live)
    stage = {"run_id": run_id, "stage": 1}
    key = live.cluster.key
    control, _ = handshake.connect(live.address, key, {"role": "run", **stage}, timeout=5)
    wait_until(lambda: live.cluster.stage_processes("pi1"))
    hello = {"role": "link", "plan": "\ud800", **stage}  # JSON can encode a lone surrogate
    link, _ = handshake.connect(live.address, key, hello, timeout=5)
    time.sleep(0.2)  # the agent has passed it on
    control.close()
    assert link.recv(1) == b""
    link.close()
    after = strangers.Held.settled(live, before)
    assert (after.descriptors, after.threads) == (before.descriptors, before.threads)
    assert strangers.unexplained(live.cluster.log("pi1")) == []
    live.run()


@pytest.mark.parametrize(
    "hello",
    [
        {"role": "run"},
        {"role": "run", "run_id": "x", "stage": "0"},
        {"role": "run", "run_id": ["x"], "stage": 0},
        {"role": "link", "run_id": "x\x1b[2J", "stage": 0},
        {"role": {"a": 1}},
        {},
    ],
    ids=str,
)
def test_a_peer_with_the_key_and_an_odd_hello_is_closed_on(
    live: Live, hello: dict[str, Any]
) -> None:
    sock, _ = handshake.connect(live.address, live.cluster.key, hello, timeout=5)
    with sock:
        sock.settimeout(5)
        assert sock.recv(1) == b""
    assert strangers.unexplained(live.cluster.log("pi1")) == []


@pytest.mark.parametrize("content", [b"right", b"wrong"])
@pytest.mark.parametrize("suffix", ["", ".pte"])
def test_files_are_kept_only_under_the_name_of_what_they_are(
    content: bytes, suffix: str, tmp_path: Path
) -> None:
    name = hashlib.sha256(b"right").hexdigest() + suffix
    near, far = tcp_pair()
    with near, far:
        agent, peer = Channel(near, "orchestrator"), Channel(far, "pi1")
        peer.send_message({"files": [name]}, timeout=2)
        peer.send_message({"nbytes": len(content)}, timeout=2)
        peer.send(FrameType.BLOB, content, timeout=2)
        if content == b"right":
            deploy.serve(agent, tmp_path, lambda *_: None)
            path = tmp_path / "weights" / (name if suffix else f"{name}.safetensors")
            assert path.read_bytes() == content
        else:
            with pytest.raises(ParetoPipeError, match=r"E_WEIGHTS: .* arrived damaged"):
                deploy.serve(agent, tmp_path, lambda *_: None)
            assert not list((tmp_path / "weights").iterdir())
