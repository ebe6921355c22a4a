"""Seconds to move a tensor: as measured by stages without blocks, and TCP's in any network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from paretopipe_runtime.contract.units import SEGMENT_BYTES, transfer_s
from paretopipe_runtime.prediction.profiles import Link

#: Share of one of a batch's three messages: request, tensor, predictions.
MESSAGE = 1 / 3
# Ratio to the wire's time beyond which processors are the bottleneck.
_CPU_BOUND = 1.1
#: Segments that TCP sends before the first acknowledgement (RFC 6928).
INITIAL_WINDOW = 10
#: Linux's least retransmission timeout beyond a round trip (TCP_RTO_MIN).
RTO_MIN_S = 0.2
#: Payload bytes in flight at most: Linux's largest automatic send buffer, the third number of
#: ``net.ipv4.tcp_wmem`` (kernel documentation, ip-sysctl).
WINDOW_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Transport:
    """Costs of a hop beside rate and delay, in seconds and seconds per byte.

    ``fixed_s``: from request to predictions, without round trip. ``byte_s``: per payload byte
    alone; ``pace_byte_s``: with several batches in flight. The others: taken from computing at
    either end, the answer included.
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
            Share of one processor that a process gets at either end.
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
    """Return seconds and seconds per byte of a tensor on either end's processor."""
    seen = [(t.payload_bytes, t.cpu_s) for t in link.transfers if len(t.cpu_s) == 2]
    if len(seen) > 1:
        sends, receives = (
            fit([(size, cpu_s[end].median) for size, cpu_s in seen]) for end in (0, 1)
        )
        first, last = processors
        return (sends[0] / first, sends[1] / first), (receives[0] / last, receives[1] / last)
    # Records without processor times: all of a byte's time counts if processors are the bottleneck,
    # none if the wire is.
    bound_by_cpu = pace_byte_s > _CPU_BOUND * transfer_s(1, link.rate_mbit)
    both = (0.0, pace_byte_s if bound_by_cpu else 0.0)
    return both, both


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return non-negative intercept and slope of the least squared relative error.

    Relative, so that kilobytes and megabytes count alike.

    >>> [round(number, 6) for number in fit([(0, 1.0), (10, 3.0), (20, 5.0)])]
    [1.0, 0.2]
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


def slow_start_s(
    payload_bytes: int, rtt_s: float, rate_mbit: float | None, paused_s: float
) -> float:
    """Return the idle seconds of a sender while its window grows again after a pause.

    The window, sized for the payload, is halved per retransmission timeout of pause, down to the
    initial one (RFC 2861, as in Linux), then doubles each round trip: the slow-start phase of
    Cardwell, Savage and Anderson (INFOCOM 2000), without loss.

    Parameters
    ----------
    paused_s
        Seconds without sending before this payload.
    """
    segments = math.ceil(payload_bytes / SEGMENT_BYTES)
    segment_s = transfer_s(SEGMENT_BYTES, rate_mbit)
    halvings = math.floor(paused_s / (rtt_s + RTO_MIN_S))
    window = max(INITIAL_WINDOW, math.floor(segments / 2.0 ** min(halvings, 60)))
    idle_s = 0.0
    while segments > window and rtt_s > window * segment_s:
        idle_s += rtt_s - window * segment_s
        segments -= window
        window *= 2
    return idle_s


def window_s(payload_bytes: int, rtt_s: float, rate_mbit: float | None) -> float:
    """Return the idle seconds of a sender with a full window: one window per round trip."""
    if payload_bytes <= WINDOW_BYTES:
        return 0.0
    rounds = payload_bytes / WINDOW_BYTES - 1
    return rounds * max(0.0, rtt_s - transfer_s(WINDOW_BYTES, rate_mbit))


def window_pace_s(payload_bytes: int, rtt_s: float) -> float:
    """Return the least seconds between consecutive payloads: one window per round trip."""
    return payload_bytes * rtt_s / WINDOW_BYTES
