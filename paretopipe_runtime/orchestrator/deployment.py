"""Copy weights or programs to the workers that lack them, before any network is shaped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.contract.models import is_traced
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import block_path, verify_block
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import open_channel
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker.deploy import MAX_PIECE, PATIENCE_S

CONNECT_S, SAY_S = 60.0, 10.0
Told = Callable[[int, int], None]


def deploy(
    worker: Worker,
    manifest: dict[str, Any],
    store: Path,
    keys: Keys,
    told: Told = lambda _stored, _total: None,
) -> int:
    """Send `worker` the manifest's files it lacks; return the bytes sent.

    `told` gets the bytes that are on its disk, and those that are to be, after every piece.

    Raises
    ------
    ParetoPipeError
        ``E_SLOW_DISK`` for one that takes no piece in `PATIENCE_S`; ``E_MODEL`` for one that cannot
        find a model's blocks; otherwise for a lost connection, a refusing worker, or a missing or
        damaged file.
    """
    sizes = _sizes(manifest, store)
    channel, _ = open_channel(
        *(worker.host, (worker.address, worker.port), keys, {"role": "deploy"}),
        transport=worker.transport,
        timeout=CONNECT_S,
    )
    try:
        wanted: dict[str, Any] = {"files": list(sizes)}
        if is_traced(manifest["model"]):
            wanted["found"] = [manifest["model"], manifest["classes"]]
        channel.send_message(wanted, timeout=PATIENCE_S)
        missing = channel.receive_message(PATIENCE_S)["missing"]
        done, total = 0, sum(sizes[name] for name in missing)
        for name in missing:
            _check(store, name)
            channel.send_message({"nbytes": sizes[name]}, timeout=PATIENCE_S)
            for stored in _send(channel, block_path(store, name), sizes[name]):
                told(done + stored, total)
            done += sizes[name]
        if "found" in wanted:
            channel.receive_message(PATIENCE_S)
    finally:
        channel.close()
    return total


def telling(host: str, say: Callable[[str], None]) -> Told:
    """Say now and then how much a host has stored."""
    said_at = time.monotonic()

    def told(stored: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_S:
            said_at = time.monotonic()
            say(f"{host}: {stored / 1e6:.0f} of {total / 1e6:.0f} MB of weights stored")

    return told


def _send(channel: Channel, path: Path, size: int) -> Iterator[int]:
    """Send a file piece by piece; yield how much of it the worker has synced."""
    stored = 0
    with path.open("rb") as file:
        while piece := file.read(MAX_PIECE):
            channel.send(FrameType.BLOB, piece, timeout=PATIENCE_S)
            try:
                channel.receive_message(PATIENCE_S)
            except ParetoPipeError as error:
                if error.code != "E_STALL":
                    raise
                raise ParetoPipeError(
                    "E_SLOW_DISK",
                    f"{channel.peer} had not stored {len(piece) / 1e6:.0f} MB of weights in "
                    f"{PATIENCE_S:.0f} s, after {stored / 1e6:.0f} of {size / 1e6:.0f} MB of this "
                    "file — is its card worn out? see `dmesg` there, and give the same command "
                    "again, which keeps whole files",
                ) from error
            stored += len(piece)
            yield stored


def _sizes(manifest: dict[str, Any], store: Path) -> dict[str, int]:
    names = WeightsManifest.from_json(manifest).files
    try:
        return {name: block_path(store, name).stat().st_size for name in names}
    except OSError as error:
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"a file of {manifest['model']}'s weights is gone from {store}: {error} — give the "
            "same command again, which makes seeded ones anew; trained ones are made by "
            "playbooks/finetune.yml",
        ) from error


def _check(store: Path, name: str) -> None:
    """Verify a file against its sha256 name; delete it on mismatch, to be made again."""
    if not verify_block(store, name):
        path = block_path(store, name)
        path.unlink(missing_ok=True)
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"{path} was damaged on this host's disk and is removed — give the same command again, "
            "which makes seeded ones anew; trained ones are made by playbooks/finetune.yml",
        )
