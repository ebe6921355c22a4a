"""What a cell that measures only what is in doubt has saved, and what its verdicts rest on."""

from __future__ import annotations

from collections import Counter

import numpy as np
from markupsafe import Markup

from paretopipe_runtime.judging.doubtful import Standing
from reports.data.cells import Cell
from reports.data.plans import codecs_of
from reports.page.figures import links
from reports.page.sections.verdict.answer import Sentence
from reports.words import count, percent


def sentences(cell: Cell) -> list[Sentence]:
    """Return how many runs were made instead of how many, and what else verdicts rest on."""
    standing = cell.standing
    if standing is None:
        return []
    made, whole, every = _made(cell), _whole(cell), _predicted(cell)
    unseen = every - len(cell.measured)
    return [
        Sentence(
            "Runs",
            Markup("{:,} instead of {:,} ({}); {:,} of {} never run.").format(
                made, whole, percent(made / whole), unseen, count(every, "split")
            ),
        ),
        Sentence(
            "Rests on",
            Markup("predictions from block profiles, off by {} in the median of {} run. {}").format(
                percent(_off(standing)),
                count(len(cell.measured), "split"),
                _checked(cell, standing),
            ),
        ),
    ]


def _made(cell: Cell) -> int:
    return sum(split.runs for split in (*cell.splits, *cell.end_points))


def _predicted(cell: Cell) -> int:
    """Return the splits that were predicted; of thousands only some are judged one by one."""
    return max(len(cell.known), int(cell.plan.get("predicted") or 0))


def _whole(cell: Cell) -> int:
    """Return the runs of an exhaustive sweep: all splits, two sentinels and end points a round."""
    ends = 1 + len(codecs_of(cell.plan)) if cell.plan.get("end_points") else 0
    return int(cell.plan.get("repeats") or 1) * (_predicted(cell) + 2 + ends)


def _off(standing: Standing) -> float:
    """Return what predictions of splits with a run are off by in the median, as a ratio - 1."""
    beyond = np.abs(np.expm1(standing.believed.mean.ravel() - standing.believed.prior.mean))
    run = [standing.runs[cuts] > 0 for cuts in standing.splits]
    return float(np.median(beyond.reshape(2, -1)[:, run]))


def _checked(cell: Cell, standing: Standing) -> Markup:
    """Say what runs, those of the audit among them, have against the predictions."""
    audited = _audited(cell)
    known = {split.cuts: split for split in cell.splits}
    if far := [known[cuts] for cuts in standing.contrary]:
        return Markup("{} contradicted theirs, so that more was run.").format(links(far))
    if not audited:
        return Markup("None was audited: a random split that is off by prediction, run to check.")
    return Markup("The audit, {} of random splits off by prediction, found nothing.").format(
        count(audited, "run")
    )


def _audited(cell: Cell) -> int:
    found: Counter[str] = Counter()
    for entry in cell.plan.get("more") or ():
        why = entry.get("why") or ()
        found.update(map(str, why.values() if isinstance(why, dict) else why))
    return found["audit"]


def further(cell: Cell) -> Markup:
    """Return what decides more: more time, or twice the budget, in the end every split."""
    limits = cell.plan.get("doubtful") or {}
    if limits.get("within_s"):
        return Markup("more runs would tell: a longer <code>-e within=…</code>.")
    budget = 2 * float(limits.get("budget") or 1)
    option = f"budget={budget:.2g}" if budget < 1 else "strategy=exhaustive"
    return Markup("more runs would tell: <code>-e {}</code>.").format(option)
