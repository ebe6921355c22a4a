"""Times left, and their ends, in words."""

from __future__ import annotations

import math
import time

#: Standard deviations of a 95 % interval.
SURE = 2.0
_MANY_S = 90  # less is in seconds


def span(low_s: float, high_s: float) -> str:
    """Return ``about 14 to 18 min``, or one figure if both ends read the same.

    >>> span(840, 1080), span(3000, 9000), span(20, 20.4)
    ('about 14 to 18 min', 'about 50 min to 2 h 30 min', 'about 20 s')
    """
    if high_s < _MANY_S:
        low, high = f"{low_s:.0f} s", f"{high_s:.0f} s"
    else:
        low, high = (f"{round(end / 60)} min" for end in (low_s, high_s))
    if high_s >= 60 * _MANY_S:
        low, high = (_hours(round(end / 60)) for end in (low_s, high_s))
    if low == high:
        return f"about {high}"
    if low.count(" ") == high.count(" ") == 1:  # same unit
        low = low.partition(" ")[0]
    return f"about {low} to {high}"


def within(seconds: float, deviation_s: float) -> tuple[float, float]:
    """Return a 95 % interval of a log-normal duration: it may be doubled, but not below 0.

    >>> within(100, 0), [round(end) for end in within(100, 25)]
    ((100.0, 100.0), [59, 159])
    """
    if seconds <= 0:
        return 0.0, 0.0
    spread = math.sqrt(math.log1p((deviation_s / seconds) ** 2))
    middle = seconds * math.exp(-(spread**2) / 2)
    return middle * math.exp(-SURE * spread), middle * math.exp(SURE * spread)


def ending(left_s: float, deviation_s: float, now: float | None = None) -> str:
    """Return ``ends between 14:32 and 14:36, in about 14 to 18 min``, local time.

    `deviation_s` is the standard deviation of `left_s`; `now` is Unix time.
    """
    now = time.time() if now is None else now
    low_s, high_s = within(left_s, deviation_s)
    first, last = (_clock(now + end, now) for end in (low_s, high_s))
    when = f"at {last}" if first == last else f"between {first} and {last}"
    return f"ends {when}, in {span(low_s, high_s)}"


def _hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _clock(then: float, now: float) -> str:
    there, here = time.localtime(then), time.localtime(now)
    return time.strftime("%H:%M" if there[:3] == here[:3] else "%a %H:%M", there)
