"""Resources of the front's splits (the paper's Tables II and III).

The paper's row of the same split stands beside ours, for reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import DEVICE
from reports import paper
from reports.data.cells import Cell, Split, Spread, Stage
from reports.data.plans import codecs_of
from reports.objectives import LATENCY, THROUGHPUT, Objective
from reports.page.figures import ahead, link, links, mebibytes
from reports.page.sheet import Section, Sheet
from reports.statistics.judge import Judgement
from reports.words import asked, count, listing, number, pairing_name

_NONE = "–"


def build(sheet: Sheet) -> list[Section]:
    groups = []
    for group in sheet.groups:
        cells = [_cell(cell, sheet.judgements[cell.id]) for cell in group if cell.measured]
        if cells:
            groups.append(
                {
                    **sheet.heading(group),
                    **{"cells": cells, "table": paper.table_name(group[0].pairing)},
                    "devices": " and ".join(paper.DEVICES.get(group[0].pairing, ())),
                    "rtt_ms": paper.RTT_MS.get(group[0].pairing),
                }
            )
    return [{"id": "resources", "title": "Resources", "groups": groups}]


def _cell(cell: Cell, judgement: Judgement) -> dict[str, Any]:
    # The paper's tables: unshaped network, socket backend.
    comparable = cell.asked is None and cell.variant["backend"] == "socket" and _alike(cell)
    comparable = comparable and NONE in codecs_of(cell.plan)
    points = highlighted(cell) if comparable else []
    known = {(point.highlight.cut,): point.highlight for point in points}
    rows, loaded = [], loads(cell)
    for split in members(cell, judgement):
        rows.append(_ours(split, judgement))
        if split.cuts in known:
            rows.append(_theirs(known[split.cuts], loaded))
    return {
        "scenario": cell.scenario,
        "asked": asked(cell.asked),
        "hosts": [*zip(cell.hosts, loaded, strict=False)],
        "rows": rows,
        "runs": _runs(cell),
        "gpus": _gpus(cell, judgement),
        "highlighted": [_shown(point, cell) for point in points],
        "sentences": sentences(cell, judgement) if comparable else [],
    }


def _alike(cell: Cell) -> bool:
    """Tell whether it ran on the paper's kind of hosts: no processor stands for a GPU."""
    return cell.over_hosts == pairing_name(cell.pairing, ("cuda",))


def members(cell: Cell, judgement: Judgement) -> tuple[Split, ...]:
    """Return the front by verdict, else the strict one, ordered by latency."""
    return cell.ranked(
        split
        for split in cell.measured
        if split.cuts in judgement.strict
        or (judgement.verdict.get(split.cuts) == "on" and split.cuts not in cell.lossy)
    )


def _ours(split: Split, judgement: Judgement) -> dict[str, Any]:
    return {
        "paper": False,
        "name": link(split),
        "whose": "strict" if judgement.verdict.get(split.cuts) == "off" else "",
        "values": measured(split),
    }


def measured(split: Split) -> list[str]:
    """Return compute, network, load, host memory (%) and peak memory (MiB), stage by stage."""
    return [
        *(_middle(stage["compute_s"]) for stage in split.stages),
        _middle(split["network_s"]),
        *(_load(stage) for stage in split.stages),
        *(_tenths(stage["host_memory_percent"]) for stage in split.stages),
        *(mebibytes(p.median) if (p := s["peak_rss_bytes"]) else _NONE for s in split.stages),
    ]


def _theirs(row: paper.Highlight, loads: Sequence[str]) -> dict[str, Any]:
    gpu = row.on_gpu and loads[1] != "GPU"
    first, second = (f"{value:g}" for value in row.load_percent)
    return {
        "paper": True,
        "name": row.both_names,
        "whose": "paper",
        "values": [
            *(number(value) for value in row.compute_s),
            number(row.network_s),
            *(first, f"{second} of the GPU" if gpu else second),
            *(f"{value:g}" for value in row.memory_percent),
            *(_NONE, _NONE),
        ],
    }


def _shown(point: Highlighted, cell: Cell) -> dict[str, Any]:
    split, highlight = point.split, point.highlight
    place = {"name": highlight.both_names, "shown_as": highlight.shown_as}
    if split is None:
        return {**place, "measured": False}

    def rank(objective: Objective) -> str:
        better = sum(other.rank(objective) < split.rank(objective) for other in cell.measured)
        value = f"{number(split.median(objective), 4)} {objective.unit}"
        return f"{value}, {better + 1} of {len(cell.measured)}"

    return {
        **place,
        "measured": True,
        "front": "yes" if point.by is None else "no",
        "by": link(point.by) if point.by else _NONE,
        "places": [rank(LATENCY), rank(THROUGHPUT)],
    }


