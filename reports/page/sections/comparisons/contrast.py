"""Ratios of compared cells with interval and verdict, as sentences, chart and table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup

from paretopipe_runtime.contract.splits import undashed
from reports.data.cells import Cell, Cuts, Spread
from reports.page.draw.canvas import STYLE, empty, fit, name_rows, spread_out, stage_colour
from reports.page.draw.svg import FAINT, inline
from reports.page.figures import spread
from reports.page.sections.comparisons.compare import Comparison, Measure, Rival
from reports.page.tables import NOTHING, Column, Entry, Row, Table
from reports.statistics.difference import Difference, ratios
from reports.words import between, count, decimals, listing, number, percent, slug

VERDICTS = ("equal", "lower", "higher", "undecided")
_SIGNS = {"equal": "=", "lower": "↓", "higher": "↑", "undecided": "?"}


@dataclass(frozen=True)
class Contrast:
    comparison: Comparison
    delta: float
    found: Mapping[tuple[str, str], Mapping[Cuts, Difference]]  # by rival's cell and measure

    def of(self, rival: Rival, measure: Measure) -> dict[Cuts, Difference]:
        """Return rival over reference, at every split comparable in this measure."""
        known = self.found[rival.cell.id, measure.column]
        return {
            split.cuts: known[split.cuts]
            for split, beside in zip(self.comparison.splits, rival.splits, strict=True)
            if beside is not None and split.cuts in known
        }


def draw(comparison: Comparison, frame: pd.DataFrame, delta: float) -> Contrast:
    """Compare each rival with the reference; spread is pooled over a cell's splits."""
    return Contrast(
        comparison,
        delta,
        {
            (rival.cell.id, measure.column): ratios(
                _values(comparison.cell, frame, measure), _values(rival.cell, frame, measure), delta
            )
            for rival in comparison.rivals
            for measure in comparison.measures
        },
    )


def _values(
    cell: Cell, frame: pd.DataFrame, measure: Measure
) -> dict[Cuts, list[tuple[int, float]]]:
    if measure.column not in frame:
        return {}
    own = (frame["cell_id"] == cell.id) & frame["counted"] & (frame["role"] == "split")
    rows = frame.loc[own, ["cuts", "repeat", measure.column]]
    numbers = pd.to_numeric(rows[measure.column], errors="coerce")
    found: dict[Cuts, list[tuple[int, float]]] = {}
    columns = (part.tolist() for part in (rows["cuts"], rows["repeat"], numbers))
    for cuts, repeat, value in zip(*columns, strict=True):
        if value > 0:
            found.setdefault(undashed(str(cuts)), []).append((int(repeat), float(value)))
    return found


def sentences(contrast: Contrast) -> list[Markup]:
    """Describe each rival relative to the reference, a paragraph each."""
    comparison = contrast.comparison
    lines = []
    for rival in comparison.rivals:
        every = (_sentence(contrast, rival, measure) for measure in comparison.measures)
        said = ["the " + " The ".join(text for text in every if text)]
        other = [
            split.name
            for split, beside in zip(comparison.splits, rival.splits, strict=True)
            if beside is None
        ]
        if other:
            were = "were" if len(other) > 1 else "was"
            said.append(f"{listing(other)} {were} not measured alike, and so not compared.")
        lines.append(Markup("With {}, {}").format(rival.name, " ".join(said)))
    return lines


def _sentence(contrast: Contrast, rival: Rival, measure: Measure) -> str:
    found = contrast.of(rival, measure)
    if not found:
        return ""
    values = [difference.ratio for difference in found.values()]
    times = between(values)
    whole = f"{measure.label} is {times} times that with {contrast.comparison.name}"
    if len(found) == 1:
        [difference] = found.values()
        return f"{whole}, measured at one split: {_named(difference.verdict, contrast.delta)}."
    middle = f" (median {number(median(values))})" if " to " in times else ""
    names = {split.cuts: split.name for split in contrast.comparison.splits}
    parts = []
    for verdict in VERDICTS:
        places = [
            names[cuts] for cuts, difference in found.items() if difference.verdict == verdict
        ]
        if places:
            where = "all of them" if len(places) == len(found) else _where(places)
            parts.append(f"{_named(verdict, contrast.delta)} at {where}")
    return f"{whole} over {count(len(found), 'split')}{middle}: {', '.join(parts)}."


