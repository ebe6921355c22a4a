"""Methods and terms, with this sheet's figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from statistics import median

import pandas as pd

from paretopipe_runtime.contract.factors import ENGINE
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.judging.doubtful import UNSEEN
from paretopipe_runtime.judging.membership import DRAWS, OFF_TO, ON_FROM
from paretopipe_runtime.prediction.predictor import Predictor
from reports.data.cells import Cell, Drift
from reports.data.shape import limits as each_round
from reports.data.tidy import encoded
from reports.page.figures import error, margin
from reports.page.sheet import Section, Sheet
from reports.statistics.difference import coverage_percent
from reports.statistics.judge import INVALID_SHARE, OUTLYING
from reports.words import count, listing, percent


def build(sheet: Sheet) -> list[Section]:
    cells, objectives = sheet.cells, sheet.objectives
    names = [objective.name for objective in objectives]
    repeats = sorted({s.runs for cell in cells if not cell.standing for s in cell.measured})
    return [
        {
            "id": "methods",
            "title": "Methods",
            "proof": proof(sheet.frame),
            "repeats": listing([f"{runs} ({coverage_percent(runs):g} %)" for runs in repeats])
            if repeats
            else "",
            "exhaustive": not (cells and all(cell.standing for cell in cells)),
            "believed": any(cell.standing for cell in cells),
            "accuracy": any(cell.exact for cell in cells),
            "points": f"{sheet.accuracy_margin:g}",
            "unseen": f"{UNSEEN:g}",
            "five": coverage_percent(5),
            "sentinel": _sentinel(cells, sheet.records.drifts),
            "delta": margin(sheet.delta),
            "objectives": objectives,
            "names": listing(names),
            "either": " or ".join(names),
            "both": "both" if len(names) == 2 else "all",
            "sure": f"{ON_FROM:g}",
            "unsure": f"{OFF_TO:g}",
            "draws": f"{DRAWS:,}",
            "outlying": f"{OUTLYING:g}",
            "outliers": count(
                sum(len(sheet.judgements[cell.id].outliers) for cell in cells), "run"
            ),
            "share": margin(INVALID_SHARE),
            "attempts": f"{len(sheet.frame):,}",
            "counted": f"{int(sheet.frame['counted'].sum()):,}",
            "emulated": any(cell.variant["emulation"] for cell in cells),
            "predicted": any(isinstance(p, Predictor) for p in sheet.predictors.values()),
        }
    ]


def _sentinel(cells: Sequence[Cell], verdicts: Sequence[Record]) -> str:
    """Say how far rounds drifted, and the consequence."""
    drifts = [(cell, drift) for cell in cells for drift in cell.drifts]
    known = [(cell, drift, shift) for cell, drift in drifts if (shift := _shift(drift)) is not None]
    if not drifts:
        return "These sweeps had none, so a drift within a round would not be seen."
    if not known:
        return "No round has both of its sentinels valid, so a drift would not be seen."
    shifts = [shift for _, _, shift in known]
    text = (
        f"Over {count(len(known), 'pair')} of sentinels it moved by {percent(median(shifts))} in "
        f"the median and {percent(max(shifts))} at most"
    )
    judged = {verdict["cell_id"]: verdict for verdict in verdicts}
    limits: list[float] = []
    beyond, unjudged = 0, []
    for cell in cells:
        if verdict := judged.get(cell.id):
            limits += chain(*map(each_round, verdict["limit"].values()))
            beyond += len(verdict["beyond"])
        elif cell.drifts and (limit := float(cell.plan.get("drift_limit") or 0.0)):
            # Old records have no verdict: there the plan's limit decides.
            limits.append(limit)
            far = sum(
                shift > limit
                for other, drift, shift in known
                if other is cell and drift.block_pass == 1
            )
            if far and not any(drift.block_pass > 1 for drift in cell.drifts):
                unjudged.append(cell)
            else:
                beyond += far
    if limits:
        again = sum(drift.block_pass > 1 for _, drift in drifts)
        least, most = (margin(round(end(limits), 3)) for end in (min, max))
        text += f"; the limit is {least}" + (f" to {most}" if most != least else "")
        text += f": {beyond} beyond it, {count(again, 'round')} measured once more"
        if any(cell.id in judged for cell in cells):
            text += (
                "; it is three robust standard deviations of what two runs of one split differ by "
                "in the cell's other rounds, and never less than the sweep's own"
            )
    if unjudged:
        text += f"; {count(len(unjudged), 'cell')} not judged before all rounds are there"
    if unseen := len(drifts) - len(known):
        text += f"; in {unseen:,} of {len(drifts):,} passes a sentinel is missing or not valid"
    return f"{text}."


def _shift(drift: Drift) -> float | None:
    """The largest shift; None where a sentinel is invalid."""
    return max(map(abs, drift.shifts), default=None)


def proof(frame: pd.DataFrame) -> str:
    """Summarize proofs of equal output over counted runs."""
    columns = ["engine", "max_rel_err", "tolerance", "argmax_equal", "cuts"]
    counted = frame.loc[frame["counted"], columns]
    errors = pd.to_numeric(counted["max_rel_err"], errors="coerce").dropna()
    if counted.empty or errors.empty:
        return "No counted run carries a proof of equal output."
    same = int(counted["argmax_equal"].eq(True).sum())
    engines = [*dict.fromkeys(str(engine) for engine in counted["engine"].unique())]
    parts = [
        (f" with {ENGINE.word(engine)}" if len(engines) > 1 else "")
        + f" is {error(counted[counted['engine'] == engine])}"
        for engine in engines
    ]
    return (
        f"{len(errors):,} of {count(len(counted), 'counted run')} carry the proof: the largest "
        f"relative error against the unsplit model{listing(parts)}, and the "
        f"predicted classes are the same in {same:,} of them.{_of_encoded(counted)}"
    )


def _of_encoded(counted: pd.DataFrame) -> str:
    runs = int(encoded(counted).sum())
    if not runs:
        return ""
    return (
        f" In {runs:,} tensors went encoded, where a class may change: both hosts decoded the same "
        "bits, and one input had the same prediction each time."
    )
