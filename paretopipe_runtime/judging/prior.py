"""Belief about candidates before a run: their predictions, and how far these may be off.

On the log scale, of latency and throughput together, a prediction is off by what its parts are:

- *bias*: a host computes, or a hop moves, everything by one factor slower than profiled;
- *trend*: the same, but changing from cut to cut (a block that was timed badly moves every later
  split the same way, and splits far away less);
- *own*: of one candidate alone; of a part, or of latency or throughput by half as much.

How much of each there is, runs tell (``posterior.py``). See docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from paretopipe_runtime.judging.model import Cuts, Floats

# A trend falls to 1/e over so many blocks.
_REACH = 4.0
# And by a codec as by so many.
_CODEC = 2.0
# Throughput follows the slowest part; where two are close, either may be it.
_SHARPNESS = 20.0
# A hop's time is known this many times worse than a host's.
_HOP = 3.0
# Of a figure's own error, what no part explains.
_UNEXPLAINED = 0.5


class Predicted(Protocol):
    """A candidate; parts are seconds by host or, with ``>`` between two, by hop."""

    @property
    def cuts(self) -> Cuts: ...
    @property
    def latency_s(self) -> float: ...
    @property
    def throughput_img_s(self) -> float: ...
    @property
    def latency_parts(self) -> Mapping[str, float]: ...
    @property
    def pace_parts(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Prior:
    """Means [2 n], and the shapes of what they may be off by: latencies first, then throughputs.

    Each shape is a covariance [2 n, 2 n] for a typical error of one.
    """

    splits: tuple[Cuts, ...]
    mean: Floats
    bias: Floats
    trend: Floats
    own: Floats

    @classmethod
    def of(cls, candidates: Sequence[Predicted]) -> Prior:
        """Return the prior of at least one candidate, in their order."""
        count = len(candidates)
        latency = [one.latency_s for one in candidates]
        throughput = [one.throughput_img_s for one in candidates]
        near = np.exp(-_apart([one.cuts for one in candidates]) / _REACH)
        bias, trend = np.zeros((2 * count, 2 * count)), np.zeros((2 * count, 2 * count))
        own = _UNEXPLAINED**2 * np.eye(2 * count)
        for part, effect in _effects(candidates).items():
            shape = np.outer(effect, effect) * (_HOP**2 if ">" in part else 1.0)
            bias += shape
            trend += shape * np.tile(near, (2, 2))
            own += shape * np.tile(np.eye(count), (2, 2))
        return cls(
            splits=tuple(one.cuts for one in candidates),
            mean=np.log([*latency, *throughput]),
            bias=bias,
            trend=trend,
            own=own,
        )


def _effects(candidates: Sequence[Predicted]) -> dict[str, Floats]:
    """Return by part what its slowing down by one unit does to all logarithms: [2 n]."""
    parts = sorted({part for one in candidates for part in (*one.latency_parts, *one.pace_parts)})
    if not parts or not all(one.latency_parts and one.pace_parts for one in candidates):
        return {"all": np.repeat([1.0, -1.0], len(candidates))}

    def table(which: str) -> Floats:
        rows = [[getattr(one, which).get(part, 0.0) for part in parts] for one in candidates]
        return np.array(rows, np.float64)

    alone, paced = table("latency_parts"), table("pace_parts")
    shares = alone / alone.sum(axis=1, keepdims=True)
    slowest = (paced / paced.max(axis=1, keepdims=True)) ** _SHARPNESS
    slowest /= slowest.sum(axis=1, keepdims=True)
    return {part: np.concatenate([shares[:, at], -slowest[:, at]]) for at, part in enumerate(parts)}


def _apart(cuts: Sequence[Cuts]) -> Floats:
    """Return how many blocks lie between any two candidates' cuts, all cuts added up.

    Codecs lie `_CODEC` blocks apart, whichever two: the same blocks compute, the hop differs.
    """
    longest = max(map(len, cuts), default=0)
    places = np.array([[*one, *[0] * (longest - len(one))] for one in cuts], np.float64)
    codecs = np.array([getattr(one, "codec", "") for one in cuts])
    apart = np.abs(places[:, None] - places[None]).sum(axis=2)
    return np.asarray(apart + _CODEC * (codecs[:, None] != codecs[None]), np.float64)
