"""Launches that cannot succeed end at once, and keep nobody out."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import pipeline
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.orders import orders_of, parts_of
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.worker import agent
from paretopipe_runtime.worker.agent import Agent
from paretopipe_runtime.worker.node import Node
from tests.runtime.cluster import Cluster
from tests.wire.pairs import tcp_pair


def test_a_stage_that_cannot_be_started_does_not_keep_the_next_run_out(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(agent, "_start_fork_server", lambda _node: ours)
    lone = Agent(Node("pi1", "127.0.0.1", cluster.keys, tmp_path), 0)
    theirs.close()  # too many descriptors on their way would refuse it as well
    for run_id in ("one", "another"):
        control, peer = tcp_pair()
        with contextlib.closing(Channel(peer, "pi1")) as orchestrator:
            with pytest.raises(ParetoPipeError, match="E_STAGE: pi1 cannot start a stage"):
                lone._launch(control, (run_id, 0), None)
            with pytest.raises(ParetoPipeError, match="E_STAGE: pi1 cannot start a stage"):
                orchestrator.receive_message(5)
    ours.close()
    lone._listener.close()


def test_an_answer_without_ready_ends_the_launch_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = cluster.plan()
    prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    plan = read_plan(document)
    theirs = []

    def dumb(*_args: Any, **_options: Any) -> tuple[Channel, dict[str, Any]]:
        ours, peer = tcp_pair()
        theirs.append(Channel(peer, "peer"))
        if len(theirs) == 1:
            theirs[0].send_message({"status": "fine"}, timeout=5)
        return Channel(ours, "pi1"), {}

    monkeypatch.setattr(pipeline, "open_channel", dumb)
    prepared = prepare(plan.workload, cluster.state_dir)
    parts, deadlines = parts_of(prepared, (3,)), pipeline.Deadlines(5, 5)
    orders = orders_of(plan.chain, parts, "run", deadlines, plan.workload, prepared.manifest)
    began = time.monotonic()
    with pytest.raises(ParetoPipeError, match=r"E_ORDER.*nothing of being ready"):
        pipeline.launch(orders, plan.chain, cluster.keys, {})
    assert time.monotonic() - began < pipeline.COMPUTE_ALLOWANCE_S / 2
    for channel in theirs:
        channel.close()
