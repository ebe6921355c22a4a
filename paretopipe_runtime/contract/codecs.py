"""Codecs: how a tensor is written for a hop between two hosts, and its size there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from paretopipe_runtime.errors import ParetoPipeError

#: Elements from which a channel of an image has a range of its own. With fewer, ranges would be a
#: large part of what is sent, and the whole image has one.
OWN_RANGE = 64
RANGE_NBYTES = 8  # a float32 each: the least value, and the step from one level to the next


@dataclass(frozen=True)
class Codec:
    """A way to write float32 tensors in fewer bytes.

    `number`: on the wire. `bits`: of an element; with `ranges`, its level between the least and the
    greatest value of its channel, or image. `tolerance`: largest relative error of logits against
    the unsplit model's, on the scale of `golden.compare`: twice the largest of six models with
    random weights, which is larger than with trained ones. `coarse`: may bring a prediction nearer
    to another input's.
    """

    name: str
    words: str
    number: int
    bits: int
    ranges: bool = False
    tolerance: float = 0.0
    coarse: bool = False

    @property
    def levels(self) -> int:
        """Steps between the least and the greatest value."""
        return int(2**self.bits) - 1

    def nbytes(self, shape: Sequence[int]) -> int:
        """Return the bytes of a tensor (batch first) as written."""
        ranges = RANGE_NBYTES * count_ranges(shape) if self.ranges else 0
        return ranges + (math.prod(shape) * self.bits + 7) // 8


#: As it is computed.
NONE = "none"
CODECS = {
    codec.name: codec
    for codec in (
        Codec(NONE, "float32", 0, 32),
        Codec("fp16", "float16", 1, 16, tolerance=0.02),
        Codec("int8", "8-bit integers", 2, 8, ranges=True, tolerance=0.4),
        Codec("int4", "4-bit integers", 3, 4, ranges=True, tolerance=2.5, coarse=True),
    )
}
BY_NUMBER = {codec.number: codec for codec in CODECS.values()}


def count_ranges(shape: Sequence[int]) -> int:
    """Return how many ranges a tensor has: one per image and channel, or per image.

    Channels are the second axis of four (an image's), the last of three (a token's).
    """
    batch, *rest = shape
    if len(rest) == 3 and rest[1] * rest[2] >= OWN_RANGE:
        return batch * rest[0]
    if len(rest) == 2 and rest[0] >= OWN_RANGE:
        return batch * rest[1]
    return batch


def check_codec(name: object) -> str:
    """Return a known codec's name. Raises ``E_CODEC``."""
    if isinstance(name, str) and name in CODECS:
        return name
    raise ParetoPipeError(
        "E_CODEC",
        f"unknown codec {str(name)[:40]!r}: known are {', '.join(CODECS)} — choose among them with "
        "-e codec=…",
    )
