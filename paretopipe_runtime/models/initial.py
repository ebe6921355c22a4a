"""Values without training: random, but the same on every machine and with every library version.

They come from the raw words of a Philox stream keyed by seed and tensor name, and from single IEEE
operations on them; normal deviates would hang on numpy's version and the machine's logarithm.

A random network of this depth gives every image nearly the same logits, since after a ReLU all
activations share a positive mean that outgrows what tells images apart: a mixed-up batch would then
be hard to notice. So the filters sum to zero: half of a filter's inputs carry the other half's
weights negated.

Activations would keep their size at a variance of about 3 / fan-in, but a random network of that
gain also amplifies the rounding errors of its first layers, up to 4e-4 of MobileNetV2's logits, so
that one model on two kinds of processor would not look equal. At half that variance, `_GAIN`,
images still differ by 4 % and more of the largest logit, and rounding stays near 2e-5 or below.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

# Batch normalisation a little off the identity, so that equal outputs prove its tensors too.
_RANGES = {
    "weight": (0.9, 1.1),
    "bias": (-0.02, 0.02),
    "running_mean": (-0.02, 0.02),
    "running_var": (0.9, 1.1),
}
_GAIN = 2.3
_CHUNK = 1 << 20  # even: a word of the stream makes two values


def initial_tensors(block: str, module: nn.Module, seed: int) -> dict[str, NDArray[np.generic]]:
    """Return a value for every tensor of a block, by its name within the block.

    Parameters
    ----------
    block : str
        The block's name; with the tensor's own it makes the name that keys the stream.
    module : nn.Module
        The block, on whatever device: only names and shapes are read.
    seed : int
    """
    return {
        name: _initial(f"{seed}/{block}.{name}", tuple(tensor.shape))
        for name, tensor in module.state_dict().items()
    }


def _initial(key: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":  # batch normalisation's counter, unused in evaluation
        return np.zeros(shape, np.int64)
    if len(shape) == 1:
        return uniform(key, shape, *_RANGES[kind])
    bound = _GAIN / math.sqrt(math.prod(shape[1:]))  # a uniform value's variance is bound^2 / 3
    weights = uniform(key, shape, -bound, bound)
    half = shape[1] // 2
    weights[:, half : 2 * half] = -weights[:, :half]
    return weights


def uniform(key: str, shape: tuple[int, ...], low: float, high: float) -> NDArray[np.float32]:
    """Return float32 values in [low, high], the same everywhere for the same key."""
    size = math.prod(shape)
    stream = np.random.Philox(key=int.from_bytes(hashlib.sha256(key.encode()).digest()[:16]))
    values = np.empty(size + size % 2, np.float32)
    scale, centre = np.float32((high - low) / 2**32), np.float32((high + low) / 2)
    for start in range(0, values.size, _CHUNK):  # chunks, for the memory's sake
        part = values[start : start + _CHUNK]
        part[:] = np.asarray(stream.random_raw(part.size // 2), dtype="<u8").view("<i4")
        part *= scale
        part += centre
    return values[:size].reshape(shape)
