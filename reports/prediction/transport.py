"""Seconds of moving a tensor, as measured with stages that compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paretopipe_runtime.contract.units import transfer_s
from reports.data.profiles import Link

#: Of the three messages that a batch takes (request, tensor, predictions), what one of them costs.
MESSAGE = 1 / 3
# A payload this much slower than its frames is held up by processors, not by the wire.
_CPU_BOUND = 1.1


@dataclass(frozen=True)
class Transport:
    """What a hop costs beside the network's rate and delay, in seconds and seconds a byte.

    ``fixed_s`` is of the whole way of a batch, from its request to its predictions, without the
    round-trip time. ``byte_s`` is the least that a payload byte takes alone, ``pace_byte_s`` with
    several batches under way. The rest is how long a tensor and its bytes keep either end's host
    from computing; ``receive_s`` has the answer in it that follows what is received.
    """

    fixed_s: float = 0.0
    byte_s: float = 0.0
    pace_byte_s: float = 0.0
    send_s: float = 0.0
    send_byte_s: float = 0.0
    receive_s: float = 0.0
    receive_byte_s: float = 0.0

    @classmethod
    def of(cls, link: Link, processors: tuple[float, float] = (1.0, 1.0)) -> Transport:
        """Fit the coefficients to a link's transfers.

        Parameters
        ----------
        processors
            How much of one processor a process gets at either end: a second of its work takes
            longer where that is less.
        """
        alone = fit([(t.payload_bytes, t.latency_s.median) for t in link.transfers])
        paced = fit([(t.payload_bytes, t.pace_s.median) for t in link.transfers if t.pace_s])
        pace_byte_s = min(paced[1], alone[1]) if paced[1] else alone[1]
        sends, receives = _occupancy(link, pace_byte_s, processors)
        return cls(
            fixed_s=max(0.0, alone[0] - (link.rtt_ms or 0.0) / 1e3),
            byte_s=alone[1],
            pace_byte_s=pace_byte_s,
            send_s=sends[0],
            send_byte_s=sends[1],
            receive_s=receives[0],
            receive_byte_s=receives[1],
        )


def _occupancy(
    link: Link, pace_byte_s: float, processors: tuple[float, float]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the seconds, and the seconds a byte, that a tensor takes of either end's host."""
    seen = [(t.payload_bytes, t.cpu_s) for t in link.transfers if len(t.cpu_s) == 2]
    if len(seen) > 1:
        sends, receives = (
            fit([(size, cpu_s[end].median) for size, cpu_s in seen]) for end in (0, 1)
        )
        first, last = processors
        return (sends[0] / first, sends[1] / first), (receives[0] / last, receives[1] / last)
    # Records without processor times: under a wire that holds everything up, what the processors
    # do cannot be seen, and above it all of a byte's time is theirs.
    bound_by_cpu = pace_byte_s > _CPU_BOUND * transfer_s(1, link.rate_mbit)
    both = (0.0, pace_byte_s if bound_by_cpu else 0.0)
    return both, both


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return intercept and slope of the line with the least squared relative error; none negative.

    Relative, because transfers of kilobytes and of megabytes count alike. One size alone says
    nothing of bytes: its time is the intercept.

    Examples
    --------
    >>> fit([(0, 1.0), (10, 3.0), (20, 5.0)])
    (1.0, 0.2)
    """
    weights = [1 / time**2 for _, time in points]
    total = sum(weights)
    if not total:
        return 0.0, 0.0
    x = sum(w * size for w, (size, _) in zip(weights, points, strict=True)) / total
    y = sum(w * time for w, (_, time) in zip(weights, points, strict=True)) / total
    spread = sum(w * (size - x) ** 2 for w, (size, _) in zip(weights, points, strict=True))
    joint = sum(w * (size - x) * (t - y) for w, (size, t) in zip(weights, points, strict=True))
    slope = max(0.0, joint / spread) if spread else 0.0
    if y - slope * x >= 0:
        return y - slope * x, slope
    squares = sum(w * size**2 for w, (size, _) in zip(weights, points, strict=True))
    return 0.0, sum(w * size * t for w, (size, t) in zip(weights, points, strict=True)) / squares
