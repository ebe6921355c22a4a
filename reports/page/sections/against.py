"""Changes against another sweep: another day, another board, another release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from reports import paper
from reports.data.cells import Cell, Split
from reports.data.factors import Naming
from reports.data.selection import said
from reports.errors import ReportError
from reports.objectives import Objective
from reports.page.figures import link, links
from reports.page.sections import provenance
from reports.page.sections.comparisons.contrast import interval
from reports.page.sheet import Against, Section, Sheet
from reports.page.tables import Column, Entry, Row, Table
from reports.statistics.difference import CONFIDENCE
from reports.statistics.sweeps import (
    CHANGED,
    LARGE,
    OPEN,
    SAME,
    SMALL,
    VERDICTS,
    Changes,
    Pair,
    verdict,
)
from reports.words import between, count, listing, number, percent, slug

# Settings that no time depends on, or that another board may change.
_FREE = {"hosts", "hub", "weights", "weights_seed", "weights_digest"}
# Facts to name of hosts that only one of the sweeps has.
_TELLING = ("CPU", "GPU", "PyTorch", "Kernel")
_UNKNOWN = "–"
_Found = Mapping[Objective, Changes]


def beside(sheets: Sequence[Sheet], others: Sequence[Sheet], names: tuple[str, str]) -> list[Sheet]:
    """Return the sheets with what another sweep has of the same; `names`: this one's, its.

    Raises
    ------
    ReportError
        ``E_AGAINST``: not one split was measured alike in both.
    """
    old = {cell.id: cell for sheet in others for cell in sheet.cells if cell.measured}
    pairs = [
        pair
        for sheet in sheets
        for cell in sheet.cells
        if cell.measured and cell.id in old and not _differences(old[cell.id], cell)
        if (pair := Pair.of(old[cell.id], cell)).size
    ]
    lacking = {sheet.model: _lacking(sheet, old, names, pairs) for sheet in sheets}
    if not pairs:
        raise ReportError(
            f"E_AGAINST: {names[0]} has {_contents(sheets)}, {names[1]} has {_contents(others)}"
            f"{_why(sheets, old)}, expected at least one split that was measured alike in both "
            "— name another sweep with against=…"
        )
    total = sum(pair.size for pair in pairs)
    same = {sheet.model: sheet for sheet in others}

    def of(sheet: Sheet) -> Against:
        own = [pair for pair in pairs if pair.new.model == sheet.model]
        there = same.get(sheet.model)
        return Against(names[1], names[0], there, own, total, lacking[sheet.model])

    return [replace(sheet, against=of(sheet)) for sheet in sheets]


def _contents(sheets: Sequence[Sheet]) -> str:
    ids = [cell.id for sheet in sheets for cell in sheet.cells if cell.measured]
    return listing(ids, 4) if ids else "no valid run"


def _why(sheets: Sequence[Sheet], old: Mapping[str, Cell]) -> str:
    cells = [cell for sheet in sheets for cell in sheet.cells if cell.id in old]
    found = dict.fromkeys(text for cell in cells for text in _differences(old[cell.id], cell))
    return f", and they differ in {listing([*found])}" if found else ""


def _differences(old: Cell, new: Cell) -> list[str]:
    """List the settings that both recorded and that differ."""
    return [
        f"{key.replace('_', ' ')} {said(new.settings, key)} against {said(old.settings, key)}"
        for key in sorted((old.settings.keys() & new.settings.keys()) - _FREE)
        if old.settings[key] != new.settings[key]
    ]


def _lacking(
    sheet: Sheet, old: Mapping[str, Cell], names: tuple[str, str], pairs: Sequence[Pair]
) -> list[str]:
    paired = {pair.new.id: pair for pair in pairs}
    naming = Naming.of(
        [*sheet.cells, *(cell for cell in old.values() if cell.model == sheet.model)]
    )
    lines = []
    for cell in sheet.cells:
        place = naming.place(cell)
        if not cell.measured:
            continue
        if cell.id not in old:
            lines.append(f"{place}: measured in {names[0]} only.")
        elif pair := paired.get(cell.id):
            lines += _unpaired(pair, names, place)
        else:
            why = listing(_differences(old[cell.id], cell) or ["no split measured alike"])
            lines.append(f"{place}: not compared, because of {why}.")
    ours = {cell.id for cell in sheet.cells if cell.measured}
    return lines + [
        f"{naming.place(cell)}: measured in {names[1]} only."
        for cell in old.values()
        if cell.model == sheet.model and cell.id not in ours
    ]


def _unpaired(pair: Pair, names: tuple[str, str], place: str) -> Iterator[str]:
    """Name the splits that only one sweep measured, or with other numbers of batches."""
    new, old = ({s.cuts: s.name for s in cell.measured} for cell in (pair.new, pair.old))
    unlike = [name for cuts, name in new.items() if cuts in old and cuts not in pair.splits]
    parts = (
        ([name for cuts, name in new.items() if cuts not in old], f"in {names[0]} only"),
        ([name for cuts, name in old.items() if cuts not in new], f"in {names[1]} only"),
        (unlike, "with other numbers of batches"),
    )
    for splits, how in parts:
        if splits:
            yield f"{place}: {listing(splits)} measured {how}."


def build(sheet: Sheet) -> list[Section]:
    against = sheet.against
    if against is None:
        return []
    return [
        {
            "id": "against",
            "title": f"Changes against {against.name}",
            "headline": headline(sheet, against),
            "here": against.here,
            "other": against.name,
            "delta": percent(sheet.delta),
            "total": against.total,
            "error": percent(1 - CONFIDENCE),
            "large": percent(LARGE),
            "lacking": against.lacking,
            "sources": _sources(sheet, against.sheet) if against.sheet else [],
            "items": [
                _item(sheet, pair, _found(sheet, pair, against), against) for pair in against.pairs
            ],
        }
    ]


def _found(sheet: Sheet, pair: Pair, against: Against) -> _Found:
    return {one: pair.changes(one, sheet.delta, against.total) for one in pair.objectives}


def headline(sheet: Sheet, against: Against) -> str:
    """Return '3 of 40 comparisons changed; 37 show no change beyond noise.'"""
    if not against.pairs:
        name = paper.model_name(sheet.model)
        return f"{against.name} has no split of {name} that was measured alike."
    counts = Counter(
        kind
        for pair in against.pairs
        for changes in _found(sheet, pair, against).values()
        for kind in changes.verdicts
    )
    total = count(counts.total(), "comparison")
    rest = [f"{counts[kind]:,} {text}" for kind, text in _REST.items() if counts[kind]]
    if counts[CHANGED]:
        return "; ".join([f"{counts[CHANGED]:,} of {total} changed", *rest]) + "."
    if counts[SMALL] or counts[OPEN]:
        return f"No change that matters in {total}: {listing(rest)}."
    return f"Nothing changed beyond noise, in {total}."


_REST = {
    SMALL: "changed too little to matter",
    SAME: "show no change beyond noise",
    OPEN: "cannot tell",
}


def _item(sheet: Sheet, pair: Pair, found: _Found, against: Against) -> dict[str, Any]:
    return {
        "title": sheet.naming.place(pair.new),
        "sentences": [_sentence(one, pair, found[one]) for one in pair.objectives],
        "table": _table(sheet, pair, found, against),
    }


def _sentence(objective: Objective, pair: Pair, found: Changes) -> Markup:
    by: dict[str, list[Split]] = {kind: [] for kind in VERDICTS}
    for cuts, difference in found.each.items():
        by[verdict(difference, found.delta)].append(pair.splits[cuts][1])
    parts = []
    if changed := by[CHANGED]:
        times = between([found.each[split.cuts].ratio for split in changed])
        parts.append(Markup("changed at {}, to {} times").format(links(changed), times))
    parts += [
        Markup("{} at {}").format(kind, links(by[kind])) for kind in (SMALL, SAME, OPEN) if by[kind]
    ]
    seen = found.visible
    return Markup("{}: {} times over {}, {}. One by one: {}{}.").format(
        objective.heading,
        interval(found.together),
        count(len(pair.splits), "split"),
        verdict(found.together, found.delta),
        Markup("; ").join(parts),
        "" if seen is None else f"; changes from about {percent(seen)} are seen",
    )


def _table(sheet: Sheet, pair: Pair, found: _Found, against: Against) -> Table:
    columns = [Column("Split", "")]
    for one in pair.objectives:
        columns += [Column(one.heading, f"{one.unit}, {name}") for name in _names(against)]
        columns.append(Column("Ratio", "joint interval"))
        columns.append(Column(f"{one.heading} changed?", "", numeric=False))
    verdicts = sheet.judgements[pair.new.id].verdict
    rows = []
    for cuts, (old, new) in pair.splits.items():
        entries: list[Entry] = []
        for one in pair.objectives:
            difference = found[one].each[cuts]
            kind = verdict(difference, found[one].delta)
            medians = (side.own.median(one) for side in (old, new))
            entries += [Entry(number(value), f"{value:.6g}") for value in medians]
            entries.append(Entry(interval(difference), f"{difference.ratio:.6g}"))
            entries.append(Entry(kind, str(VERDICTS.index(kind))))
        key = f"against-{slug(pair.new.id)}-{slug(new.name)}"
        rows.append(Row(key, link(new), tuple(entries), verdicts.get(cuts) != "off"))
    return Table(tuple(columns), tuple(rows))


def _names(against: Against) -> tuple[str, str]:
    return against.name, against.here


def _sources(new: Sheet, old: Sheet) -> list[tuple[str, str, str]]:
    """Return what the sweeps were measured with, where it differs: what, old, new."""
    then, now = _known(old), _known(new)
    shared = set(provenance.hosts(old.records.runs)[0]) & set(provenance.hosts(new.records.runs)[0])
    rows = []
    for what, host in dict.fromkeys([*then, *now]):
        before, after = (side.get((what, host), _UNKNOWN) for side in (then, now))
        if before != after and (not host or host in shared or what in _TELLING):
            rows.append((f"{what} of {host}" if host else what, before, after))
    return rows


def _known(sheet: Sheet) -> dict[tuple[str, str], str]:
    """Return what is known by property and host; of the whole sweep under no host."""
    names, facts = provenance.hosts(sheet.records.runs)
    return {
        ("Measured", ""): provenance.when(sheet.frame),
        ("Code", ""): provenance.code(sheet.records.plans),
        ("Hosts", ""): listing(names) if names else _UNKNOWN,
        **{
            (label, host): text
            for label, texts in facts.items()
            for host, text in zip(names, texts, strict=True)
        },
    }
