"""The model's characteristics, as recorded (the paper's Table I)."""

from __future__ import annotations

import re
import statistics

from reports import paper
from reports.data import plans
from reports.data.trained import every
from reports.page.figures import mebibytes
from reports.page.sheet import Section, Sheet

_UNKNOWN = "not recorded"
#: Cuts that send as much as one another: so many at least, this share of all, and so near.
FEWEST, MOST, ALIKE = 5, 0.7, 0.02


def build(sheet: Sheet) -> list[Section]:
    said = paper.MODELS.get(sheet.model)
    total, size = parameters(sheet), weight_bytes(sheet)
    rows = [
        {
            "whose": "Here",
            "parameters": f"{total:,}" if total else _UNKNOWN,
            "blocks": blocks(sheet) or _UNKNOWN,
            "size": f"{mebibytes(size)} MiB" if size else _UNKNOWN,
            "accuracy": _accuracy(sheet),
            "image": _sizes(sheet),
        }
    ]
    if said:
        rows.append(
            {
                "whose": "Paper",
                "parameters": f"{said.parameters:,}",
                "blocks": said.blocks,
                "size": f"{said.size_mb:g} MB",
                "accuracy": f"{said.accuracy_percent} % on CIFAR-10",
                "image": "CIFAR-10's 10 classes",
            }
        )
    name = paper.model_name(sheet.model)
    section = {"id": "model", "title": "Model", "name": name, "rows": rows, "known": bool(said)}
    found = (plans.graph(cell.plan) for cell in sheet.cells)
    return [{**section, "found": next(filter(None, found), ""), "even": _even(sheet)}]


def parameters(sheet: Sheet) -> int | None:
    """Return the blocks' parameters; None where unrecorded."""
    if sheet.profiles:
        return sum(block.parameters for block in sheet.profiles[0].blocks)
    total = _together(sheet, "parameters")
    return None if total is None else round(total)


def weight_bytes(sheet: Sheet) -> float | None:
    """Return the bytes of weights and buffers; None where unrecorded."""
    if sheet.profiles:
        return sum(block.weight_bytes for block in sheet.profiles[0].blocks)
    return _together(sheet, "partition_bytes")


def blocks(sheet: Sheet) -> int | None:
    if sheet.profiles:
        return len(sheet.profiles[0].blocks)
    return next((run["end_block"] for run in sheet.used if run["end_block"]), None)


def _even(sheet: Sheet) -> str:
    """Say so where most cuts send as much as one another, as a Vision Transformer's do."""
    sent = {
        split.cuts: first.median
        for cell in sheet.cells
        for split in cell.measured
        if len(split.cuts) == 1 and (first := split.hops[0][1])
    }
    if len(sent) < FEWEST:
        return ""
    usual = statistics.median_low(sent.values())
    alike = sum(abs(nbytes - usual) <= ALIKE * usual for nbytes in sent.values())
    if alike < MOST * len(sent):
        return ""
    return (
        f"At {alike} of {len(sent)} measured cuts the same {usual / 1e6:.2g} MB a batch crosses: "
        "on a slow link none of these is cheaper than another, unless a codec makes it smaller."
    )


def _together(sheet: Sheet, what: str) -> float | None:
    """Return a sum over stages, from any run: each is the whole model."""
    columns = [c for c in map(str, sheet.frame) if re.fullmatch(rf"stage\d+_{what}", c)]
    known = sheet.frame.loc[sheet.frame["counted"], columns].dropna(how="all")
    return None if known.empty else float(known.iloc[0].dropna().sum())


def _accuracy(sheet: Sheet) -> str:
    if found := every(sheet.used or sheet.records.profiles):
        return "; ".join(trained.score for trained in found)
    seeds = {run["factors"].get("weights_seed") for run in sheet.used} - {None}
    return "not measured: seeded weights" if seeds else "not measured"


def _sizes(sheet: Sheet) -> str:
    known = [{**cell.plan, **cell.settings} for cell in sheet.cells]
    found = dict.fromkeys(
        f"{each['classes']} classes, {each['image_px']}×{each['image_px']}"
        for each in known
        if each.get("classes") and each.get("image_px")
    )
    return "; ".join(found) or _UNKNOWN
