"""The progress file: how far a sweep is, and how long the rest should take."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paretopipe_runtime.files import offer_json
from paretopipe_runtime.orchestrator.pace import STEADY, Learned, Pace
from paretopipe_runtime.orchestrator.runs import Run


class Progress:
    """Keep the progress file of one cell.

    The time left is the plan's estimate for the runs to come, scaled by how measured runs compared
    with theirs, here and in the cells before; a split that has been measured stands for itself.
    Rounds that drifted count once more, and of those to come some do.

    Parameters
    ----------
    path : Path or None
        Where to keep it; None keeps none.
    cell_id : str
    runs : list of Run
        All that the plan has.
    done : dict
        The valid records of those that need not be measured, by key.
    estimate_s : dict
        The estimated seconds of each split, by its name.
    others : list of Learned
        What other cells of the sweep showed.
    """

    def __init__(
        self,
        path: Path | None,
        cell_id: str,
        runs: Sequence[Run],
        done: dict[str, dict[str, Any]],
        estimate_s: dict[str, float],
        others: Sequence[Learned] = (),
    ) -> None:
        self._path = path
        self._others = others
        self._waiting, self._to_come, self._judged, self._drifted = 0, 0, 0, 0
        self._estimate_s = estimate_s
        self._measured_s: dict[str, list[float]] = {}
        self._left = {run.key: run.split for run in runs if run.key not in done}
        self._repeats = max((run.repeat for run in runs), default=0)
        self._round = [run.split for run in runs if run.repeat == 1]
        reused = len(runs) - len(self._left)
        self._began = time.monotonic()
        for run in runs:
            if row := done.get(run.key):
                self._measured_s.setdefault(run.split, []).append(row["wall_s"])
        self._state: dict[str, Any] = {
            "cell_id": cell_id,
            "runs_total": len(runs),
            "runs_done": reused,
            "runs_reused": reused,
            "failed": 0,
            "invalid": 0,
            "current": "",
            "last": "",
            "finished": False,
        }
        self.write()

    @property
    def total(self) -> int:
        """All runs, those of a repeated round twice."""
        return int(self._state["runs_total"])

    @property
    def left(self) -> int:
        """Runs without a valid record."""
        return len(self._left)

    def add(self, runs: Sequence[Run]) -> None:
        """Add runs that the plan did not have at first, or that are measured once more."""
        added = {run.key: run.split for run in runs if run.key not in self._left}
        self._repeats = max(self._repeats, *(run.repeat for run in runs), 0)
        self._left.update(added)
        self._state["runs_total"] += len(added)

    def foresee(self, waiting: int, to_come: int, judged: int, drifted: int) -> None:
        """Note how many rounds wait to be measured again, are to come, were judged, drifted."""
        self._waiting, self._to_come = waiting, to_come
        self._judged, self._drifted = judged, drifted

    def begin(self, run: Run, again: str = "") -> None:
        """Show a run that starts, and why it is measured again."""
        place = f", {again}" if again else f" repeat {run.repeat}/{self._repeats}"
        self._state["current"] = f"{run.split}{place}"
        self.write()

    def end(self, run: Run, row: dict[str, Any]) -> None:
        """Count a record."""
        status = row["status"]
        if status == "ok":
            self._left.pop(run.key, None)
            self._measured_s.setdefault(run.split, []).append(row["wall_s"])
            self._state["runs_done"] += 1
            self._state["last"] = f"ok {run.split} {_figures(row)}".strip()
        else:
            self._state["failed" if status.startswith("failed") else "invalid"] += 1
            self._state["last"] = f"{status} {run.split} {row['message']}".strip()
        self.write()

    @property
    def learned(self) -> Learned:
        """The cell's pace so far, for cells after it."""
        ratios = [
            statistics.median(times) / self._estimate_s[split]
            for split, times in self._measured_s.items()
            if self._estimate_s.get(split)
        ]
        runs = sum(map(len, self._measured_s.values())) if ratios else 0
        ratio = statistics.median(ratios) if ratios else 1.0
        return Learned(ratio, runs, self._judged, self._drifted)

    def left_s(self) -> tuple[float, float]:
        """Return the seconds that the rest should take, and their deviation."""
        pace = Pace.of(self._others, self.learned)
        known_s = guessed_s = 0.0
        for split in self._left.values():
            if split in self._measured_s:
                known_s += self._seconds(split, pace)
            else:
                guessed_s += self._seconds(split, pace)
        round_s = sum(self._seconds(split, pace) for split in self._round)
        likely = self._waiting + self._to_come * pace.again
        unsure = math.sqrt(self._to_come * pace.again * (1 - pace.again))
        several = STEADY * (known_s + self._waiting * round_s) + pace.spread * guessed_s
        return known_s + guessed_s + likely * round_s, math.hypot(several, unsure * round_s)

    def _seconds(self, split: str, pace: Pace) -> float:
        times = self._measured_s.get(split)
        return statistics.median(times) if times else pace.ratio * self._estimate_s.get(split, 0.0)

    def write(self, *, finished: bool = False) -> None:
        """Replace the file."""
        if self._path is None:
            return
        self._state["finished"] = finished
        self._state["elapsed_s"] = round(time.monotonic() - self._began, 1)
        left_s, deviation_s = self.left_s()
        later = Pace.of([*self._others, self.learned])
        self._state["left_s"], self._state["left_sd_s"] = round(left_s, 1), round(deviation_s, 1)
        self._state["later"] = {"ratio": round(later.ratio, 3), "spread": round(later.spread, 3)}
        offer_json(self._path, self._state)


def _figures(row: dict[str, Any]) -> str:
    if row["kind"] != "run":
        return ""
    return f"{row['latency']['median_s']:.3f} s {row['throughput']['img_s']:.1f} img/s"
