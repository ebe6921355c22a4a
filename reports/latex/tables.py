"""The paper's Tables I to III, of this sweep, in LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from reports import paper
from reports.data.cells import Cell, Split
from reports.data.trained import every
from reports.latex.text import escape
from reports.objectives import OBJECTIVES, Objective
from reports.page.figures import mebibytes
from reports.page.sections import models as facts
from reports.page.sections.resources import loads, measured
from reports.page.sheet import Sheet

_NONE = "--"
_TABLE = r"""\begin{table}[htbp]
  \centering
  \small
  \setlength{\tabcolsep}{4pt}
  \caption{%(caption)s}
  \begin{tabular}{%(align)s}
    \toprule
%(head)s
    \midrule
%(rows)s
    \bottomrule
  \end{tabular}
\end{table}
"""


def models(sheets: Sequence[Sheet]) -> str:
    """Return Table I: parameters, blocks, size and accuracy of each model."""
    return _table(
        "Models. Size: weights and buffers. Accuracy: top-1, on held-out images.",
        "lrrrr",
        [_row(["Model", "Parameters", "Blocks", "Size (MiB)", r"Accuracy (\%)"])],
        [_model(sheet) for sheet in sheets],
    )


def _model(sheet: Sheet) -> str:
    total, size = facts.parameters(sheet), facts.weight_bytes(sheet)
    scores = [f"{100 * one.accuracy:.1f}" for one in every(sheet.used or sheet.records.profiles)]
    values = (
        f"{total:,}" if total else _NONE,
        str(facts.blocks(sheet) or _NONE),
        mebibytes(size) if size else _NONE,
        ", ".join(scores) or _NONE,
    )
    return _row([escape(paper.model_name(sheet.model)), *values])


def resources(place: Sequence[tuple[Sheet, Cell]], where: str) -> str:
    """Return Table II or III: each model's best split by latency, and by throughput."""
    first = place[0][1]
    hosts = [escape(host) for host in first.hosts]
    loaded = [f"{host} {kind}" for host, kind in zip(hosts, loads(first), strict=False)]
    groups = (
        ("Compute (s)", hosts),
        ("Network", ["(s)"]),
        (r"Load (\%)", loaded),
        (r"Memory (\%)", hosts),
        ("Peak (MiB)", hosts),
    )
    wide = [1, *(len(below) for _, below in groups)]
    over = [f"\\multicolumn{{{len(below)}}}{{c}}{{{name}}}" for name, below in groups]
    rules = " ".join(
        f"\\cmidrule(lr){{{start + 1}-{end}}}" for start, end in pairwise(accumulate(wide))
    )
    below = [text for _, part in groups for text in part]
    marks = {one: f"$^{mark}$" for mark, one in zip("abcdefgh", OBJECTIVES, strict=False)}
    rows = [
        _row([escape(f"{paper.model_name(cell.model)} ({split.name})") + mark, *_values(split)])
        for _, cell in place
        for split, mark in _best(cell, marks)
    ]
    said = ", ".join(f"{mark}\\,{one.title.lower()}" for one, mark in marks.items())
    caption = (
        f"Time and resources of the best splits: {where}. {said}, by the medians of the valid "
        "runs. Load: of one core, or of the GPU. Memory: of the host; peak: of the stage's process."
    )
    head = [_row(["", *over]), f"    {rules}", _row(["Model (split)", *below])]
    return _table(caption, "l" + "r" * len(below), head, rows)


def _best(cell: Cell, marks: Mapping[Objective, str]) -> list[tuple[Split, str]]:
    """Return the splits that are best in something, with the marks of what."""
    best = {one: cell.best(one) for one in cell.objectives}
    found = {split.cuts: split for split in best.values()}
    return [
        (found[cuts], "".join(marks[one] for one in best if best[one].cuts == cuts))
        for cuts in sorted(found)
    ]


def _values(split: Split) -> list[str]:
    return [*map(escape, measured(split))]


def _row(entries: Sequence[str]) -> str:
    return f"    {' & '.join(entries)} \\\\"


def _table(caption: str, align: str, head: Sequence[str], rows: Sequence[str]) -> str:
    parts = {"caption": caption, "align": align, "head": "\n".join(head), "rows": "\n".join(rows)}
    return _TABLE % parts
