"""GPUs and emulated hosts are named wherever shown, never mixed with others, and compared."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.factors import ALLOCATOR, BACKEND, DEVICE, ENGINE
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.prediction.matching import links_of, profiles_of
from paretopipe_runtime.prediction.profiles import links, profiles
from reports.data.factors import phrase
from reports.data.records import read
from reports.page.render import pages
from reports.page.sections import provenance
from reports.page.sections.comparisons import build as comparisons
from reports.page.sections.comparisons import compare, contrast
from reports.page.sections.resources import build as resources
from reports.page.sheet import Sheet
from reports.prediction.cells import conditions, notes, predictor_of
from tests.made import figures as made
from tests.made import samples
from tests.made import sweep as synthetic
from tests.reports.conftest import MODEL

PAIR = {"pairing": "pi_to_gpu", "workers": ["pi1", "server"], "splits": [[3], [9], [17]]}
TUNED = ("tuned", "tuned")
CLAIM = "processes on one machine, link emulated in user space"
EMULATED = {"emulation": "processes"}


def write(folder: Path, devices: tuple[str, ...] = (), faster: float = 1.0, **plan: Any) -> None:
    lines = [
        *synthetic.cell(random.Random(1), allocators=TUNED, devices=devices, **{**PAIR, **plan})
    ]
    for line in lines[1:]:
        compute = line["stages"][-1]["compute_s"]
        compute["latency"] = [seconds / faster for seconds in compute["latency"]]
    synthetic.write_cell(folder, lines)


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    """The same pairing on the server's processor and on its GPU."""
    write(tmp_path)
    write(tmp_path, ("cpu", "cuda"), faster=4)
    return Sheet.of(read(tmp_path))


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ((), "CPU"),
        (("cpu", "cpu"), "CPU"),
        (("cpu", "cuda"), "GPU on server"),
        (("cuda", "cuda:1"), "GPU on pi1, GPU 1 on server"),
        (("cpu", "tpu"), "tpu on server"),
    ],
)
def test_devices_in_words(devices: tuple[str, ...], said: str) -> None:
    cell = made.cell(hosts=("pi1", "server"), devices=devices)
    assert phrase(DEVICE, cell) == said


def test_a_gpu_is_a_cell_of_its_own_and_always_named(sheet: Sheet) -> None:
    plain, gpu = sheet.cells
    assert (plain.variant["devices"], gpu.variant["devices"]) == ((), ("cpu", "cuda"))
    assert len(sheet.groups) == 2
    assert sheet.naming.over(plain) == ""
    assert sheet.naming.over(gpu) == "GPU on server"
    assert [stage.device for stage in gpu.splits[0].stages] == ["cpu", "cuda"]
    settings = provenance.settings(sheet.cells, sheet.used)
    assert settings["Computed on"] == "CPU; GPU on server"


def test_the_hosts_table_says_which_gpu_it_was(sheet: Sheet) -> None:
    names, table = provenance.hosts(sheet.records.runs)
    server = {label: values[names.index("server")] for label, values in table.items()}
    assert server["GPU"] == "Invented GPU (not measured)"
    assert server["GPU memory"] == "24.0 GiB"
    assert (server["CUDA of PyTorch"], server["cuDNN"], server["TF32 on the GPU"]) == (
        *("12.8", "91002", "off"),
    )
    assert table["GPU"][names.index("pi1")] == "not available"


def test_a_gpu_is_compared_with_the_processor(sheet: Sheet) -> None:
    (found,) = compare.find(sheet.cells, DEVICE)
    assert [name for name, _ in found.columns] == ["CPU", "GPU on server"]
    text = " ".join(
        str(said).replace("\xa0", " ")
        for said in contrast.sentences(contrast.draw(found, sheet.frame, 0.02))
    )
    assert "compute time of stage 2 (server) is 0.250 times that with CPU" in text
    (section,) = comparisons(sheet)
    assert (section["id"], section["unmatched"]) == ("devices", [])
    assert section["items"][0]["over"] == ""
    for factor in (BACKEND, ENGINE, ALLOCATOR):
        assert compare.find(sheet.cells, factor) == []


