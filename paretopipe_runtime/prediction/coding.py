"""Codecs' times at the boundaries of a profiled model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.values import amount
from paretopipe_runtime.prediction.spread import Spread


@dataclass(frozen=True)
class Coding:
    """A codec at one boundary; spreads are over processes, of each one's mean."""

    nbytes: int
    encode_s: Spread
    decode_s: Spread


def codings(runs: Sequence[Record], input_shape: tuple[int, ...]) -> dict[str, tuple[Coding, ...]]:
    """Return the codecs that were timed at the input and at each block's output but the last's.

    Parameters
    ----------
    runs
        Profiles of the same blocks; each may have other codecs, or damaged ones.
    """
    boundaries = [(input_shape, runs[0]["input_bytes"], runs)]
    for place, block in enumerate(runs[0]["blocks"][:-1]):
        seen = [run["blocks"][place] for run in runs]
        boundaries.append((tuple(block["output_shape"]), block["output_bytes"], seen))
    found = {
        name: [_coding(name, *boundary) for boundary in boundaries]
        for name in CODECS
        if name != NONE
    }
    return {
        name: known
        for name, own in found.items()
        if len(known := tuple(coding for coding in own if coding)) == len(boundaries)
    }


def _coding(
    name: str, shape: tuple[int, ...], float32_bytes: int, seen: Sequence[Record]
) -> Coding | None:
    """Return a codec at a boundary, where it was timed and the tensor is one of float32."""
    if not shape or 4 * math.prod(shape) != float32_bytes:
        return None
    stated = [one["codecs"] for one in seen if isinstance(one.get("codecs"), dict)]
    times = [own for one in stated if isinstance(own := one.get(name), dict)]
    encode_s, decode_s = (
        Spread.of(_mean(own.get(key)) for own in times) for key in ("encode_s", "decode_s")
    )
    if encode_s is None or decode_s is None:
        return None
    return Coding(CODECS[name].nbytes(shape), encode_s, decode_s)


def _mean(values: Any) -> float | None:
    """Return the mean of a list of times, if it is one."""
    stated = values if isinstance(values, list) else []
    times = [time for value in stated if (time := amount(value)) is not None]
    return fmean(times) if times and len(times) == len(stated) else None
