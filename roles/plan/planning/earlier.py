"""Measurements of earlier sweeps, as far as they tell how long the next one takes.

Reads records without checking or mending them: an estimate survives a lost line.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paretopipe_runtime.contract.lines import PLAN, WITHDRAWAL, Record
from paretopipe_runtime.contract.splits import Cuts, cuts_of
from paretopipe_runtime.errors import ParetoPipeError

_PROFILES = "*/*.profile*.jsonl"


@dataclass(frozen=True)
class Profile:
    """Seconds of a batch of a whole model on the host that had `address` then."""

    address: str
    device: str
    model: str
    engine: str
    image_px: int
    batch: int
    whole_s: float
    at: str


@dataclass(frozen=True)
class Done:
    """A valid run's split or host, seconds, and what tells a doubtful plan's from others."""

    name: str
    wall_s: float
    cuts: Cuts
    repeat: int


def done(path: Path) -> dict[str, Done]:
    """Return a cell's valid runs by key."""
    found: dict[tuple[str, int], Done] = {}
    for record in _records(path):
        with contextlib.suppress(KeyError, ParetoPipeError):
            which = record["run_key"], record["attempt"]
            if record["kind"] == WITHDRAWAL:
                found.pop(which, None)
            elif record["status"] == "ok":
                factors = record["factors"]
                name = str(factors.get("split", factors.get("host", "")))
                place = cuts_of({"cuts": (), **factors}), factors.get("repeat", 0)
                found[which] = Done(name, float(record["wall_s"]), *place)
    return {key: seen for (key, _), seen in found.items()}


def profiles(results: Path) -> list[Profile]:
    """Return all profiles of all sweeps, the latest last."""
    found = []
    for path in results.glob(_PROFILES):
        addresses: dict[str, str] = {}
        for record in _records(path):
            with contextlib.suppress(KeyError, statistics.StatisticsError):
                if record["kind"] == PLAN:
                    addresses = {w["host"]: w["address"] for w in record["plan"]["workers"]}
                elif record["kind"] == "profile" and record["status"] == "ok":
                    found.append(_profile(record, addresses))
    return sorted(found, key=lambda profile: profile.at)


def _profile(record: Record, addresses: dict[str, str]) -> Profile:
    factors = record["factors"]
    return Profile(
        addresses[factors["host"]],
        *(factors.get("device", "cpu"), factors["model"], factors["engine"]),
        *(factors["image_px"], factors["batch_size"]),
        *(statistics.median(record["whole_s"]), str(record["started_at"])),
    )


def _records(path: Path) -> Iterator[Record]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and "kind" in record:
                    yield record
