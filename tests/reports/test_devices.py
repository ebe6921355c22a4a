"""Devices: a GPU is named, never mixed with a CPU, and compared with one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.factors import ALLOCATOR, BACKEND, DEVICE, ENGINE
from reports.data.factors import phrase
from reports.data.records import read
from reports.page.sections import provenance
from reports.page.sections.comparisons import build as comparisons
from reports.page.sections.comparisons import compare, contrast
from reports.page.sections.resources import build as resources
from reports.page.sheet import Sheet
from reports.prediction import matching
from tests.prediction import made
from tests.reports import synthetic_sweep as synthetic

PAIR = {"pairing": "pi_to_gpu", "workers": ["pi1", "server"], "splits": [[3], [9], [17]]}
TUNED = ("tuned", "tuned")


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
    assert matching.profiles_of(plain, [gpu, pi, processor]) == (pi, processor)
    assert matching.profiles_of(on_gpu, [processor, pi, gpu]) == (pi, gpu)
    lacking = matching.profiles_of(on_gpu, [pi, processor])
    assert isinstance(lacking, str)
    assert "not profiled on server (PyTorch eager, tuned malloc, GPU on server)" in lacking
    told = " ".join(matching.notes(on_gpu, [pi, gpu], [None]))
    assert "A batch's way to the GPU of server and back is no part of a block's time" in told
