"""One row per attempt, one column per variable: the table behind every number and the CSV."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import median
from typing import Any

import pandas as pd

from reports.data.records import Record
from reports.data.selection import PHASES, exclusions

FACTORS = (
    *("model", "classes", "image_px", "batch_size", "backend", "engine", "allocators"),
    *("pairing", "scenario", "split", "cuts", "repeat", "window", "input", *PHASES),
)
_RUN = ("cell_id", "run_key", "attempt", "status", "message", "started_at", "order", "security")
_MEASURED = (
    *("latency_s", "throughput_img_s", "throughput_steady_img_s", "network_s", "wall_s"),
    *("max_rel_err", "tolerance", "argmax_equal", "rtt_ms", "rate_mbit"),
)
COLUMNS = (*FACTORS, *_RUN, "counted", "excluded", *_MEASURED)


def tidy(runs: Sequence[Record]) -> pd.DataFrame:
    """Return every attempt as a row; ``counted`` says whether the report uses its numbers."""
    rows = []
    for run, excluded in zip(runs, exclusions(runs), strict=True):
        try:
            measured = _measured(run)
            if not excluded and not _complete(measured):
                excluded = "incomplete:latency or throughput is missing or not a positive number"
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            # The checksum held, so this is what was written: a record this reader cannot use.
            measured = {}
            excluded = excluded or f"incomplete:{type(error).__name__} {error}"
        rows.append(
            {
                **{key: run["factors"].get(key) for key in FACTORS},
                **{key: run.get(key) for key in _RUN},
                "engine": run["factors"].get("engine") or "eager",
                "allocators": "-".join(map(str, run["factors"].get("allocators") or ())) or None,
                "scenario": scenario_name(run["factors"].get("scenario")),
                "cuts": "-".join(str(cut) for cut in run["factors"]["cuts"]),
                "split": split_name(run["factors"]),
                "counted": not excluded,
                "excluded": excluded,
                **measured,
            }
        )
    found = [key for row in rows for key in row]
    # dict.fromkeys: each column once, fixed ones first, stage and hop columns as they appear.
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys([*COLUMNS, *sorted(set(found))])))
    # Without a row pandas cannot know that these are truth values to select by.
    return frame.astype({"counted": bool})


def scenario_name(scenario: Any) -> str:
    """Return a scenario's name, whether stated alone or with its network settings."""
    return str(scenario.get("name")) if isinstance(scenario, dict) else str(scenario)


def split_name(factors: Record) -> str:
    """Return the split's name: as recorded, or P and its cut points."""
    return str(factors.get("split") or "P" + "-".join(str(cut) for cut in factors["cuts"]))


def csv(frame: pd.DataFrame) -> str:
    """Return the table as CSV, the same text for the same records on every platform."""
    return frame.to_csv(index=False, lineterminator="\n")


def _complete(measured: dict[str, Any]) -> bool:
    values = (measured.get("latency_s"), measured.get("throughput_img_s"))
    return all(isinstance(v, int | float) and isfinite(v) and v > 0 for v in values)


def _measured(run: Record) -> dict[str, Any]:
    """Flatten what a run measured; a failed run may have any part of it missing."""
    throughput, proof = run.get("throughput") or {}, run.get("proof") or {}
    network = (run.get("network") or {}).get("measured") or {}
    row: dict[str, Any] = {
        "latency_s": (run.get("latency") or {}).get("median_s"),
        "throughput_img_s": throughput.get("img_s"),
        "throughput_steady_img_s": throughput.get("steady_img_s"),
        "network_s": _median((run.get("network_s") or {}).get("latency")),
        "wall_s": run.get("wall_s"),
        "max_rel_err": proof.get("max_rel_err"),
        "tolerance": proof.get("tolerance"),
        "argmax_equal": proof.get("argmax_equal"),
        "rtt_ms": network.get("rtt_ms"),
        "rate_mbit": network.get("rate_mbit"),
    }
    for number, stage in enumerate(run.get("stages") or [], start=1):
        names = stage.get("block_names") or []
        row |= {
            f"stage{number}_host": stage.get("host"),
            f"stage{number}_first_block": names[0] if names else None,
            f"stage{number}_last_block": names[-1] if names else None,
            f"stage{number}_compute_s": _median((stage.get("compute_s") or {}).get("latency")),
            f"stage{number}_cpu_percent": stage.get("cpu_percent"),
            f"stage{number}_load_s": stage.get("load_s"),
            f"stage{number}_partition_bytes": stage.get("partition_bytes"),
            f"stage{number}_baseline_rss_bytes": stage.get("baseline_rss_bytes"),
            f"stage{number}_peak_rss_bytes": stage.get("peak_rss_bytes"),
            f"stage{number}_allocator": stage.get("allocator"),
        }
    for number, hop in enumerate(run.get("hops") or [], start=1):
        row |= {
            f"hop{number}_from": hop.get("from"),
            f"hop{number}_to": hop.get("to"),
            f"hop{number}_via": hop.get("via"),
            f"hop{number}_bytes_per_batch": hop.get("bytes_per_batch"),
        }
    return row


def _median(values: Sequence[float] | None) -> float | None:
    return float(median(values)) if values else None
