"""Weights for a host whose disk takes them slowly: that is borne, and told."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
import time
from pathlib import Path

import pytest

from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.contract.factors import Variant
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import deployment
from paretopipe_runtime.weights import block_path
from paretopipe_runtime.wire import handshake, tcp
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker import deploy

MIB = 1024 * 1024
LOST_S, SYNC_S = 0.4, 0.6  # a piece takes longer to sync than the kernel bears a full peer
SIZES = (16 * MIB, 17 * MIB)  # more than the kernel's buffers take


def files(folder: Path) -> dict[str, int]:
    """Make files of `SIZES` as a manifest would name them."""
    folder.mkdir()
    made = {}
    for size in SIZES:
        content = secrets.token_bytes(size)
        sha256 = hashlib.sha256(content).hexdigest()
        block_path(folder, sha256).write_bytes(content)
        made[sha256] = size
    return made


@pytest.mark.parametrize("patience_s", [30, 0.2])
def test_a_slow_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    real = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(SYNC_S)
        real(descriptor)

    key = secrets.token_bytes(32)
    sizes = files(tmp_path / "here")
    monkeypatch.setattr(deployment, "_sizes", lambda *_: sizes)
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(tcp, "LOST_S", LOST_S)
    monkeypatch.setattr(os, "fsync", slow)
    monkeypatch.setattr(deployment, "PATIENCE_S", patience_s)

    def agent() -> None:
        sock, _ = listener.accept()
        with sock:
            handshake.accept(sock, key, {"node": "pi1"})
            try:
                deploy.serve(Channel(sock, "orchestrator"), tmp_path, lambda *_: None)
            except ParetoPipeError:
                assert patience_s < SYNC_S

    thread = threading.Thread(target=agent)
    thread.start()
    worker = Worker("pi1", *listener.getsockname(), Variant({}))
    told: list[str] = []
    monkeypatch.setattr(deployment, "SAY_S", SYNC_S)
    given = worker, {"model": "resnet18"}, tmp_path / "here", Keys(key)
    with listener:
        if patience_s > SYNC_S:
            total = sum(SIZES)
            telling = deployment.telling("pi1", told.append)
            assert deployment.deploy(*given, telling) == total
            assert told[0] == "pi1: 17 of 35 MB of weights stored"
        else:
            with pytest.raises(
                ParetoPipeError, match=r"E_SLOW_DISK: pi1 had not stored 17 MB"
            ) as e:
                deployment.deploy(*given)
            assert "in 0 s, after 0 of 17 MB of this file — is its card worn out?" in str(e.value)
        thread.join(30)
    stored = {path.name for path in (tmp_path / "weights").iterdir()}
    assert len(stored) == (2 if patience_s > SYNC_S else 1), "a whole file is kept"
