"""Seeded random weights, bit-identical on every machine and numpy version.

They use raw words of a Philox stream keyed by seed and tensor name, and single IEEE operations;
normal deviates would depend on numpy's version and the machine's logarithm.

After ReLUs, activations share a positive mean that grows with depth: all images would get nearly
the same logits, hiding a mixed-up batch. Filters therefore sum to zero: half of a filter's inputs
have the other half's weights, negated.

A variance of about 3 / fan-in would keep activations' size, but amplify rounding to 4e-4 of
MobileNetV2's logits, so that processors would disagree. At half of it, `_GAIN`, rounding stays near
2e-5 while images differ by at least 4 % of the largest logit.

Of other models than the paper's, what is not a parameter keeps the value that the constructor
computed: position tables, masks.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

# Batch normalisation: near the identity, not equal to it, so that outputs depend on its tensors.
_RANGES = {
    "weight": (0.9, 1.1),
    "bias": (-0.02, 0.02),
    "running_mean": (-0.02, 0.02),
    "running_var": (0.9, 1.1),
}
_GAIN = 2.3
_CHUNK = 1 << 20  # even, as a word of the stream makes two values


def initial_tensors(block: str, module: nn.Module, seed: int) -> dict[str, NDArray[np.generic]]:
    """Return values for a block's tensors, by name; those not on the meta device keep theirs."""
    return {
        name: _initial(f"{seed}/{block}.{name}", tuple(tensor.shape))
        if tensor.is_meta
        else tensor.numpy().copy()
        for name, tensor in module.state_dict().items()
    }


def _initial(key: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":  # batch normalisation's counter, unused in evaluation
        return np.zeros(shape, np.int64)
    if math.prod(shape[1:]) == 1:  # a factor or summand for each channel, layer or head
        return uniform(
            key, shape, *_RANGES.get(kind, _RANGES["bias" if "bias" in kind else "weight"])
        )
    bound = _GAIN / math.sqrt(math.prod(shape[1:]))  # variance is bound^2 / 3
    weights = uniform(key, shape, -bound, bound)
    half = shape[1] // 2
    weights[:, half : 2 * half] = -weights[:, :half]
    return weights


def uniform(key: str, shape: tuple[int, ...], low: float, high: float) -> NDArray[np.float32]:
    """Return float32 values in [low, high], bit-identical everywhere for the same key."""
    size = math.prod(shape)
    stream = np.random.Philox(key=int.from_bytes(hashlib.sha256(key.encode()).digest()[:16]))
    values = np.empty(size + size % 2, np.float32)
    scale, centre = np.float32((high - low) / 2**32), np.float32((high + low) / 2)
    for start in range(0, values.size, _CHUNK):  # in chunks, to save memory
        part = values[start : start + _CHUNK]
        part[:] = np.asarray(stream.random_raw(part.size // 2), dtype="<u8").view("<i4")
        part *= scale
        part += centre
    return values[:size].reshape(shape)