def test_the_resources_say_what_went_into_a_gpus_time(sheet: Sheet) -> None:
    (section,) = resources(sheet)
    plain, gpu = (group["cells"][0] for group in section["groups"])
    assert plain["gpus"] == []
    assert [load for _, load in gpu["hosts"]] == ["CPU", "GPU"]
    way, memory, others = gpu["gpus"]
    assert "0.00200 s are the batch's way to the GPU of server and 0.000500 s its way" in way
    assert memory == "Its process held 512 MiB of the memory of the GPU of server."
    assert others.startswith("Other processes were on the GPU of server during some runs")


def test_everything_on_the_first_host_belongs_to_the_cell_though_it_has_no_gpu(
    tmp_path: Path,
) -> None:
    write(tmp_path, ("cpu", "cuda"), end_points=True)
    (cell,) = Sheet.of(read(tmp_path)).cells
    assert [(end.cuts, end.runs) for end in cell.end_points] == [((), 5), ((0,), 5)]


def test_runs_under_another_device_are_left_out(tmp_path: Path) -> None:
    """The newest valid runs' settings count."""
    old = [*synthetic.cell(random.Random(1), devices=("cpu", "cuda"), **{**PAIR, "repeats": 1})]
    new = [*synthetic.cell(random.Random(2), devices=("cpu", "cuda:1"), **{**PAIR, "repeats": 1})]
    for line in new:
        line.get("plan", line)["cell_id"] = old[0]["plan"]["cell_id"]
    for line in new[1:]:
        line["started_at"] = line["started_at"].replace("2000", "2001")
    synthetic.write_cell(tmp_path, [*old, *new])
    sheet = Sheet.of(read(tmp_path))
    excluded = set(sheet.frame["excluded"])
    assert excluded == {"", "settings:devices cpu+cuda, newest cpu+cuda:1"}
    assert sheet.cells[0].variant["devices"] == ("cpu", "cuda:1")


def test_only_the_profile_of_the_same_device_predicts() -> None:
    pi = made.profile("pi1", [0.03, 0.05], [2_000_000, 320])
    processor = made.profile("server", [0.02, 0.02], [2_000_000, 320])
    gpu = made.profile("server", [0.001, 0.001], [2_000_000, 320], device="cuda")
    plain = made.cell(hosts=("pi1", "server"))
    on_gpu = made.cell(hosts=("pi1", "server"), devices=("cpu", "cuda"))
    assert profiles_of(conditions(plain), [gpu, pi, processor]) == (pi, processor)
    assert profiles_of(conditions(on_gpu), [processor, pi, gpu]) == (pi, gpu)
    lacking = predictor_of(on_gpu, [pi, processor], [])
    assert isinstance(lacking, str)
    assert "not profiled on server (PyTorch eager, tuned malloc, GPU on server)" in lacking
    told = " ".join(notes(on_gpu, [pi, gpu], [None]))
    assert "A batch's way to the GPU of server and back is no part of a block's time" in told


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
    for kind in (samples.profile(random.Random(1)), samples.link(random.Random(1))):
        plan, *measured = kind
        for line in measured:
            line["factors"] |= EMULATED
        synthetic.write_cell(tmp_path, [plan, *measured])
    records = read(tmp_path)
    blocks, moved = profiles(records.profiles), links(records.links)
    hosts, processes = Sheet.of(records).cells
    assert isinstance(predictor_of(hosts, blocks, []), str)
    assert profiles_of(conditions(processes), blocks) == blocks[:2]
    assert links_of(conditions(hosts), moved) == (None,)
    assert links_of(conditions(processes), moved) == moved
    assert {known.variant["emulation"] for known in (*blocks, *moved)} == {"processes"}
    assert "pi1 (processes)" in pages(records)[MODEL].partition('id="blocks"')[2]
