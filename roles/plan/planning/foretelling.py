"""Foretell how long a sweep takes, before anything is touched."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.plan import Plan, read_plan, read_workload
from paretopipe_runtime.orchestrator.duration import VISIT_S, run_seconds
from paretopipe_runtime.orchestrator.pace import Pace
from paretopipe_runtime.orchestrator.runs import Run, expand

from .blocks import blocks_of
from .earlier import done
from .speeds import Speed, Speeds

RECORDS = "earlier runs of this sweep"
#: Seconds of a profile's launch on a host.
_LAUNCH_S = 1.0


@dataclass(frozen=True)
class Foretold:
    """Rest of a sweep: runs, seconds, and what the seconds rest on."""

    runs: int
    seconds: float
    sources: tuple[str, ...]


@dataclass(frozen=True)
class _Cell:
    """A cell's missing runs, and the seconds of each split's, estimated and as far as measured."""

    plan: Plan
    left: list[Run]
    estimate_s: Mapping[str, float]
    measured_s: Mapping[str, float]
    speeds: list[Speed]

    @property
    def ratio(self) -> float | None:
        ratios = [s / self.estimate_s[name] for name, s in self.measured_s.items()]
        return statistics.median(ratios) if ratios else None

    def seconds(self, ratio: float) -> float:
        """Return the seconds left; some rounds will drift and be measured again."""
        once_s = sum(
            self.measured_s.get(run.split, ratio * self.estimate_s[run.split]) for run in self.left
        )
        watched = self.plan.sentinel and self.plan.drift_limit > 0
        closings = sum(run.role == "close" for run in self.left) if watched else 0
        return Pace().foresee(once_s, closings)[0] + VISIT_S * bool(self.left)


def foretell(planned: Mapping[str, Any], speeds: Speeds, results: Path) -> Foretold | None:
    """Return what is left of a planned sweep, None if nothing tells a host's speed.

    Parameters
    ----------
    planned : mapping
        As `planning.cells.plan_cells` returns it.
    results : Path
        Folder with a folder of records for each sweep.
    """
    folder = results / planned["sweep"]
    documents = [cell["plan"] for scenario in planned["scenarios"] for cell in scenario["cells"]]
    found = [_cell(document, speeds, folder) for document in documents]
    cells = [cell for cell in found if cell]
    profiles = [_profile_s(one["plan"], speeds, folder) for one in planned["profiles"]]
    if len(cells) < len(found) or None in profiles:
        return None
    known = [cell.ratio for cell in cells if cell.ratio is not None]
    others = statistics.median(known) if known else 1.0
    rests = [source for cell in cells for speed in cell.speeds for source in speed.sources]
    return Foretold(
        sum(len(cell.left) for cell in cells),
        sum(cell.seconds(cell.ratio or others) for cell in cells)
        + sum(seconds for seconds in profiles if seconds),
        (RECORDS,) if known else tuple(dict.fromkeys(rests)),
    )


def split_seconds(document: Mapping[str, Any], speeds: Speeds) -> dict[tuple[int, ...], float]:
    """Return the seconds of one run of each split of a cell; empty if nothing tells them."""
    cell = _cell(document, speeds, Path())
    if cell is None:
        return {}
    return {run.cuts: cell.estimate_s[run.split] for run in cell.left if run.role == "split"}


def _cell(document: Mapping[str, Any], speeds: Speeds, folder: Path) -> _Cell | None:
    plan = read_plan(dict(document))
    blocks = blocks_of(plan.workload)
    own = {
        worker.host: speeds.of(plan.workload, worker.host, worker.address, worker.device)
        for worker in plan.chain.workers
    }
    known = {host: speed for host, speed in own.items() if speed}
    if len(known) < len(own):
        return None
    runs = expand(plan, blocks.hop_bytes)
    whole_s = {host: speed.whole_s for host, speed in known.items()}
    estimate_s = {
        run.split: run_seconds(plan.chain, run, blocks.work, blocks.hop_bytes(run.cuts), whole_s)
        for run in runs
        if run.repeat == 1
    }
    records = done(folder / f"{plan.cell_id}.jsonl")
    left = [run for run in runs if run.key not in records] if records else runs
    taken: dict[str, list[float]] = {}
    for name, seconds in records.values():
        if name in estimate_s:
            taken.setdefault(name, []).append(seconds)
    measured_s = {name: statistics.median(times) for name, times in taken.items()}
    return _Cell(plan, left, estimate_s, measured_s, [*known.values()])


def _profile_s(document: Mapping[str, Any], speeds: Speeds, folder: Path) -> float | None:
    """Return the seconds left of a profile: half of its batches go block by block, half whole."""
    workload = read_workload(dict(document))
    batches = 2 * (document["warmup_batches"] + document["batches"])
    records = done(folder / f"{document['cell_id']}.jsonl").values()
    total_s = 0.0
    for fields in document["workers"]:
        host, device = fields["host"], fields.get("device", "cpu")
        speed = speeds.of(workload, host, fields["address"], device)
        if speed is None:
            return None
        left = document["repeats"] - sum(name == host for name, _ in records)
        total_s += max(0, left) * (batches * speed.whole_s + _LAUNCH_S)
    return total_s
