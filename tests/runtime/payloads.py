"""Hostile payloads of codecs, and what becomes of them, alone and behind damaged headers."""

from __future__ import annotations

import functools
import random
import socket
from collections import Counter

import torch
import xxhash

from paretopipe_runtime import codecs
from paretopipe_runtime.contract.codecs import CODECS, RANGE_NBYTES, count_ranges
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import DTYPE_CODES, FrameType, Header, Tensor
from tests.wire import mutate

#: Images with and without a range per channel, tokens, features; odd numbers of elements, too.
SHAPES = ((2, 3, 8, 9), (2, 5, 3, 3), (1, 65, 7), (2, 7, 13), (3, 11), (1, 1))
LAYOUTS: tuple[Layout, Layout] = ("contiguous", "channels_last")
VALUES = (float("nan"), float("inf"), -1.0, 0.0, -0.0, 1e-45, 1e-39, 6e4, 1e30, 3e38)
REFUSED = {"E_SIZE", "E_CODEC"}
ON_THE_WIRE = REFUSED | {"E_HEADER", "E_SEQ", "E_ORDER", "E_SHAPE", "E_CHECKSUM", "E_TRUNC"}


def payload(chance: random.Random, codec: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return noise of the right or any size, or a good payload: damaged, cut or lengthened."""
    size, kind = CODECS[codec].nbytes(shape), chance.randrange(5)
    if kind == 0:
        return _bytes(chance.randbytes(size))
    if kind == 1:
        return _bytes(chance.randbytes(chance.randrange(2 * size)))
    good = _good(codec, shape, chance.choice(LAYOUTS)).clone()
    if kind == 2:
        for _ in range(1 + chance.getrandbits(3)):
            good[chance.randrange(size)] = chance.getrandbits(8)
        return good
    if kind == 3:
        until = RANGE_NBYTES * count_ranges(shape) if CODECS[codec].ranges else size
        numbers = good[:until].view(torch.float32 if CODECS[codec].ranges else torch.float16)
        for _ in range(1 + chance.getrandbits(2)):
            numbers[chance.randrange(len(numbers))] = chance.choice((1, -1)) * chance.choice(VALUES)
        return good
    by = chance.randrange(-min(8, size), 9)
    return good[:by] if by < 0 else torch.cat((good, torch.zeros(by, dtype=torch.uint8)))


def decoded(seed: int, codec: str, count: int) -> Counter[str]:
    """Decode so many; return how each ended: refused by a code, ``read``, or a finding."""
    chance, found = _seeded(f"{codec} {seed}"), Counter[str]()
    for _ in range(count):
        shape = chance.choice(SHAPES)
        found[_end(codec, payload(chance, codec, shape), shape, chance.choice(LAYOUTS))] += 1
    return found


def received(seed: int, codec: str, count: int) -> Counter[str]:
    """Receive so many over a socket, two of three behind a damaged header, and decode them."""
    chance, found = _seeded(f"wire {codec} {seed}"), Counter[str]()
    for _ in range(count):
        shape = chance.choice(SHAPES)
        form = Tensor(shape, "float32", 4 * torch.Size(shape).numel()).written(codec)
        content = payload(chance, codec, shape)
        number, dtype = CODECS[codec].number, DTYPE_CODES[form.dtype]
        size = len(content)
        header = frames.encode(Header(FrameType.TENSOR, 0, size, 0, dtype, (size,), number))
        kind = chance.randrange(3)
        if kind:
            header = mutate.header(chance, [header])
        if kind > 1:
            header = mutate.repaired(header)
        body = content.numpy().tobytes()
        found[_received(header + body + xxhash.xxh3_64_digest(body), form, codec, shape)] += 1
    return found


def _received(data: bytes, form: Tensor, codec: str, shape: tuple[int, ...]) -> str:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        channel, buffer = Channel(ours, "pi1"), torch.empty(form.nbytes, dtype=torch.uint8)
        try:
            header = channel.receive_header(5)
            form.check(header, "pi1")
            channel.receive_payload(header, memoryview(buffer.numpy()), 5)
        except ParetoPipeError as error:
            return error.code
        return _end(codec, buffer, shape, "contiguous")


def _end(codec: str, content: torch.Tensor, shape: tuple[int, ...], layout: Layout) -> str:
    fits = len(content) == CODECS[codec].nbytes(shape)
    try:
        read = codecs.decode(codec, content, shape, layout)
    except ParetoPipeError as error:
        return error.code if (error.code == "E_SIZE") != fits else f"{error.code} said wrongly"
    except Exception as error:  # whatever else escapes is the finding
        return f"{type(error).__name__} escaped: {error}"
    if (read.shape, read.dtype, fits) != (shape, torch.float32, True):
        return f"{read.dtype}{list(read.shape)} of {len(content)} B came for {list(shape)}"
    if CODECS[codec].ranges:
        ranges = content[: RANGE_NBYTES * count_ranges(shape)].view(torch.float32)
        if not (torch.isfinite(read).all() and (ranges.view(2, -1)[1] > 0).all()):
            return "read with a range that no encoder writes"
    return "read"


@functools.cache
def _good(codec: str, shape: tuple[int, ...], layout: Layout) -> torch.Tensor:
    return codecs.encode(codec, torch.randn(shape), layout)


def _seeded(text: str) -> random.Random:
    chance = random.Random(text)
    torch.manual_seed(chance.getrandbits(32))
    return chance


def _bytes(data: bytes) -> torch.Tensor:
    return torch.tensor(list(data), dtype=torch.uint8)
