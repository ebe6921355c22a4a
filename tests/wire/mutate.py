"""Seeded damage to headers, preambles, HELLOs and conversations."""

from __future__ import annotations

import json
import random
import struct
import zlib

from paretopipe_runtime.version import version
from paretopipe_runtime.wire import frames, handshake
from paretopipe_runtime.wire.frames import FrameType, Header

#: Where a header's fields begin, with their sizes.
FIELDS = [
    (0, 4),
    *((at, 1) for at in range(4, 8)),
    (8, 4),
    (12, 4),
    (16, 8),
    (24, 8),
    (32, 1),
    (33, 15),
]
FIELDS += [(at, 4) for at in range(48, 80, 4)] + [(80, 12), (92, 4)]
_VALUES = (0, 1, 2, 7, 8, 9, 0x7F, 0x80, 0xFF, 0xFFFF, 2**28, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_TOKENS = (
    *(b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\x00"),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"[" * 60, b'{"a":' * 40, b"null", b"true"),
    *(b'"version":1,', b'"nonce":"",', b'"stage":0.5,', b'"role":"run",', b" " * 50),
)


def good_headers() -> list[bytes]:
    tensors = [
        ("float32", (8, 24, 56, 56)),
        ("bfloat16", ()),
        ("int8", (0, 3)),
        ("int64", (1,) * 8),
    ]
    headers = [
        Header(FrameType.TENSOR, 7, _nbytes(dtype, shape), 3, frames.DTYPE_CODES[dtype], shape)
        for dtype, shape in tensors
    ]
    headers += [
        Header(FrameType.TENSOR, 7, 900, 3, frames.DTYPE_CODES["uint8"], (900,), codec=2),
        Header(FrameType.END, 9, 0),
        Header(FrameType.ERROR, 1, 80),
        Header(FrameType.MESSAGE, 0, 3000),
        Header(FrameType.REQUEST, 5, 0, 4),
        Header(FrameType.BLOB, 2, 8 * 1024 * 1024),
    ]
    return list(map(frames.encode, headers))


def good_hello() -> bytes:
    fields = {"role": "link", "node": "pi1", "run_id": "3f2a-r1", "stage": 1, "plan": "ab" * 32}
    fields |= {"version": version(), "nonce": "5e" * 32}
    return json.dumps(fields).encode()


def good_preamble() -> bytes:
    return preamble(len(good_hello()))


def preamble(size: int, major: int = handshake.MAJOR) -> bytes:
    return struct.pack("<8sHHI", handshake.MAGIC, major, handshake.MINOR, size)


def repaired(data: bytes) -> bytes:
    """Give damaged bytes a valid checksum, to reach the checks behind it."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def header(chance: random.Random, good: list[bytes]) -> bytes:
    """Damage bytes, a field or the length, mix two headers, or return noise."""
    data = bytearray(chance.choice(good))
    kind = chance.randrange(16)
    if kind < 6:
        for _ in range(1 + chance.getrandbits(2)):
            data[chance.randrange(96)] = chance.getrandbits(8)
    elif kind < 13:
        at, size = chance.choice(FIELDS)
        value = chance.choice(_VALUES) & (256**size - 1)
        data[at : at + size] = value.to_bytes(size, "little")
    elif kind < 14:
        at = chance.randrange(96)
        data[at:] = chance.choice(good)[at:]
    elif kind < 15:
        data[4:92] = chance.randbytes(88)
    else:
        return bytes(data[: chance.randrange(96)]) if chance.getrandbits(1) else bytes(data * 2)
    return bytes(data)


def text(chance: random.Random, good: bytes) -> bytes:
    """Damage JSON: change bytes, insert tokens, cut, move or duplicate pieces."""
    data = bytearray(good)
    for _ in range(1 + chance.getrandbits(1)):
        kind, at = chance.randrange(6), chance.randrange(len(data) + 1)
        if kind < 2:
            data[at : at + 1] = bytes([chance.getrandbits(8)])
        elif kind < 4:
            data[at:at] = chance.choice(_TOKENS)
        elif kind < 5:
            del data[at : at + chance.randrange(1, 40)]
        else:
            end = at + chance.randrange(1, 60)
            data[at:at] = data[at:end]
    return bytes(data[: handshake.MAX_HELLO])


def stream(chance: random.Random, data: bytes) -> bytes:
    """Damage a conversation: change bytes, cut or duplicate a piece, truncate."""
    damaged = bytearray(data)
    kind, at = chance.randrange(6), chance.randrange(len(damaged))
    if kind < 3:
        for _ in range(1 + chance.getrandbits(2)):
            damaged[chance.randrange(len(damaged))] = chance.getrandbits(8)
    elif kind < 4:
        del damaged[at:]
    elif kind < 5:
        del damaged[at : at + chance.randrange(1, 120)]
    else:
        damaged[at:at] = damaged[at : at + chance.randrange(1, 120)]
    return bytes(damaged)


def _nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count * frames.ITEMSIZE[frames.DTYPE_CODES[dtype]]
