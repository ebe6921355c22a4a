"""Emulation by processes is named wherever shown, and kept apart."""

from __future__ import annotations

import random
from pathlib import Path

from paretopipe_runtime.contract.lines import Record
from reports.data.profiles import links, profiles
from reports.data.records import read
from reports.page.render import pages
from reports.page.sheet import Sheet
from reports.prediction.matching import links_of, profiles_of
from tests.made import samples
from tests.made import sweep as synthetic
from tests.reports.conftest import MODEL

CLAIM = "processes on one machine, link emulated in user space"
EMULATED = {"emulation": "processes"}


def written(folder: Path, *plans: Record) -> dict[str, str]:
    """Write a small cell per change of the plan; return the report."""
    for plan in plans:
        lines = synthetic.cell(
            random.Random(1), splits=[[3], [9]], repeats=3, allocators=("tuned", "tuned"), **plan
        )
        synthetic.write_cell(folder, [*lines])
    return pages(read(folder))


def lead(page: str) -> str:
    """Return the page above its first section."""
    return page.partition("<header>")[2].partition("</header>")[0]


def test_a_report_of_processes_says_so_at_its_head_and_what_it_cannot_show(tmp_path: Path) -> None:
    made = written(tmp_path, EMULATED)
    for name in (MODEL, "index.html"):
        assert f'<p class="badge">{CLAIM[0].upper()}{CLAIM[1:]}.</p>' in lead(made[name])
    page = made[MODEL]
    assert f"<dt>Hosts</dt><dd>{CLAIM}</dd>" in page
    assert "pi1 (processes)" in page
    assert "ansible-playbook -i inventory/processes playbooks/full_sweep.yml" in page
    assert "ansible-playbook -i inventory/processes playbooks/profile.yml" in page
    assert "not the speed of a Pi" in page.partition('id="methods"')[2]
    assert all(row.split(",")[7] == "processes" for row in made["runs.csv"].splitlines()[1:])


def test_a_report_of_hosts_says_nothing_of_it(tmp_path: Path) -> None:
    made = written(tmp_path, {})
    assert "ansible-playbook playbooks/full_sweep.yml" in made[MODEL]
    for page in made.values():
        assert "rocesses on one machine" not in page
        assert "(processes)" not in page


def test_processes_and_hosts_are_never_pooled_nor_compared(tmp_path: Path) -> None:
    made = written(tmp_path, {}, EMULATED)
    sheet = Sheet.of(read(tmp_path))
    assert [(cell.id, cell.variant["emulation"]) for cell in sheet.cells] == [
        ("mobilenetv2.socket.pi_to_pi.baseline", ""),
        ("mobilenetv2.socket.pi_to_pi.baseline.processes", "processes"),
    ]
    assert {split.runs for cell in sheet.cells for split in cell.splits} == {3}
    assert [len(group) for group in sheet.groups] == [1, 1]
    assert len({cell.variant for cell in sheet.cells}) == 2
    assert [sheet.naming.over(cell) for cell in sheet.cells] == ["", CLAIM]
    page = made[MODEL]
    assert f'<p class="badge">In part: {CLAIM}.</p>' in lead(page)
    assert "compared</h2>" not in page
    assert f"<dt>Hosts</dt><dd>hosts; {CLAIM}</dd>" in page
    assert {"pi1", "pi1 (processes)"} <= {
        cell.partition("<")[0].strip() for cell in page.split('<th scope="col">')
    }


def test_one_s_records_under_the_other_s_name_do_not_count(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]], repeats=3)]
    for line in lines[1:]:
        line["factors"] |= EMULATED if line["factors"]["repeat"] == 3 else {}
    synthetic.write_cell(tmp_path, lines)
    (cell,) = Sheet.of(read(tmp_path)).cells
    assert cell.variant["emulation"] == "processes"
    assert {split.runs for split in cell.splits} == {1}


def test_a_profile_of_processes_predicts_processes_only(tmp_path: Path) -> None:
    written(tmp_path, {}, EMULATED)
    for made in (samples.profile(random.Random(1)), samples.link(random.Random(1))):
        plan, *measured = made
        for line in measured:
            line["factors"] |= EMULATED
        synthetic.write_cell(tmp_path, [plan, *measured])
    records = read(tmp_path)
    blocks, moved = profiles(records), links(records)
    hosts, processes = Sheet.of(records).cells
    assert isinstance(profiles_of(hosts, blocks), str)
    assert profiles_of(processes, blocks) == blocks[:2]
    assert links_of(hosts, moved) == (None,)
    assert links_of(processes, moved) == moved
    assert {known.variant["emulation"] for known in (*blocks, *moved)} == {"processes"}
    assert "pi1 (processes)" in pages(records)[MODEL].partition('id="blocks"')[2]
