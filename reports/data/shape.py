"""Checks of a line's types, on which all later code relies, and safe text and numbers from it.

A run that lacks figures is still an attempt, shown with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from paretopipe_runtime.contract.factors import OF_CELL, OF_WORKER

NAME = 200  # characters, above any name that ParetoPipe gives
MESSAGE = 400
# Above any real figure; its square is finite.
LARGEST = 1e15
_STAGES = 16  # more than any pipeline of small devices
_BLOCKS = 10_000  # more than any model has
_DEEPEST = 6  # levels of lists and objects inside a setting
_MOST_SCATTER = 10  # a log standard deviation: timings would differ by e^10

Check = Callable[[Any], bool]


def clean(value: Any, limit: int = NAME) -> str:
    """Return printable text, cut with an ellipsis."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number of believable size."""
    kind = type(value)
    return (kind is float or kind is int) and -LARGEST < value < LARGEST


def is_count(value: Any, least: int = 0) -> bool:
    """Tell whether a value is an integer of believable size."""
    return type(value) is int and least <= value < LARGEST


def number(value: Any) -> float | None:
    """Return a number as it is, anything else as None."""
    kind = type(value)
    ok = (kind is float or kind is int) and -LARGEST < value < LARGEST
    return value if ok else None


def amount(value: Any) -> float | None:
    """Return a non-negative number as it is, anything else as None."""
    kind = type(value)
    ok = (kind is float or kind is int) and 0 <= value < LARGEST
    return value if ok else None


def plan(value: Any) -> bool:
    if not (isinstance(value, dict) and is_name(value.get("cell_id"))):
        return False
    # Of a profile's or a link's plan only the name is used.
    return bool(value.get("kind")) or _fits(value, _PLAN)


def run(record: dict[str, Any]) -> bool:
    return attempt(record) and cut_points(record["factors"].get("cuts"))


def attempt(record: dict[str, Any]) -> bool:
    return (
        is_count(record.get("attempt"))
        and is_name(record.get("run_key"))
        and is_name(record.get("cell_id"))
        and isinstance(record.get("status"), str)
        and is_count(record.get("block_pass", 1), 1)
        and isinstance(record.get("factors"), dict)
    )


def drift(record: dict[str, Any]) -> bool:
    limit, beyond = record.get("limit"), record.get("beyond")
    return (
        is_name(record.get("cell_id"))
        and isinstance(limit, dict)
        and all(all(map(_limit, limits(limit.get(key)))) for key in ("latency", "throughput"))
        and isinstance(beyond, list)
        and all(is_count(number, 1) for number in beyond)
    )


def limits(value: Any) -> list[Any]:
    """Return a verdict's limits by round; the first verdicts have one for all."""
    return value if isinstance(value, list) else [value]


def noise(record: dict[str, Any]) -> bool:
    hosts = record.get("hosts")
    return (
        is_name(record.get("cell_id"))
        and isinstance(hosts, dict)
        and len(hosts) <= _STAGES
        and all(
            is_name(host) and isinstance(figures, dict) and _scatter(figures.get("scatter"))
            for host, figures in hosts.items()
        )
    )


def factors(value: dict[str, Any]) -> bool:
    return _fits(value, _FACTORS)


def settings(value: dict[str, Any]) -> bool:
    return _fits(value, {})


def cut_points(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) < _STAGES
        and all(is_count(cut) and cut < _BLOCKS for cut in value)
    )


def flat(value: Any) -> bool:
    """Tell whether this is None or a dict of scalars."""
    return value is None or (
        isinstance(value, dict)
        and not any(isinstance(item, list | dict) for item in value.values())
        and _setting(value)
    )


def expect_list(name: str, value: Any) -> None:
    """Raise ValueError unless this is a list of at most `_STAGES` + 1 objects."""
    if not isinstance(value, list) or len(value) > _STAGES + 1:
        raise ValueError(f"{name} is no list of at most {_STAGES + 1}")
    if not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{name} holds what is no object")


def _fits(values: dict[str, Any], checks: dict[str, Check]) -> bool:
    # Null means not stated.
    return all(
        value is None or (checks.get(key, _setting)(value) and len(key) <= NAME)
        for key, value in values.items()
    )


def _setting(value: Any, deep: int = 0) -> bool:
    """Tell whether this is a scalar or a shallow structure."""
    if isinstance(value, list | dict):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        named = all(len(key) <= NAME for key in value) if isinstance(value, dict) else True
        return deep < _DEEPEST and named and all(_setting(item, deep + 1) for item in inner)
    return (
        value is None
        or isinstance(value, bool)
        or is_number(value)
        or (isinstance(value, str) and len(value) <= 10 * NAME)
    )


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= NAME


def _names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _STAGES and all(map(is_name, value))


def _splits(value: Any) -> bool:
    return value == "all" or (isinstance(value, list) and all(map(cut_points, value)))


def _workers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _STAGES
        and all(isinstance(worker, dict) and is_name(worker.get("host")) for worker in value)
        and _setting(value)
    )


def _scenario(value: Any) -> bool:
    if not isinstance(value, dict):
        return _text(value)
    return (
        _text(value.get("name"))
        and all(flat(value.get(key)) for key in ("netem", "measured"))
        and all(
            known is None or is_number(known)
            for key in ("rtt_ms", "rate_mbit")
            for known in [(value.get("measured") or {}).get(key)]
        )
        and _setting(value)
    )


def _provenance(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    parts = (value.get("options"), value.get("controller"))
    return all(part is None or isinstance(part, dict) for part in parts) and _setting(value)


def _positive(value: Any) -> bool:
    return is_count(value, 1)


def _limit(value: Any) -> bool:
    return is_number(value) and 0 <= value < LARGEST


def _scatter(value: Any) -> bool:
    return is_number(value) and 0 <= value < _MOST_SCATTER


_SIZES: dict[str, Check] = {
    key: _positive
    for key in ("classes", "image_px", "batch_size", "latency_batches", "throughput_batches")
} | {"window": _positive, "warmup_batches": is_count}
_NAMED: dict[str, Check] = {
    key: _text
    for key in (
        *(factor.key for factor in OF_CELL),
        *("model", "pairing", "split", "hub", "role", "input", "weights", "weights_digest"),
    )
}
_FACTORS: dict[str, Check] = {
    **_SIZES,
    **_NAMED,
    **{"hosts": _names, **{factor.key: _names for factor in OF_WORKER}},
    **{"scenario": _scenario, "netem": flat},
    **{"cuts": cut_points, "sentinel": _text},
}
_PLAN: dict[str, Check] = {
    **_SIZES,
    **_NAMED,
    **{"hub": _setting, "workers": _workers, "splits": _splits, "scenario": _scenario},
    **{"repeats": _positive, "provenance": _provenance, "drift_limit": _limit},
    "cell_id": is_name,
}
