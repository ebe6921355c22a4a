"""Where splits crowd on the front, a chart shows them again, larger."""

from __future__ import annotations

import re
from pathlib import Path

from reports.objectives import OBJECTIVES
from reports.page.draw import charts, inset
from tests.made import known

NEAR = [(0.1 + 0.01 * k, 0.8 + 0.01 * k) for k in range(6)]
FAR = [(0.3 + 0.05 * k, 0.4 - 0.05 * k) for k in range(6)]


def test_only_a_crowd_on_the_front_is_zoomed() -> None:
    part = inset.crowd([*NEAR, *FAR], frozenset(NEAR[-1:]))
    assert part is not None
    assert all(inset.within(point, part) for point in NEAR)
    assert not any(inset.within(point, part) for point in FAR)
    assert inset.crowd([*NEAR, *FAR], frozenset(FAR[-1:])) is None  # they crowd elsewhere
    assert inset.crowd([*NEAR[:4], *FAR], frozenset(NEAR[:4])) is None  # a few have their names


def test_an_inset_hides_no_point() -> None:
    part = inset.crowd([*NEAR, *FAR], frozenset(NEAR))
    assert part is not None
    place = inset.free([*NEAR, *FAR], part)
    assert place is not None
    assert not any(inset.within(point, place) for point in (*NEAR, *FAR))
    everywhere = [(x / 10, y / 10) for x in range(11) for y in range(11)]
    assert inset.free(everywhere, part) is None


def test_its_points_are_named_and_lead_to_the_rows_for_a_pointer_only(tmp_path: Path) -> None:
    crowd = {k: (0.2 + 0.002 * k, 40 + 1.2 * k) for k in range(1, 9)}
    rest = {k: (0.3 + 0.05 * k, 30 - 1.2 * k) for k in range(9, 20)}
    known.write(tmp_path, {**crowd, **rest}, noise=0.004)
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    svg = charts.pareto(cell, sheet.judgements[cell.id], OBJECTIVES)
    again = re.findall(r'<a href="#(\S+)" class="[^"]+" tabindex="-1" aria-hidden="true">', svg)
    assert {row.rpartition("-")[2] for row in again} == {f"P{k}" for k in crowd}
    assert len(re.findall(r' id="at-', svg)) == len(cell.measured)
    assert ">P8</text>" in svg
