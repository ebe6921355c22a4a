"""Seconds that codecs take for a tensor, beside one copy of it; a digest of what they make.

``python tests/campaigns/codec_speed.py`` prints both as JSON, on an emulated processor, too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from paretopipe_runtime import codecs
from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.models.initial import uniform

#: MobileNetV2's tensors behind its blocks 2, 3, 5 and 9 at 224 px: 6.4, 2.4, 0.8 and 0.4 MB.
SHAPES = ((8, 16, 112, 112), (8, 24, 56, 56), (8, 32, 28, 28), (8, 64, 14, 14))
ROUNDS, AT_LEAST_S = 7, 0.03
COPY = "copy"
LOSSY = [name for name in CODECS if name != NONE]
Call = Callable[[], object]


def made(shape: tuple[int, ...], scale: float = 1.0) -> torch.Tensor:
    """Return numbers between -1 and 1 times `scale`, bit-identical on every machine."""
    return torch.from_numpy(uniform(f"codecs/{scale}", shape, -1, 1)) * scale


def digest() -> str:
    """Hash what is written and read back of images, tokens and features, small and large."""
    found = hashlib.sha256()
    for shape in ((2, 5, 9, 9), (2, 65, 7), (3, 11)):
        for scale in (1e-7, 1.0, 1e4):
            tensor = made(shape, scale)
            for codec in LOSSY:
                for layout in get_args(Layout):
                    payload = codecs.encode(codec, tensor, layout)
                    read = codecs.decode(codec, payload, shape, layout)
                    found.update(payload.numpy().tobytes() + read.numpy().tobytes())
    return found.hexdigest()


def seconds() -> dict[str, dict[str, list[float]]]:
    """Return by shape, then by ``copy``, ``CODEC encode`` or ``CODEC decode``, each round's.

    All take turns in a round, so that what slows the machine slows them alike. A round's is the
    mean of as many repetitions as take `AT_LEAST_S`.
    """
    torch.set_num_threads(1)
    return {str(list(shape)): _of(shape) for shape in SHAPES}


def _of(shape: tuple[int, ...]) -> dict[str, list[float]]:
    tensor, target = made(shape).relu_(), torch.empty(shape)
    calls: dict[str, Call] = {COPY: lambda: target.copy_(tensor)}
    for codec in LOSSY:
        payload = codecs.encode(codec, tensor, "contiguous")
        calls[f"{codec} encode"] = partial(codecs.encode, codec, tensor, "contiguous")
        calls[f"{codec} decode"] = partial(codecs.decode, codec, payload, shape, "contiguous")
    counts = {what: _repetitions(call) for what, call in calls.items()}
    rounds = [
        {what: _time(call, counts[what]) / counts[what] for what, call in calls.items()}
        for _ in range(ROUNDS)
    ]
    return {what: [times[what] for times in rounds] for what in calls}


def _repetitions(call: Call) -> int:
    once = min(_time(call, 1) for _ in range(2))
    return max(1, round(AT_LEAST_S / once))


def _time(call: Call, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps({"digest": digest(), "seconds": seconds()}))
