"""Checks of a line's types, on which all later code relies.

A run that lacks figures is still an attempt, shown with a reason.
"""

from __future__ import annotations

from typing import Any

from paretopipe_runtime.contract.accuracy import Accuracy
from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.factors import OF_CELL, OF_WORKER
from paretopipe_runtime.contract.values import (
    LARGEST,
    NAME,
    Check,
    attempt,
    fits,
    flat,
    is_count,
    is_name,
    is_number,
    setting,
)
from paretopipe_runtime.errors import ParetoPipeError

MESSAGE = 400
_STAGES = 16  # more than any pipeline of small devices
_BLOCKS = 10_000  # more than any model has
_MOST_SCATTER = 10  # a log standard deviation: timings would differ by e^10


def plan(value: Any) -> bool:
    if not (isinstance(value, dict) and is_name(value.get("cell_id"))):
        return False
    # Of a profile's or a link's plan only the name is used.
    return bool(value.get("kind")) or fits(value, _PLAN)


def run(record: dict[str, Any]) -> bool:
    return attempt(record) and cut_points(record["factors"].get("cuts"))


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


def accuracy(record: dict[str, Any]) -> bool:
    """Tell whether a line has the counts of a split with a codec, or why there are none."""
    if not (is_name(record.get("cell_id")) and is_name(record.get("weights_digest"))):
        return False
    reason = record.get("reason")
    if reason is not None:
        return isinstance(reason, str) and 0 < len(reason) <= 10 * NAME
    try:
        return Accuracy.from_json(record).codec != NONE
    except (KeyError, TypeError, ValueError, ParetoPipeError):
        return False


def factors(value: dict[str, Any]) -> bool:
    return fits(value, _FACTORS)


def cut_points(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) < _STAGES
        and all(is_count(cut) and cut < _BLOCKS for cut in value)
    )


def expect_list(name: str, value: Any) -> None:
    """Raise ValueError unless this is a list of at most `_STAGES` + 1 objects."""
    if not isinstance(value, list) or len(value) > _STAGES + 1:
        raise ValueError(f"{name} is no list of at most {_STAGES + 1}")
    if not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{name} holds what is no object")


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= NAME


def _names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _STAGES and all(map(is_name, value))


def _splits(value: Any) -> bool:
    return value == "all" or (isinstance(value, list) and all(map(cut_points, value)))


def _codec(value: Any) -> bool:
    return isinstance(value, str) and value in CODECS


def _codecs(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_codec, value))


def _workers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _STAGES
        and all(isinstance(one, dict) and is_name(one.get("host")) for one in value)
        and all(_workers(one["replicas"]) for one in value if one.get("replicas") is not None)
        and setting(value)
    )


def _hops(value: Any) -> bool:
    return value is None or (
        isinstance(value, list)
        and all(isinstance(hop, dict) and flat(hop.get("netem")) for hop in value)
    )


def _scenario(value: Any) -> bool:
    if not isinstance(value, dict):
        return _text(value)
    return (
        _text(value.get("name"))
        and all(flat(value.get(key)) for key in ("netem", "measured"))
        and _hops(value.get("later_hops"))
        and all(
            known is None or is_number(known)
            for key in ("rtt_ms", "rate_mbit")
            for known in [(value.get("measured") or {}).get(key)]
        )
        and setting(value)
    )


def _netems(value: Any) -> bool:
    return isinstance(value, list) and all(map(flat, value))


def _provenance(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    parts = (value.get("options"), value.get("controller"))
    return all(part is None or isinstance(part, dict) for part in parts) and setting(value)


def _doubtful(value: Any) -> bool:
    return isinstance(value, dict) and all(one is None or is_number(one) for one in value.values())


def _candidates(value: Any) -> bool:
    try:
        cuts = [Candidate.from_json(one).cuts for one in value] if isinstance(value, list) else []
    except ParetoPipeError:
        return False
    return 0 < len(cuts) == len({*cuts}) and len(cuts) <= _BLOCKS


def _more(value: Any) -> bool:
    """Tell whether further rounds may say why they have a split: by its place, or by its name."""
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("why") or [], list | dict)
        and setting(entry)
        for entry in value
    )


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
    **{"scenario": _scenario, "netem": flat, "later_netem": _netems},
    **{"cuts": cut_points, "codec": _codec, "sentinel": _text},
}
_PLAN: dict[str, Check] = {
    **_SIZES,
    **_NAMED,
    **{"hub": setting, "workers": _workers, "splits": _splits, "codecs": _codecs},
    **{"scenario": _scenario},
    **{"repeats": _positive, "provenance": _provenance, "drift_limit": _limit},
    **{"cell_id": is_name, "doubtful": _doubtful, "candidates": _candidates, "more": _more},
    **{"predicted": _positive},
}