def _where(places: Sequence[str]) -> str:
    return listing(places) if len(places) <= 3 else str(len(places))


def _named(verdict: str, delta: float) -> str:
    return f"equal within {percent(delta)}" if verdict == "equal" else verdict


def marker(number: int) -> str:
    """Return the marker of kind 0, 1, …, as its colour is that of a stage."""
    return "os^v"[number % 4]


def chart(comparison: Comparison, measure: Measure) -> str:
    """Draw a row a split, a mark a kind, whiskers for its range."""
    rows, columns = comparison.splits, comparison.columns
    with mpl.rc_context(STYLE):
        figure, axes = empty(6.0, 1.1 + 0.32 * len(rows))
        middles = []
        for number, (_, splits) in enumerate(columns):
            colour = stage_colour(number + 1)
            known = [
                (row, s) for row, split in enumerate(splits) if (s := split and measure.of(split))
            ]
            # Side by side: equal values would hide each other.
            heights = [row + 0.44 * (number + 0.5) / len(columns) - 0.22 for row, _ in known]
            for height, (_, value) in zip(heights, known, strict=True):
                axes.plot((value.low, value.high), (height, height), color=colour, linewidth=1.2)
            middle = [value.median for _, value in known]
            axes.plot(middle, heights, marker(number), color=colour, markersize=6, linestyle="none")
            middles += middle
        scale = spread_out(axes, middles)
        axes.set(xlabel=f"{measure.label} ({measure.unit}{scale})")
        axes.grid(axis="x", color=FAINT, linewidth=0.6, alpha=0.5)
        names = [split.name for split in rows]
        name_rows(axes, names)
        fit(figure, axes, names)
        return inline(
            figure, f"{comparison.factor.key}-{slug(comparison.cell.id)}-{measure.column}", {}
        )


def table(contrast: Contrast) -> Table:
    """Return each common split: medians with ranges, then rivals' ratios."""
    comparison = contrast.comparison
    columns = [Column("Split", "")]
    for measure in comparison.measures:
        heading = measure.label[0].upper() + measure.label[1:]
        columns += [Column(heading, f"{measure.unit}, {name}") for name, _ in comparison.columns]
        columns += [
            Column(f"{heading}, ratio", f"{r.name} / {comparison.name}") for r in comparison.rivals
        ]
    rows = []
    for index, split in enumerate(comparison.splits):
        entries: list[Entry] = []
        for measure in comparison.measures:
            for _, column in comparison.columns:
                known = column[index]
                entries.append(_figure(measure.of(known) if known else None))
            entries += [
                _ratio(contrast.of(rival, measure).get(split.cuts)) for rival in comparison.rivals
            ]
        place = f"{comparison.factor.key}-{slug(comparison.cell.id)}-{slug(split.name)}"
        rows.append(Row(place, split.name, tuple(entries)))
    return Table(tuple(columns), tuple(rows))


def _figure(value: Spread | None) -> Entry:
    return Entry(spread(value), f"{value.median:.6g}") if value else NOTHING


def _ratio(difference: Difference | None) -> Entry:
    """Return '↑ higher 1.20 [1.10, 1.31]'."""
    if difference is None:
        return NOTHING
    text = f"{_SIGNS[difference.verdict]} {difference.verdict} {interval(difference)}"
    return Entry(text, f"{difference.ratio:.6g}")


def interval(difference: Difference) -> str:
    """Return '1.20 [1.10, 1.31]'; the ratio alone where spread is unknown."""
    text = number(difference.ratio)
    if difference.low is not None and difference.high is not None:
        places = decimals(float(f"{difference.ratio:.2e}"))  # as many as the ratio
        low, high = (f"{end:,.{places}f}" for end in (difference.low, difference.high))
        text += f" [{low},\N{NO-BREAK SPACE}{high}]"
    return text
