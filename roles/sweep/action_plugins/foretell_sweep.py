"""Show a sweep's table of cells, its end by this clock, and hosts that scatter."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible does not put the checkout on sys.path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.job.clock import ending, span, within
from roles.preflight.judging.hardware import scattering


class ActionModule(ActionBase):  # type: ignore[misc]
    """``foretell_sweep: {table: text, outlook: from paretopipe prepare}``."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return the table and the end as `msg`, the end alone as `brief`; see job's tell."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        table, end = self._task.args["table"], lines(self._task.args["outlook"])
        told = {"msg": f"{table}\n{end}", "brief": end}
        return {**result, **told, "changed": False, "_ansible_verbose_always": True}


def lines(outlook: Mapping[str, Any]) -> str:
    visits_s, deviation_s = outlook["visits_s"], float(outlook["left_sd_s"])
    left_s = sum(visits_s.values())
    hosts: dict[float, list[str]] = {}  # those of one machine share its figure
    for host, scatter in outlook["scatter"].items():
        hosts.setdefault(scatter, []).append(host)
    judged = {", ".join(alike): scattering(scatter) for scatter, alike in hosts.items()}
    notes = [f"\nnote: {alike}: {one.text}" for alike, one in judged.items() if one.level != "ok"]
    if not left_s:
        return "nothing left to measure"
    first_s = sum(seconds for visit, seconds in visits_s.items() if visit.endswith(" first"))
    share = deviation_s / left_s
    first = f"; a first report after {span(*within(first_s, share * first_s))}" if first_s else ""
    runs = f"{'at most ' if outlook.get('at_most') else ''}{outlook['runs_left']} runs"
    return f"{runs}: {ending(left_s, deviation_s)}{first}{''.join(notes)}"