def _runs(cell: Cell) -> str:
    """Say how many runs the medians have, with emphasis on few."""
    runs = sorted(split.runs for split in cell.measured)
    low, high = runs[0], runs[-1]
    if high == 1:
        return "One run each: no spread is known, and a small difference may be chance."
    if low == 1:
        return (
            f"{runs.count(1)} of {count(len(runs), 'split')} have one run each: no spread of "
            "theirs is known, and a small difference may be chance."
        )
    return f"Medians of {low if low == high else f'{low} to {high}'} runs each."


def loads(cell: Cell) -> list[str]:
    """Name each stage's load: GPU's where one computed, else cores'."""
    stages = [split.stages for split in cell.measured]
    return [
        "GPU" if all(_on_gpu(some[place]) for some in stages if place < len(some)) else "CPU"
        for place in range(max(map(len, stages), default=0))
    ]


def _on_gpu(stage: Stage) -> bool:
    return stage.device.startswith("cuda") and stage["gpu_percent"] is not None


def _load(stage: Stage) -> str:
    value = stage["gpu_percent"] if _on_gpu(stage) else stage["cpu_percent"]
    return f"{value.median:.3g}" if value else _NONE


def _gpus(cell: Cell, judgement: Judgement) -> list[str]:
    """Say the parts of GPU time at the front's first split, and other GPU users."""
    lines = []
    for split in members(cell, judgement)[:1]:
        for place, stage in enumerate(split.stages, start=1):
            there, back = stage["gpu_copy_in_s"], stage["gpu_copy_out_s"]
            if there and back:
                lines.append(
                    f"Of the {_middle(stage['compute_s'])} s of stage {place} at {split.name}, "
                    f"{_middle(there)} s are the batch's way to the {_gpu(stage)} "
                    f"and {_middle(back)} s its way back."
                )
            if used := stage["gpu_used_bytes"]:
                held = mebibytes(used.median)
                lines.append(f"Its process held {held} MiB of the memory of the {_gpu(stage)}.")
    stages = [stage for split in cell.measured for stage in split.stages]
    if shared := {_gpu(s) for s in stages if (others := s["gpu_others"]) and others.high}:
        lines.append(
            f"Other processes were on the {listing(sorted(shared))} during some runs, and may have "
            "slowed them down."
        )
    return lines


def _gpu(stage: Stage) -> str:
    return f"{DEVICE.word(stage.device)} of {stage.host}"


def _tenths(value: Spread | None) -> str:
    return f"{value.median:.1f}" if value else _NONE


def _middle(value: Spread | None) -> str:
    return number(value.median) if value else _NONE


@dataclass(frozen=True)
class Highlighted:
    """A highlighted point of the paper and our split at that cut.

    ``by`` is its clearest dominator, None on the strict front.
    """

    highlight: paper.Highlight
    split: Split | None  # None: no valid run
    by: Split | None


def highlighted(cell: Cell) -> list[Highlighted]:
    """Return the paper's points for this model and pairing, as found in a cell."""
    done = {split.cuts: split for split in cell.measured}
    points = [(one, done.get((one.cut,))) for one in paper.highlights(cell.model, cell.pairing)]
    return [Highlighted(one, split, split and _clearest(split, cell)) for one, split in points]


def sentences(cell: Cell, judgement: Judgement) -> list[Markup]:
    """Describe each of the paper's points that differs here."""
    return [
        text
        for point in highlighted(cell)
        if (text := _differs(cell, point, judgement.front(cell)))
    ]


def _differs(cell: Cell, point: Highlighted, front: Sequence[Split]) -> Markup | None:
    split, by, objective = point.split, point.by, point.highlight.objective
    shown_as = point.highlight.shown_as
    opening = Markup("{} is the paper's {}").format(point.highlight.both_names, shown_as)
    if split is None:
        return opening + Markup("; here it has no valid run.") if cell.measured else None
    best = cell.best(objective) if objective else split
    if by is not None:
        gains = _has(by, listing([ahead(one, by, split) for one in cell.objectives]))
        parts = [Markup("here {}, so {} is off the strict front").format(gains, split.name)]
        if best not in (split, by):
            parts.append(Markup("the {} is {}'s").format(shown_as, link(best)))
    elif objective and best is not split:
        gain = _has(best, ahead(objective, best, split))
        parts = [Markup("here it is on the front too, and {}").format(gain)]
    elif not objective and len(front) > 1:
        others = [other for other in front if other is not split]
        parts = [Markup("here the front has {} too").format(links(others))]
    else:
        return None
    return opening + Markup("; ") + Markup("; ").join(parts) + Markup(".")


def _has(split: Split, what: str) -> Markup:
    return Markup("{} has {}").format(link(split), what)


def _clearest(split: Split, cell: Cell) -> Split | None:
    """Return the dominator with the largest smallest gain."""
    gaps = [
        (
            other,
            [one.gain(other.median(one), split.median(one)) for one in cell.objectives],
        )
        for other in cell.measured
    ]
    better = [
        (sorted(gap), [-cut for cut in other.cuts], other)
        for other, gap in gaps
        if min(gap) >= 1 < max(gap)
    ]
    return max(better, key=lambda found: found[:2])[2] if better else None
