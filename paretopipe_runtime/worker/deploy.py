"""Receive files of weights and programs, named by their sha256 and checked on arrival.

Every piece is synced and acknowledged before the next one is sent. A card that writes 10 MB/s would
else be silent for a minute in a single sync of a large block, and the kernel gives up a connection
that takes nothing for so long.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from io import BufferedWriter
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.models import is_traced
from paretopipe_runtime.contract.weights import PROGRAM
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import block_path, verify_block
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType

#: For a piece on the slowest of disks, or the sha256 of all that is there already.
PATIENCE_S = 300.0
MAX_FILES = 10_000
MAX_PIECE = 16 * 1024 * 1024  # what is allocated, and synced, at once
_NAME = re.compile(rf"[0-9a-f]{{64}}({re.escape(PROGRAM)})?")


def serve(channel: Channel, state_dir: Path, find: Callable[[str, int], None]) -> None:
    """Name files missing or damaged here, and receive them.

    `find` gets a model, and its classes, whose blocks are to be found for the launches to come.
    """
    store = state_dir / "weights"
    store.mkdir(parents=True, exist_ok=True)
    message = channel.receive_message(PATIENCE_S)
    wanted = message.get("files")
    if not (isinstance(wanted, list) and len(wanted) <= MAX_FILES and all(map(_is_name, wanted))):
        raise ParetoPipeError("E_DEPLOY", f"{channel.peer}: file names must be sha256 digests")
    missing = [name for name in wanted if not verify_block(store, name)]
    channel.send_message({"missing": missing}, timeout=PATIENCE_S)
    try:
        for name in missing:
            _receive_file(channel, store, name)
    except OSError as error:
        failure = ParetoPipeError(
            "E_DISK", f"cannot write weights to {store}: {error.strerror} — free some space there"
        )
        channel.send_error(failure)
        raise failure from error
    match message.get("found"):
        case [str() as model, int() as classes] if is_traced(model):
            try:
                find(model, classes)
            except ParetoPipeError as error:
                channel.send_error(error)
                raise
            channel.send_message({"found": model}, timeout=PATIENCE_S)


def _receive_file(channel: Channel, store: Path, name: str) -> None:
    size = channel.receive_message(PATIENCE_S).get("nbytes")
    if type(size) is not int or size < 1:
        raise ParetoPipeError("E_DEPLOY", f"{channel.peer}: a file without a size")
    # A file of its own: what two deployments of the same weights write must not get mixed.
    descriptor, path = tempfile.mkstemp(dir=store, prefix=".", suffix=".partial")
    partial = Path(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            digest = _receive_pieces(channel, file, size)
        if digest != name.removesuffix(PROGRAM):
            raise ParetoPipeError("E_WEIGHTS", f"weights {name[:12]} arrived damaged — try again")
        partial.rename(block_path(store, name))
    finally:
        partial.unlink(missing_ok=True)
    channel.send_message({"stored": size}, timeout=PATIENCE_S)


def _receive_pieces(channel: Channel, file: BufferedWriter, size: int) -> str:
    """Write and sync a file; acknowledge all pieces but the last; return its sha256."""
    digest = hashlib.sha256()
    while file.tell() < size:
        header = channel.receive_header(PATIENCE_S)
        nbytes = header.payload_nbytes
        if header.type is not FrameType.BLOB or not 0 < nbytes <= min(
            size - file.tell(), MAX_PIECE
        ):
            raise ParetoPipeError(
                "E_DEPLOY", f"{channel.peer}: {header.type.name} of {nbytes} B unexpected"
            )
        piece = memoryview(bytearray(nbytes))
        channel.receive_payload(header, piece, PATIENCE_S)
        digest.update(piece)
        file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        if file.tell() < size:
            channel.send_message({"stored": file.tell()}, timeout=PATIENCE_S)
    return digest.hexdigest()


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(_NAME.fullmatch(name))
