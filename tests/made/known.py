"""Cells with known latencies and throughputs, to check a report's statements."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from reports.data.records import read
from reports.page.sections.verdict.answer import Sentence
from reports.page.sheet import Sheet
from tests.made import sweep as synthetic

Point = tuple[float, float]  # latency in seconds, throughput in images/s


def write(
    folder: Path,
    values: Mapping[int, Point] | Mapping[tuple[int, ...], Point],
    scenario: str = "baseline",
    ends: tuple[Point, Point] | None = None,
    noise: float = 0.0,
    repeats: int = 5,
    codecs: Mapping[str, float] | None = None,
    **cell: object,
) -> None:
    """Write a cell with these splits, and with `ends` all on pi1 and all on pi2.

    `noise` is the deviation of a run's logarithms; without it a split's runs are equal. `codecs`
    say how many times as good they make a split.
    """
    source = random.Random(1)
    points = {(cut if isinstance(cut, tuple) else (cut,)): point for cut, point in values.items()}
    lines = [
        *synthetic.cell(
            source,
            scenario=scenario,
            splits=[*points],
            repeats=repeats,
            end_points=ends is not None,
            codecs=[*(codecs or ())],
            **cell,  # type: ignore[arg-type]
        )
    ]
    for line in lines[1:]:
        cuts = line["factors"]["cuts"]
        if line["factors"].get("role") == "end_point" and ends:
            latency, throughput = ends[len(cuts)]
        else:
            latency, throughput = points[tuple(cuts)]
        better = (codecs or {}).get(line["factors"].get("codec", "none"), 1.0)
        latency, throughput = latency / better, throughput * better
        line["latency"]["median_s"] = latency * source.lognormvariate(0, noise)
        line["throughput"]["sustained_img_s"] = throughput * source.lognormvariate(0, noise)
    synthetic.write_cell(folder, lines)


def sheet(folder: Path, delta: float = 0.02) -> Sheet:
    return Sheet.of(read(folder), delta)


def plain(sentences: Iterable[Sentence]) -> dict[str, str]:
    """Return texts by label, without links and non-breaking spaces."""
    return {one.label: one.text.striptags().replace("\xa0", " ") for one in sentences}
