"""Time a model's blocks one by one, then its codecs, then the whole model.

Each block gets the previous one's output, in one process, warm as in a run; freeing it is part of
its time. On a GPU all stays there, without copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from paretopipe_runtime import codecs
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.order import StageOrder
from paretopipe_runtime.worker.usage.telemetry import peak_rss

Compute = Callable[[torch.Tensor], torch.Tensor]
#: Loads the blocks [first, end), which take tensors of this form.
Load = Callable[[int, int, Tensor], Compute]
#: Seconds between writing and reading. A run's receiver waits for its batch, and finds neither code
#: nor data in its caches; right after writing, reading takes a quarter of the time.
_WAIT_S = 0.02


@dataclass
class _Block:
    """One block's measurements; memory in bytes, of the process."""

    compute_s: list[float] = field(default_factory=list)
    output_shape: list[int] = field(default_factory=list)
    rss_before_bytes: int | None = None
    peak_rss_bytes: int | None = None


@dataclass
class _Codec:
    """Seconds to write one boundary's tensor and to read it back, by batch."""

    encode_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)


class Profile:
    """Computes the model, its first `order.profile_batches` batches block by block.

    With codecs to profile, as many more go block by block and through every codec in between: apart
    from the first, since a codec drives out of the caches what the next block needs.

    `load` loads blocks with the order's engine; `loaded` is called after each, since loading
    may be slow; `synchronize` waits for the device.
    """

    def __init__(
        self,
        order: StageOrder,
        load: Load,
        loaded: Callable[[], None],
        synchronize: Callable[[], None],
    ) -> None:
        self._order = order
        self._load = load
        self._synchronize = synchronize
        self._computes: list[Compute] = []
        for index, takes in enumerate(order.profile_takes, order.first):
            self._computes.append(load(index, index + 1, takes))
            loaded()
        self._blocks = [_Block() for _ in self._computes]
        self._codecs = [
            {name: _Codec() for name in order.profile_codecs} for _ in order.profile_takes
        ]
        self._whole: Compute | None = None
        self._whole_s: list[float] = []

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Compute one batch and keep the times."""
        self._synchronize()  # the batch itself may still be on its way to the device
        if len(self._blocks[0].compute_s) < self._order.profile_batches:
            return self._one_by_one(tensor)
        if any(len(c.encode_s) < self._order.profile_batches for c in self._codecs[0].values()):
            return self._coded(tensor)
        if self._whole is None:
            self._computes.clear()  # or the weights might be in memory twice
            self._whole = self._load(self._order.first, self._order.end, self._order.takes)
        start = time.perf_counter()
        tensor = self._whole(tensor)
        self._synchronize()
        self._whole_s.append(time.perf_counter() - start)
        return tensor

    def report(self) -> dict[str, Any]:
        """Return the measurements; every list starts with the cold batch."""
        return {
            "blocks": [vars(block) for block in self._blocks],
            "codecs": [{name: vars(own) for name, own in seen.items()} for seen in self._codecs],
            "whole_s": self._whole_s,
        }

    def _one_by_one(self, tensor: torch.Tensor) -> torch.Tensor:
        for compute, block in zip(self._computes, self._blocks, strict=True):
            cold = not block.compute_s
            if cold:
                block.rss_before_bytes = _reset_peak()
            start = time.perf_counter()
            tensor = compute(tensor)  # lets go of the block's input, too
            self._synchronize()
            block.compute_s.append(time.perf_counter() - start)
            if cold:
                block.output_shape = list(tensor.shape)
                if block.rss_before_bytes is not None:
                    block.peak_rss_bytes = peak_rss()
        return tensor

    def _coded(self, tensor: torch.Tensor) -> torch.Tensor:
        layout = ENGINES[self._order.engine].layout
        for compute, seen in zip(self._computes, self._codecs, strict=True):
            sent = tensor.cpu()  # from a GPU it gets there whether encoded or not
            for name, codec in seen.items():
                start = time.perf_counter()
                payload = codecs.encode(name, sent, layout)
                codec.encode_s.append(time.perf_counter() - start)
                time.sleep(_WAIT_S)
                start = time.perf_counter()
                codecs.decode(name, payload, tuple(sent.shape), layout)
                codec.decode_s.append(time.perf_counter() - start)
            del sent
            tensor = compute(tensor)
        self._synchronize()
        return tensor


def _reset_peak() -> int | None:
    """Reset the process's peak memory and return it, None where not permitted."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak_rss()
