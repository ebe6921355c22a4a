"""Reduction of a run's record to medians and names, so that 100,000 runs fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import orjson

from paretopipe_runtime.contract import measures
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.replicas import hosts_at
from paretopipe_runtime.contract.values import amount, clean, flat, is_number, number
from reports.data import shape
from reports.data.shape import MESSAGE

MEASURED = tuple(figure.name for figure in measures.of("run"))
SPLIT, END_POINT, SENTINEL = "split", "end_point", "sentinel"  # roles of runs
# Counters of one run, which would make every host description unique.
_PASSING = {
    *("cpu_percent", "memory_percent", "bytes_sent", "bytes_received", "throttled_samples"),
    *("swapped_in_pages", "swapped_out_pages"),
}
_NUMBERS = {"memory_bytes", "cpu_count", "temperature_c", "gpu_memory_bytes"}


class Reducer:
    """Reducer that keeps one copy of equal parts."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, bytes], Record | None] = {}
        self._hosts: dict[tuple[Any, ...], Record] = {}
        self._names: dict[tuple[int, int], tuple[str, ...]] = {}
        self._texts: dict[str, str] = {}
        self._clean: dict[str, str] = {}

    def run(self, record: Record) -> Record | None:
        """Return the figures of a run that ``shape.run`` accepts; None for malformed settings.

        ``factors`` (without the repeat), ``network``, ``weights`` and ``hosts`` are shared between
        runs: never modify them. ``columns`` names the ``values``.
        """
        repeat = record["factors"].pop("repeat", None)
        network = record.get("network")
        asked = network.get("asked") if isinstance(network, dict) else None
        factors = self._shared("factors", record["factors"], _factors)
        asked = self._shared("asked", asked, _asked)
        if factors is None or asked is None:
            return None
        problem = ""
        if not (type(repeat) is int and 0 < repeat < 10**9):
            problem = f"incomplete:its repeat is {clean(repr(repeat), 40)}, expected 1 or more"
            repeat = None
        columns: tuple[str, ...] = ()
        values: tuple[Any, ...] = ()
        end = None
        try:
            columns, values = self._measured(record)
            end = _end_block(record)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            # The checksum held: written so, but unusable here.
            problem = problem or clean(f"incomplete:{type(error).__name__} {error}", MESSAGE)
        return {
            "cell_id": self._text(record["cell_id"]),
            "run_key": record["run_key"],
            "attempt": record["attempt"],
            "block_pass": record.get("block_pass") or 1,
            "status": self._name(record["status"]),
            "message": self._text(clean(record.get("message") or "", MESSAGE)),
            "started_at": clean(record.get("started_at") or "", 40) or None,
            "order": number(record.get("order")),
            "security": self._name(record.get("security")),
            "repeat": repeat,
            "role": self._text(str(factors.get("role") or SPLIT)),
            "factors": factors,
            "network": asked,
            "weights": self._shared("weights", record.get("weights"), _weights),
            "hosts": self._shared_hosts(record.get("hosts")),
            "end_block": end,
            "problem": problem,
            "columns": columns,
            "values": values,
        }

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _shared(self, kind: str, value: Any, make: Callable[[Any], Record | None]) -> Any:
        key = kind, _key(value)
        if key not in self._parts:
            self._parts[key] = make(value)
        return self._parts[key]

    def _shared_hosts(self, hosts: Any) -> Record:
        if not isinstance(hosts, dict):
            return {}
        found: list[tuple[str, Record]] = []
        for name, facts in hosts.items():
            if isinstance(facts, dict):
                for passing in _PASSING:
                    facts.pop(passing, None)
                found.append((str(self._name(name)), self._shared("facts", facts, _facts)))
        place = tuple([(name, id(facts)) for name, facts in found])
        if place not in self._hosts:
            self._hosts[place] = dict(found)
        return self._hosts[place]

    def _measured(self, record: Record) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Flatten a run's figures; a failed run may lack any."""
        stages, hops = record.get("stages") or [], record.get("hops") or []
        shape.expect_list("stages", stages)
        shape.expect_list("hops", hops)
        hosts = record.get("hosts") or {}
        values = self._values(_RUN, record)
        for stage in stages:
            host = hosts_at(str(stage.get("host")))[0]  # of equal hosts the first
            values += self._values(_STAGE, stage, hosts.get(host) or {})
        for hop in hops:
            values += self._values(_HOP[len(stages) > 2], hop)
        size = len(stages), len(hops)
        if size not in self._names:
            self._names[size] = (
                *MEASURED,
                *(
                    f"stage{k}_{f.name}"
                    for k in range(1, size[0] + 1)
                    for f in measures.of("stage")
                ),
                *(
                    f"hop{k}_{f.name}"
                    for k in range(1, size[1] + 1)
                    for f in measures.of("hop", size[0])
                ),
            )
        return self._names[size], tuple(values)

    def _values(self, figures: Sequence[_Reading], part: Record, host: Any = None) -> list[Any]:
        values: list[Any] = []
        for on_host, first, rest, text, read in figures:
            value = (host if on_host else part).get(first)
            for key in rest:
                value = (value or {}).get(key)
            value = read(value)
            values.append(self._name(value) if text else value)
        return values

    def _name(self, value: Any) -> str | None:
        if value is None:
            return None
        text = value if isinstance(value, str) else str(value)
        known = self._clean.get(text)
        if known is None:
            known = self._clean[text] = clean(text)
        return known


def _key(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # an integer beyond 64 bits, or nested too deeply
        return repr(value).encode("utf-8", "replace")


def _factors(factors: Record) -> Record | None:
    return _cleaned(factors) if shape.factors(factors) else None


def _asked(asked: Any) -> Record | None:
    return {"asked": asked} if flat(asked) else None


def _weights(stated: Any) -> Record:
    return stated if isinstance(stated, dict) and flat(stated) else {}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, 10 * MESSAGE)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    return value


def _facts(facts: Record) -> Record:
    return {
        clean(key): number(value)
        if key in _NUMBERS
        else (value if value is None or is_number(value) else clean(value))
        for key, value in facts.items()
    }


def _median(values: Sequence[Any] | None) -> float | None:
    if not values:
        return None
    if not isinstance(values, list) or not all(map(is_number, values)):
        raise ValueError(f"holds {clean(repr(values), 60)}, expected a list of numbers")
    return float(median(values))


def _end_block(record: Record) -> int | None:
    """Return the model's number of blocks, from the last stage."""
    stages = record.get("stages")
    end = stages[-1].get("end_block") if stages else None
    return end if shape.cut_points([end]) else None


_READ: dict[str, Callable[[Any], Any]] = {
    "text": lambda value: value,
    "first": lambda names: names[0] if names else None,
    "last": lambda names: names[-1] if names else None,
    "flag": lambda value: value if isinstance(value, bool) else None,
    "number": amount,
    "signed": number,
    "median": lambda values: amount(_median(values)),
    "signed median": _median,
    "rate": lambda phase: measures.sustained_img_s(phase) if phase else None,
}
#: On host, first key, other keys, is text, reader.
_Reading = tuple[bool, str, tuple[str, ...], bool, Callable[[Any], Any]]
_RUN, _STAGE, *_HOP = (
    [(f.on_host, f.path[0], f.path[1:], f.is_text, _READ[f.kind]) for f in figures]
    for figures in (
        *(measures.of("run"), measures.of("stage")),
        *(measures.of("hop", stages) for stages in (2, 3)),  # a chain's have more
    )
)
