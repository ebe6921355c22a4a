"""The progress file: runs done and time left."""

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
    """Progress file of one cell.

    Time left: the median of measured splits, the estimate of others scaled by the pace so far, and
    repeats of drifted rounds, seen and expected.

    Parameters
    ----------
    path : Path or None
        None writes no file.
    runs : list of Run
        All of the plan.
    done : dict
        Valid records by run key.
    estimate_s : dict
        Estimated seconds by split name.
    others : list of Learned
        The sweep's other cells.
    scatter : float
        The hosts' own; 0 if not measured.
    """

    def __init__(
        self,
        path: Path | None,
        cell_id: str,
        runs: Sequence[Run],
        done: dict[str, dict[str, Any]],
        estimate_s: dict[str, float],
        others: Sequence[Learned] = (),
        scatter: float = 0.0,
    ) -> None:
        self._path = path
        self._others, self._scatter = others, scatter
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
        self._total = len(runs)
        self._likely: list[str] = []
        self._state: dict[str, Any] = {
            "cell_id": cell_id,
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
        """All runs, counting those of a repeated round twice."""
        return self._total

    @property
    def left(self) -> int:
        return len(self._left)

    @property
    def likely(self) -> int:
        """Runs that further rounds may bring."""
        return len(self._likely)

    def add(self, runs: Sequence[Run]) -> None:
        """Add runs of further or repeated rounds."""
        added = {run.key: run.split for run in runs if run.key not in self._left}
        self._repeats = max(self._repeats, *(run.repeat for run in runs), 0)
        self._left.update(added)
        self._total += len(added)
        self._waiting = max(0, self._waiting - 1)  # a round that waited is here now

    def expect(self, likely: Sequence[Run]) -> None:
        """Count runs that further rounds may bring, by stand-ins."""
        self._likely = [run.split for run in likely]

    def foresee(self, waiting: int, to_come: int, judged: int, drifted: int) -> None:
        """Set how many rounds await a repeat, are to come, were judged, drifted."""
        self._waiting, self._to_come = waiting, to_come
        self._judged, self._drifted = judged, drifted

    def note(self, text: str) -> None:
        """Have the controller say `text`, once; "" leaves what it says."""
        self._state["note"] = text or self._state.get("note", "")

    def begin(self, run: Run, why: str = "") -> None:
        place = f", {why}" if why else f" repeat {run.repeat}/{self._repeats}"
        self._state["current"] = f"{run.split}{place}"
        self.write()

    def wait(self, what: str) -> None:
        self._state["current"] = what
        self.write()

    def end(self, run: Run, row: dict[str, Any]) -> None:
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
        ratios = [
            statistics.median(times) / self._estimate_s[split]
            for split, times in self._measured_s.items()
            if self._estimate_s.get(split)
        ]
        runs = sum(map(len, self._measured_s.values())) if ratios else 0
        ratio = statistics.median(ratios) if ratios else 1.0
        return Learned(ratio, runs, self._judged, self._drifted)

    def left_s(self) -> tuple[float, float]:
        """Return the seconds left and their standard deviation."""
        pace = Pace.of(self._others, self.learned, self._scatter)
        known_s = guessed_s = 0.0
        for split in [*self._left.values(), *self._likely]:
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
        if self._path is None:
            return
        self._state["finished"] = finished
        # Earlier, what drifted is not settled.
        waiting = 0 if self._to_come else self._waiting
        likely = waiting * len(self._round) + len(self._likely)
        self._state["runs_total"] = self._total + likely
        self._state["elapsed_s"] = round(time.monotonic() - self._began, 1)
        left_s, deviation_s = self.left_s()
        later = Pace.of([*self._others, self.learned], scatter=self._scatter)
        self._state["left_s"], self._state["left_sd_s"] = round(left_s, 1), round(deviation_s, 1)
        self._state["later"] = {"ratio": round(later.ratio, 3), "spread": round(later.spread, 3)}
        offer_json(self._path, self._state)


def _figures(row: dict[str, Any]) -> str:
    if row["kind"] != "run":
        return ""
    return f"{row['latency']['median_s']:.3f} s {row['throughput']['sustained_img_s']:.1f} img/s"
