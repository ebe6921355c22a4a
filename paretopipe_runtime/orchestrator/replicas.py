"""Reports of the hosts of one stage, joined to one stage's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice, zip_longest
from typing import Any

from paretopipe_runtime.contract.chain import Worker

_ABSENT = object()
#: Of a report: by batch; of all batches together; a digest for each neighbour.
_BY_BATCH = ("batches", "encode_s", "decode_s")
_TOTALS = ("payload_sent", "payload_received", "cpu_s")
_DIGESTS = ("encoded", "decoded")


def ready_of(workers: Sequence[Worker], answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each stage's answer: that of its last host to be ready."""
    return [max(own, key=lambda one: one["load_s"]) for own in _by_stage(workers, answers)]


def reports_of(
    workers: Sequence[Worker], reports: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return each stage's report: of its hosts' figures the sum, the mean load, the most memory."""
    return [own[0] if len(own) == 1 else _joined(own) for own in _by_stage(workers, reports)]


def _by_stage(workers: Sequence[Worker], told: Sequence[dict[str, Any]]) -> list[list[Any]]:
    left = iter(told)
    return [list(islice(left, len(worker.each))) for worker in workers]


def _joined(own: list[dict[str, Any]]) -> dict[str, Any]:
    first = own[0]
    found = {
        **first,
        **{key: _in_turn([one[key] for one in own]) for key in _BY_BATCH if key in first},
        **{key: sum(one[key] for one in own) for key in _TOTALS},
        **{key: [*chain(*(one[key] for one in own))] for key in _DIGESTS if key in first},
        "cpu_percent": sum(one["cpu_percent"] for one in own) / len(own),
        **{key: max(one[key] for one in own) for key in ("baseline_rss_bytes", "peak_rss_bytes")},
    }
    if "gpu" in first:
        found["gpu"] = {key: _most([one["gpu"].get(key) for one in own]) for key in first["gpu"]}
        found["gpu_s"] = {
            step: _in_turn([one["gpu_s"][step] for one in own]) for step in first["gpu_s"]
        }
    return found


def _in_turn(each: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the hosts' batches in the order of their numbers."""
    turns = chain(*zip_longest(*each, fillvalue=_ABSENT))
    return [one for one in turns if one is not _ABSENT]


def _most(values: Sequence[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)
