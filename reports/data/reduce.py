"""From a run's record to the few numbers and names that a report uses of it.

A record has every batch; a report of 100,000 runs can hold medians only. What many runs share,
settings and hosts, is kept once.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import orjson

from paretopipe_runtime.contract.lines import Record
from reports.data import shape
from reports.data.text import MESSAGE, amount, clean, is_number, number

MEASURED = (
    *("latency_s", "throughput_img_s", "throughput_steady_img_s", "network_s", "wall_s"),
    *("max_rel_err", "tolerance", "argmax_equal", "rtt_ms", "rate_mbit"),
    *("weights_digest", "input_digest"),
)
STAGE = (
    *("host", "device", "first_block", "last_block", "compute_s", "cpu_percent", "gpu_percent"),
    *("host_cpu_percent", "host_memory_percent", "load_s", "parameters", "partition_bytes"),
    *("baseline_rss_bytes", "peak_rss_bytes", "allocator"),
    *("gpu_used_bytes", "gpu_others", "gpu_copy_in_s", "gpu_copy_out_s"),
)
HOP = ("from", "to", "via", "cipher", "bytes_per_batch")
SPLIT, END_POINT, SENTINEL = "split", "end_point", "sentinel"  # what a run is measured for
# Counted by every run anew; as part of a host's description they would make each one unique.
_PASSING = {"cpu_percent", "memory_percent", "bytes_sent", "bytes_received", "throttled_samples"}
_NUMBERS = {"memory_bytes", "cpu_count", "temperature_c", "gpu_memory_bytes"}


class Reducer:
    """Reduce records one by one, keeping a single copy of what is equal in many."""

    def __init__(self) -> None:
        self._factors: dict[bytes, Record | None] = {}
        self._facts: dict[bytes, Record] = {}
        self._hosts: dict[tuple[Any, ...], Record] = {}
        self._asked: dict[bytes, Record] = {}
        self._weights: dict[bytes, Record] = {}
        self._names: dict[tuple[int, int], tuple[str, ...]] = {}
        self._texts: dict[str, str] = {}
        self._clean: dict[str, str] = {}

    def run(self, record: Record) -> Record | None:
        """Return what a report uses of a run; None where its settings are no settings.

        ``factors`` (without the repeat, which has its own key), ``network``, ``weights`` and
        ``hosts`` are shared between runs: nobody may change them. ``columns`` names what
        ``values`` holds.
        """
        if not shape.run(record):
            return None
        repeat = record["factors"].pop("repeat", None)
        factors = self._shared_factors(record["factors"])
        asked = self._shared_asked(record.get("network"))
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
            # The checksum held, so this is what was written: a record this reader cannot use.
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
            "weights": self._shared_weights(record.get("weights")),
            "hosts": self._shared_hosts(record.get("hosts")),
            "end_block": end,
            "problem": problem,
            "columns": columns,
            "values": values,
        }

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _shared_factors(self, factors: Record) -> Record | None:
        key = _key(factors)
        if key not in self._factors:
            self._factors[key] = _cleaned(factors) if shape.factors(factors) else None
        return self._factors[key]

    def _shared_asked(self, network: Any) -> Record | None:
        asked = network.get("asked") if isinstance(network, dict) else None
        key = _key(asked)
        if key not in self._asked:
            self._asked[key] = {"asked": asked} if shape.flat(asked) else {}
        return self._asked[key] or None

    def _shared_weights(self, stated: Any) -> Record:
        if not (isinstance(stated, dict) and shape.flat(stated)):
            return {}
        return self._weights.setdefault(_key(stated), stated)

    def _shared_hosts(self, hosts: Any) -> Record:
        if not isinstance(hosts, dict):
            return {}
        found: list[tuple[str, Record]] = []
        for name, facts in hosts.items():
            if isinstance(facts, dict):
                for passing in _PASSING:
                    facts.pop(passing, None)
                key = _key(facts)
                if key not in self._facts:
                    self._facts[key] = _facts(facts)
                found.append((str(self._name(name)), self._facts[key]))
        place = tuple([(name, id(facts)) for name, facts in found])
        if place not in self._hosts:
            self._hosts[place] = dict(found)
        return self._hosts[place]

    def _measured(self, record: Record) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Flatten what a run measured; a failed run may have any part of it missing."""
        throughput, proof = record.get("throughput") or {}, record.get("proof") or {}
        network = (record.get("network") or {}).get("measured") or {}
        equal = proof.get("argmax_equal")
        values: list[Any] = [
            number((record.get("latency") or {}).get("median_s")),
            number(throughput.get("img_s")),
            amount(throughput.get("steady_img_s")),
            _median((record.get("network_s") or {}).get("latency")),
            amount(record.get("wall_s")),
            amount(proof.get("max_rel_err")),
            amount(proof.get("tolerance")),
            equal if isinstance(equal, bool) else None,
            amount(network.get("rtt_ms")),
            amount(network.get("rate_mbit")),
            self._name(proof.get("weights_digest")),
            self._name(proof.get("input_digest")),
        ]
        stages, hops = record.get("stages") or [], record.get("hops") or []
        shape.expect_list("stages", stages)
        shape.expect_list("hops", hops)
        hosts = record.get("hosts") or {}
        for stage in stages:
            values += self._stage(stage, hosts)
        for hop in hops:
            values += [self._name(hop.get(key)) for key in HOP[:-1]]
            values.append(amount(hop.get("bytes_per_batch")))
        size = len(stages), len(hops)
        if size not in self._names:
            self._names[size] = (
                *MEASURED,
                *(f"stage{k}_{key}" for k in range(1, size[0] + 1) for key in STAGE),
                *(f"hop{k}_{key}" for k in range(1, size[1] + 1) for key in HOP),
            )
        return self._names[size], tuple(values)

    def _stage(self, stage: Record, hosts: Record) -> list[Any]:
        names = stage.get("block_names") or []
        host = hosts.get(str(stage.get("host"))) or {}
        compute_s = _median((stage.get("compute_s") or {}).get("latency"))
        return [
            self._name(stage.get("host")),
            self._name(stage.get("device")),
            self._name(names[0]) if names else None,
            self._name(names[-1]) if names else None,
            amount(compute_s),
            amount(stage.get("cpu_percent")),
            amount(stage.get("gpu_percent")),
            amount(host.get("cpu_percent")),
            amount(host.get("memory_percent")),
            amount(stage.get("load_s")),
            amount(stage.get("parameters")),
            amount(stage.get("partition_bytes")),
            amount(stage.get("baseline_rss_bytes")),
            amount(stage.get("peak_rss_bytes")),
            self._name(stage.get("allocator")),
            amount(stage.get("gpu_used_bytes")),
            amount(stage.get("gpu_others")),
            *(
                amount(_median((stage.get(f"gpu_{way}_s") or {}).get("latency")))
                for way in ("copy_in", "copy_out")
            ),
        ]

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


def _cleaned(value: Any) -> Any:
    """Return a setting with its texts fit to print."""
    if isinstance(value, str):
        return clean(value, 10 * MESSAGE)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    return value


def _facts(facts: Record) -> Record:
    """Return a host's description as plain values; numbers where numbers are meant."""
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
    """Return how many blocks the model of a run has, by its last stage."""
    stages = record.get("stages")
    end = stages[-1].get("end_block") if stages else None
    return end if shape.cut_points([end]) else None
