"""Copy weights or programs to the workers that lack them, before any network is shaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import block_path, verify_block
from paretopipe_runtime.wire.connect import open_channel
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.wire.keys import Keys

PIECE = 8 * 1024 * 1024
TIMEOUT_S = 60.0


def deploy(worker: Worker, manifest: dict[str, Any], store: Path, keys: Keys) -> int:
    """Send `worker` the manifest's files it lacks; return the bytes sent.

    Raises
    ------
    ParetoPipeError
        For a lost connection, a refusing worker, or a missing or damaged file.
    """
    sizes = _sizes(manifest, store)
    channel, _ = open_channel(
        *(worker.host, (worker.address, worker.port), keys, {"role": "deploy"}),
        transport=worker.transport,
        timeout=TIMEOUT_S,
    )
    try:
        channel.send_message({"files": list(sizes)}, timeout=TIMEOUT_S)
        missing = channel.receive_message(TIMEOUT_S)["missing"]
        for name in missing:
            _check(store, name)
            channel.send_message({"nbytes": sizes[name]}, timeout=TIMEOUT_S)
            with block_path(store, name).open("rb") as file:
                while piece := file.read(PIECE):
                    channel.send(FrameType.BLOB, piece, timeout=TIMEOUT_S)
        channel.receive_message(TIMEOUT_S)
    finally:
        channel.close()
    return sum(sizes[name] for name in missing)


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
