"""How far a sweep is, in a small JSON file that is replaced whole."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from paretopipe_runtime.plan import Run


class Progress:
    """Keep the progress file of one cell.

    The time left is the plan's estimate for the runs to come, scaled by how measured runs compared
    with theirs so far; a split that has been measured stands for itself.
    """

    def __init__(
        self,
        path: Path | None,
        cell_id: str,
        runs: list[Run],
        done: dict[str, dict[str, Any]],
        estimate_s: dict[str, float],
    ) -> None:
        self._path = path
        self._estimate_s = estimate_s
        self._measured_s: dict[str, list[float]] = {}
        self._left = {run.key: run.split for run in runs if run.key not in done}
        for row in done.values():
            self._measured_s.setdefault(row["factors"]["split"], []).append(row["wall_s"])
        self._began = time.monotonic()
        reused = len(runs) - len(self._left)
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
        self._repeats = max((run.repeat for run in runs), default=0)
        self.write()

    def begin(self, run: Run) -> None:
        """Say what is measured now."""
        self._state["current"] = f"{run.split} repeat {run.repeat}/{self._repeats}"
        self.write()

    def end(self, run: Run, row: dict[str, Any]) -> None:
        """Take in one run's record."""
        status = row["status"]
        if status == "ok":
            self._left.pop(run.key, None)
            self._measured_s.setdefault(run.split, []).append(row["wall_s"])
            self._state["runs_done"] += 1
            latency_s, img_s = row["latency"]["median_s"], row["throughput"]["img_s"]
            self._state["last"] = f"ok {run.split} {latency_s:.3f} s {img_s:.1f} img/s"
        else:
            self._state["failed" if status.startswith("failed") else "invalid"] += 1
            self._state["last"] = f"{status} {run.split} {row['message']}".strip()
        self.write()

    def left_s(self) -> float:
        """Seconds that the remaining runs will take, as far as can be told now."""
        ratios = [
            statistics.median(times) / self._estimate_s[split]
            for split, times in self._measured_s.items()
            if self._estimate_s.get(split)
        ]
        scale = statistics.median(ratios) if ratios else 1.0
        total = 0.0
        for split in self._left.values():
            if split in self._measured_s:
                total += statistics.median(self._measured_s[split])
            else:
                total += scale * self._estimate_s.get(split, 0.0)
        return total

    def write(self, *, finished: bool = False) -> None:
        """Replace the file."""
        if self._path is None:
            return
        self._state["finished"] = finished
        self._state["elapsed_s"] = round(time.monotonic() - self._began, 1)
        self._state["left_s"] = round(self.left_s(), 1)
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text(json.dumps(self._state))
        partial.rename(self._path)
