"""Headers survive encoding, and malformed ones are refused."""

from __future__ import annotations

import math
import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.frames import FrameType, Header

SIZES = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "uint8": 1,
    "int8": 1,
    "int32": 4,
    "int64": 8,
}


def tensor_header(dtype: str = "float32", shape: tuple[int, ...] = (8, 24, 56, 56)) -> Header:
    nbytes = math.prod(shape) * SIZES[dtype]
    return Header(FrameType.TENSOR, 7, nbytes, 3, frames.DTYPE_CODES[dtype], shape)


def repaired(data: bytes) -> bytes:
    """Give damaged bytes a valid checksum, to reach the checks behind it."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


@given(
    dtype=st.sampled_from(sorted(SIZES)),
    shape=st.lists(st.integers(0, 9), max_size=8).map(tuple),
    seq=st.integers(0, frames.MAX_FRAMES - 1),
    batch_id=st.integers(0, 2**64 - 1),
)
def test_round_trip(dtype: str, shape: tuple[int, ...], seq: int, batch_id: int) -> None:
    nbytes = math.prod(shape) * SIZES[dtype]
    code = frames.DTYPE_CODES[dtype]
    header = Header(FrameType.TENSOR, seq, nbytes, batch_id, code, shape)
    data = frames.encode(header)
    assert len(data) == 96
    assert frames.decode(data) == header
    other = bytearray(data)
    frames.renumber(other, 0, 17)
    assert frames.decode(other) == header._replace(seq=0, batch_id=17)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != NONE])
def test_encoded_tensors_say_their_codec(codec: str) -> None:
    form = frames.Tensor((2, 3, 9, 9), "float32", 4 * 486).written(codec)
    number, dtype = CODECS[codec].number, frames.DTYPE_CODES[form.dtype]
    header = Header(FrameType.TENSOR, 1, form.nbytes, 0, dtype, form.shape, number)
    came = frames.decode(frames.encode(header))
    form.check(came, "pi1")
    with pytest.raises(ParetoPipeError, match=f"got uint8.*, plan says .* by {codec}"):
        form.check(came._replace(codec=0), "pi1")


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (0, b"GET ", "E_HEADER"),
        (4, b"\x02", "E_HEADER"),
        (5, b"\x63", "E_HEADER"),
        (6, b"\x63", "E_HEADER"),
        (7, b"\x09", "E_HEADER"),
        (8, b"\x01", "E_HEADER"),
        (24, struct.pack("<Q", 2**40), "E_SIZE"),
        (24, struct.pack("<Q", 17), "E_SIZE"),
        (32, b"\x01", "E_HEADER"),
        (32, b"\x63", "E_HEADER"),
        (33, b"\x01", "E_HEADER"),
        (72, b"\x01", "E_HEADER"),
        (84, b"\x01", "E_HEADER"),
    ],
)
def test_each_field_is_checked_even_with_a_good_checksum(
    offset: int, value: bytes, code: str
) -> None:
    data = frames.encode(tensor_header())
    data = data[:offset] + value + data[offset + len(value) :]
    with pytest.raises(ParetoPipeError) as caught:
        frames.decode(repaired(data))
    assert caught.value.code == code


def test_a_damaged_checksum_is_refused() -> None:
    data = bytearray(frames.encode(tensor_header()))
    data[40] ^= 1
    with pytest.raises(ParetoPipeError, match="E_HEADER"):
        frames.decode(data)


def test_mutated_headers_never_do_anything_but_raise_our_error() -> None:
    seed = 20261123
    chance = random.Random(seed)
    good = frames.encode(tensor_header())
    accepted = 0
    for trial in range(20_000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(96)] = chance.randrange(256)
        mutated = repaired(bytes(data)) if trial % 2 else bytes(data)
        try:
            header = frames.decode(mutated)
        except ParetoPipeError:
            continue
        accepted += 1
        assert header.payload_nbytes <= frames.MAX_PAYLOAD
        assert len(header.shape) <= frames.MAX_DIMS
    assert 0 < accepted < 20_000, f"seed {seed}"
