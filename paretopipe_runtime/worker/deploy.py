"""The receiving end of a deployment: weight files, named by their sha256, checked on arrival."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import verify_block
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType

TIMEOUT_S = 60.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


def serve(channel: Channel, state_dir: Path) -> None:
    """Tell the peer which of its files are missing or damaged here, and take those."""
    store = state_dir / "weights"
    store.mkdir(parents=True, exist_ok=True)
    wanted = [str(name) for name in channel.receive_message(TIMEOUT_S)["files"]]
    if not all(_SHA256.fullmatch(name) for name in wanted):
        raise ParetoPipeError("E_DEPLOY", f"{channel.peer}: file names must be sha256 digests")
    missing = [name for name in wanted if not verify_block(store, name)]
    channel.send_message({"missing": missing}, timeout=TIMEOUT_S)
    try:
        for name in missing:
            _receive_file(channel, store, name)
    except OSError as error:
        failure = ParetoPipeError(
            "E_DISK", f"cannot write weights to {store}: {error.strerror} — free some space there"
        )
        channel.send_error(failure)
        raise failure from error
    channel.send_message({"done": True}, timeout=TIMEOUT_S)


def _receive_file(channel: Channel, store: Path, name: str) -> None:
    size = int(channel.receive_message(TIMEOUT_S)["nbytes"])
    partial = store / f".{name}.partial"
    digest = hashlib.sha256()
    with partial.open("wb") as file:
        while file.tell() < size:
            header = channel.receive_header(TIMEOUT_S)
            if header.type is not FrameType.BLOB or header.payload_nbytes > size - file.tell():
                raise ParetoPipeError("E_DEPLOY", f"{channel.peer}: {header.type.name} unexpected")
            piece = memoryview(bytearray(header.payload_nbytes))
            channel.receive_payload(header, piece, TIMEOUT_S)
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != name:
        partial.unlink()
        raise ParetoPipeError("E_WEIGHTS", f"weights {name[:12]} arrived damaged — try again")
    partial.rename(_path(store, name))


def _path(store: Path, name: str) -> Path:
    return store / f"{name}.safetensors"
