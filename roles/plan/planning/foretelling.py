"""Foretell how long a sweep takes, before anything is touched."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.plan import Plan, read_plan, read_workload
from paretopipe_runtime.contract.splits import split_name
from paretopipe_runtime.orchestrator.duration import VISIT_S, run_seconds
from paretopipe_runtime.orchestrator.foreseen import foreseen, in_time
from paretopipe_runtime.orchestrator.pace import Pace
from paretopipe_runtime.orchestrator.runs import Run, end_points, expand, run_of

from .blocks import blocks_of
from .earlier import done
from .speeds import Speed, Speeds

RECORDS = "earlier runs of this sweep"
#: A folder without records.
NOWHERE = Path("/nonexistent")
#: Seconds of a profile's launch on a host.
_LAUNCH_S = 1.0


@dataclass(frozen=True)
class Foretold:
    """Rest of a sweep: runs, seconds, and what the seconds rest on; `at_most` if it may be less."""

    runs: int
    seconds: float
    sources: tuple[str, ...]
    at_most: bool = False


@dataclass(frozen=True)
class _Cell:
    """A cell's missing runs, and the seconds of each split's, estimated and as far as measured.

    `spent_s`: seconds of all that is measured, together.
    """

    plan: Plan
    missing: list[Run]
    estimate_s: Mapping[str, float]
    measured_s: Mapping[str, float]
    spent_s: float
    speeds: list[Speed]

    @property
    def ratio(self) -> float | None:
        ratios = [s / self.estimate_s[name] for name, s in self.measured_s.items()]
        return statistics.median(ratios) if ratios else None

    def left(self, ratio: float) -> tuple[int, float]:
        """Return runs and seconds left; some rounds will drift and be measured again."""
        split_s = {name: ratio * s for name, s in self.estimate_s.items()} | self.measured_s
        runs = in_time(self.plan, self.missing, split_s, self.spent_s)
        watched = self.plan.sentinel and self.plan.drift_limit > 0
        closings = sum(run.role == "close" for run in runs) if watched else 0
        once_s = sum(split_s[run.split] for run in runs)
        return len(runs), Pace().foresee(once_s, closings)[0] + VISIT_S * bool(runs)


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
    profiles = [profile_seconds(one["plan"], speeds, folder) for one in planned["profiles"]]
    if len(cells) < len(found) or None in profiles:
        return None
    known = [cell.ratio for cell in cells if cell.ratio is not None]
    others = statistics.median(known) if known else 1.0
    rests = [source for cell in cells for speed in cell.speeds for source in speed.sources]
    left = [cell.left(cell.ratio or others) for cell in cells]
    return Foretold(
        sum(runs for runs, _ in left),
        sum(seconds for _, seconds in left) + sum(seconds for seconds in profiles if seconds),
        (RECORDS,) if known else tuple(dict.fromkeys(rests)),
        any(cell.plan.doubtful for cell in cells),
    )


def split_seconds(document: Mapping[str, Any], speeds: Speeds) -> dict[tuple[int, ...], float]:
    """Return the seconds of one run of each split of a cell; empty if nothing tells them."""
    # All of them, which a doubtful plan's estimate does without.
    cell = _cell({**document, "doubtful": None}, speeds, NOWHERE)
    if cell is None:
        return {}
    return {cuts: cell.estimate_s[split_name(cuts)] for cuts in cell.plan.splits}


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
    ends = [run_of(plan, blocks.hop_bytes, cuts, 1, 0, "end_point") for cuts in end_points(plan)]
    records = done(folder / f"{plan.cell_id}.jsonl")
    if plan.doubtful:  # any run of a split counts, whichever it is
        splits = {*plan.splits}
        recorded = {
            key: run_of(plan, blocks.hop_bytes, one.cuts, one.repeat)
            for key, one in records.items()
            if one.cuts in splits
        }
        left = [run for run in ends if run.key not in records]
        left += foreseen(plan, blocks.hop_bytes, sum(k == r.key for k, r in recorded.items()))
        each = [*recorded.values(), *left]
    else:
        each = expand(plan, blocks.hop_bytes)
        left = [run for run in each if run.key not in records] if records else each
    whole_s = {host: speed.whole_s for host, speed in known.items()}
    estimate_s = {
        name: run_seconds(plan.chain, run, blocks.work, blocks.hop_bytes(run.cuts), whole_s)
        for name, run in {run.split: run for run in (*each, *ends)}.items()
    }
    taken: dict[str, list[float]] = {}
    for one in records.values():
        if one.name in estimate_s:
            taken.setdefault(one.name, []).append(one.wall_s)
    measured_s = {name: statistics.median(times) for name, times in taken.items()}
    spent_s = sum(map(sum, taken.values()))
    return _Cell(plan, left, estimate_s, measured_s, spent_s, [*known.values()])


def profile_seconds(
    document: Mapping[str, Any], speeds: Speeds, folder: Path = NOWHERE
) -> float | None:
    """Return the seconds left of a profile: so many batches by block, with codecs, and whole."""
    workload = read_workload(dict(document))
    passes = 3 if document.get("codecs") else 2
    batches = passes * (document["warmup_batches"] + document["batches"])
    records = done(folder / f"{document['cell_id']}.jsonl").values()
    total_s = 0.0
    for fields in document["workers"]:
        host, device = fields["host"], fields.get("device", "cpu")
        speed = speeds.of(workload, host, fields["address"], device)
        if speed is None:
            return None
        left = document["repeats"] - sum(one.name == host for one in records)
        total_s += max(0, left) * (batches * speed.whole_s + _LAUNCH_S)
    return total_s
