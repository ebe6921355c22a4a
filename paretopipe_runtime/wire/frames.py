"""The frame header: 96 bytes, little-endian, checked before use.

A payload's xxh3-64 follows it, so that each piece is hashed while cached.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Self

from paretopipe_runtime.contract.codecs import BY_NUMBER, CODECS, NONE
from paretopipe_runtime.errors import ParetoPipeError

MAGIC = b"PPWF"
VERSION = 1
MAX_DIMS = 8
MAX_PAYLOAD = 256 * 1024 * 1024
MAX_MESSAGE = 4 * 1024 * 1024
MAX_ERROR = 512
MAX_FRAMES = 1_000_000  # on one connection
SMALL = 64 * 1024  # up to here a payload is sent, or read, with its digest in one call
# A larger payload is sent or read, and hashed, piece by piece: a piece is in the cache for the
# second, and the other end is busy meanwhile.
PIECE = 1024 * 1024
# Offset, size, field:
#     0  4 magic "PPWF"        12  4 seq
#     4  1 version = 1         16  8 batch_id
#     5  1 type                24  8 payload_nbytes
#     6  1 dtype               32  1 codec
#     7  1 ndim                33 15 reserved = 0
#     8  4 flags = 0           48 32 dims, 8 x u32, unused = 0
#                              80 12 reserved = 0
#                              92  4 CRC-32 over bytes 0..91
_LAYOUT = struct.Struct("<4sBBBBIIQQB15s8I12s")
_CRC = struct.Struct("<I")
_NUMBER = struct.Struct("<IQ")  # seq and batch_id: all that differs between frames of one form
_NUMBER_AT = 12
_CODE = re.compile(r"E_[A-Z0-9_]{1,40}")
HEADER_SIZE = _LAYOUT.size + _CRC.size


class FrameType(IntEnum):
    TENSOR = 1
    END = 2
    ERROR = 3
    MESSAGE = 4  # a JSON object
    REQUEST = 5  # start the batch `batch_id` on the input that stage 1 holds
    BLOB = 6  # a piece of a weight file


_TYPES = {int(kind): kind for kind in FrameType}
_LIMITS = {
    FrameType.TENSOR: MAX_PAYLOAD,
    FrameType.END: 0,
    FrameType.ERROR: MAX_ERROR,
    FrameType.MESSAGE: MAX_MESSAGE,
    FrameType.REQUEST: 0,
    FrameType.BLOB: MAX_PAYLOAD,
}
#: torch names of the element types a frame can carry, by their number on the wire.
DTYPES = {
    1: "float32",
    2: "float16",
    3: "uint8",
    4: "int32",
    5: "int64",
    6: "bfloat16",
    7: "int8",
}
ITEMSIZE = {1: 4, 2: 2, 3: 1, 4: 4, 5: 8, 6: 2, 7: 1}
DTYPE_CODES = {name: code for code, name in DTYPES.items()}


class Header(NamedTuple):
    """`dtype` and `codec` are 0 and `shape` empty for anything but a tensor."""

    type: FrameType
    seq: int
    payload_nbytes: int
    batch_id: int = 0
    dtype: int = 0
    shape: tuple[int, ...] = ()
    codec: int = 0


def encode(header: Header) -> bytes:
    dims = header.shape + (0,) * (MAX_DIMS - len(header.shape))
    body = _LAYOUT.pack(
        MAGIC,
        VERSION,
        header.type,
        header.dtype,
        len(header.shape),
        0,
        header.seq,
        header.batch_id,
        header.payload_nbytes,
        header.codec,
        bytes(15),
        *dims,
        bytes(12),
    )
    return body + _CRC.pack(zlib.crc32(body))


def renumber(data: bytearray, seq: int, batch_id: int) -> None:
    """Make an encoded header the next one of the same form."""
    _NUMBER.pack_into(data, _NUMBER_AT, seq, batch_id)
    _CRC.pack_into(data, _LAYOUT.size, zlib.crc32(data[: _LAYOUT.size]))


def decode(data: bytes | bytearray | memoryview) -> Header:
    """Parse and check a header.

    Raises ``E_HEADER`` if malformed, ``E_SIZE`` for a payload that contradicts its shape or
    exceeds its type's limit.
    """
    if len(data) != HEADER_SIZE:
        raise ParetoPipeError("E_HEADER", f"header of {len(data)} bytes, expected {HEADER_SIZE}")
    (
        magic,
        version,
        kind,
        dtype,
        ndim,
        flags,
        seq,
        batch_id,
        nbytes,
        codec,
        reserved,
        *dims,
        unused,
    ) = _LAYOUT.unpack_from(data)
    if magic != MAGIC:
        raise ParetoPipeError(
            "E_HEADER", f"frame starts with {magic.hex()}, expected {MAGIC.hex()}"
        )
    if _CRC.unpack_from(data, _LAYOUT.size)[0] != zlib.crc32(memoryview(data)[: _LAYOUT.size]):
        raise ParetoPipeError("E_HEADER", "header checksum does not match — damaged on the way")
    shape = tuple(dims[:ndim])
    is_tensor = kind == FrameType.TENSOR
    wrong = (
        (version != VERSION and f"version {version}, expected {VERSION}")
        or (kind not in _TYPES and f"unknown type {kind}")
        or (ndim > MAX_DIMS and f"{ndim} dimensions, at most {MAX_DIMS}")
        or (flags and f"unknown flags {flags:#x}")
        or ((any(reserved) or any(unused)) and "reserved bytes are not zero")
        or (any(dims[ndim:]) and "unused dimensions are not zero")
        or (is_tensor and dtype not in DTYPES and f"unknown dtype {dtype}")
        or (not is_tensor and (dtype or ndim or codec) and "dtype, shape or codec on no tensor")
        or (codec not in BY_NUMBER and f"unknown codec {codec}")
        or (
            codec and (DTYPES[dtype], ndim) != ("uint8", 1) and "codec on other than a row of bytes"
        )
        or (seq >= MAX_FRAMES and f"more than {MAX_FRAMES} on one connection")
    )
    if wrong:
        raise ParetoPipeError("E_HEADER", f"frame {seq}: {wrong}")
    known = _TYPES[kind]
    if nbytes > _LIMITS[known]:
        raise ParetoPipeError(
            "E_SIZE",
            f"frame {seq} announces {nbytes} B, {known.name} has at most {_LIMITS[known]} B",
        )
    if is_tensor and nbytes != math.prod(shape) * ITEMSIZE[dtype]:
        raise ParetoPipeError("E_SIZE", f"frame {seq}: {nbytes} B do not fit its shape {shape}")
    return Header(known, seq, nbytes, batch_id, dtype, shape, codec)


@dataclass(frozen=True)
class Tensor:
    """A tensor's shape (batch first), element type (numpy's name) and size.

    Bytes written by a `codec` are a tensor, too, of one dimension.
    """

    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    codec: str = NONE

    @classmethod
    def checked(cls, shape: list[Any], dtype: str, nbytes: int) -> Self:
        """Parse an order's tensor form; ValueError beyond a frame's limits."""
        sizes = all(type(size) is int and 0 <= size < 2**32 for size in shape)
        if not sizes or len(shape) > MAX_DIMS or dtype not in DTYPE_CODES:
            raise ValueError(f"{str(dtype)[:20]} of {len(shape)} dimensions is no tensor's form")
        if nbytes != math.prod(shape) * ITEMSIZE[DTYPE_CODES[dtype]]:
            raise ValueError(f"a tensor of {nbytes} B that its shape does not make")
        return cls(tuple(shape), dtype, nbytes)

    def written(self, codec: str) -> Tensor:
        """Return the form of this tensor's bytes by a codec; its own where it is not float32."""
        if codec == NONE or self.dtype != "float32":
            return self
        nbytes = CODECS[codec].nbytes(self.shape)
        return Tensor((nbytes,), "uint8", nbytes, codec)

    def check(self, header: Header, peer: str) -> None:
        """Raise ``E_ORDER`` or ``E_SHAPE`` for another frame, before its payload is read."""
        if header.type is not FrameType.TENSOR:
            raise ParetoPipeError("E_ORDER", f"{peer}: {header.type.name} came, expected TENSOR")
        codec = BY_NUMBER[header.codec].name
        came = Tensor(header.shape, DTYPES[header.dtype], header.payload_nbytes, codec)
        if came != self:
            raise ParetoPipeError(
                "E_SHAPE",
                f"batch {header.batch_id} from {peer}: got {came}, plan says {self} — the nodes "
                "disagree; run playbooks/provision.yml",
            )

    def __str__(self) -> str:
        by = "" if self.codec == NONE else f" by {self.codec}"
        return f"{self.dtype}{list(self.shape)}{by}"


def check_turn(batch_id: int, expected: int, peer: str) -> None:
    """Raise ``E_ORDER`` for a batch whose turn it is not: it came twice, or one is missing."""
    if batch_id != expected:
        raise ParetoPipeError("E_ORDER", f"{peer}: batch {batch_id} came, expected {expected}")


def error_payload(error: ParetoPipeError) -> bytes:
    """Encode an ERROR frame's payload, its sentence cut to what fits."""
    message = error.message
    while True:
        fields = {"code": error.code, "message": message}
        data = json.dumps(fields, ensure_ascii=False).encode(errors="backslashreplace")
        over = len(data) - MAX_ERROR
        if over <= 0:
            return data
        message = message[: -max(over // 4, 1)]


def read_error(fields: dict[str, Any], peer: str) -> ParetoPipeError:
    """Parse an ERROR frame's payload, made fit for a log."""
    code, message = fields.get("code"), fields.get("message")
    if not (isinstance(code, str) and _CODE.fullmatch(code) and isinstance(message, str)):
        return ParetoPipeError("E_MESSAGE", f"{peer}: an ERROR without code and sentence")
    return ParetoPipeError(code, _escaped(message))


def _escaped(text: str) -> str:
    """Escape whatever a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
