"""Network costs of a payload: TCP's slow start and limited window."""

from __future__ import annotations

import math

from paretopipe_runtime.contract.units import SEGMENT_BYTES, transfer_s

#: Segments that TCP sends before the first acknowledgement (RFC 6928).
INITIAL_WINDOW = 10
#: Linux's least retransmission timeout beyond a round trip (TCP_RTO_MIN).
RTO_MIN_S = 0.2
#: Payload bytes in flight at most: Linux's largest automatic send buffer, the third number of
#: ``net.ipv4.tcp_wmem`` (kernel documentation, ip-sysctl).
WINDOW_BYTES = 4 * 1024 * 1024


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
