"""A stage's computation between encoded ends: decode, compute, encode."""

from __future__ import annotations

import itertools
import time
from typing import Any

import torch
import xxhash

from paretopipe_runtime import codecs
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.order import StageOrder
from paretopipe_runtime.worker.profile import Compute


class Coding:
    """Computes what arrives encoded, and encodes what leaves; counts the seconds of both.

    The first batches prove that the next stage decodes to the same bits as this one would: both
    hash what they decode. That takes time, so those are not timed.
    """

    def __init__(self, order: StageOrder, compute: Compute, layout: Layout) -> None:
        self._order = order
        self._compute = compute
        self._layout = layout
        self._arrives, self._leaves = order.arrives.codec, order.leaves.codec
        self._decode_s: list[float] = []
        self._encode_s: list[float] = []
        self._decoded = [xxhash.xxh3_128() for _ in range(order.senders)]
        self._encoded = [xxhash.xxh3_128() for _ in order.onward]
        self._numbers = itertools.count(order.replica, order.replicas)

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Take one batch as it arrives to what is sent of it."""
        order, layout = self._order, self._layout
        number = next(self._numbers)
        proving = number < order.proof_batches
        if self._arrives != NONE:
            start = time.perf_counter()
            tensor = codecs.decode(self._arrives, tensor, order.takes.shape, layout)
            self._decode_s.append(time.perf_counter() - start)
            if proving:
                self._decoded[number % len(self._decoded)].update(memory.as_bytes(tensor, layout))
        output = self._compute(tensor)
        if self._leaves == NONE:
            return output
        memory.check_form(output, order.gives, len(self._encode_s))
        start = time.perf_counter()
        payload = codecs.encode(self._leaves, output, layout)
        self._encode_s.append(time.perf_counter() - start)
        if proving:
            read = codecs.decode(self._leaves, payload, order.gives.shape, layout)
            self._encoded[number % len(self._encoded)].update(memory.as_bytes(read, layout))
        return payload

    def report(self) -> dict[str, Any]:
        """Return the seconds of every batch, and the digests of what was decoded of the first.

        A digest for each host of the stage before, and of the one after.
        """
        found: dict[str, Any] = {}
        if self._arrives != NONE:
            found |= {
                "decode_s": self._decode_s,
                "decoded": [one.hexdigest() for one in self._decoded],
            }
        if self._leaves != NONE:
            found |= {
                "encode_s": self._encode_s,
                "encoded": [one.hexdigest() for one in self._encoded],
            }
        return found
