"""A report's folder: files, index, and the command line."""

from __future__ import annotations

import base64
import io
import lzma
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from paretopipe_runtime.contract.commands import command as command_line
from reports import cli
from reports.data import repeat
from reports.data.records import read
from reports.data.tidy import csv, tidy
from reports.errors import ReportError
from reports.objectives import DELTA, LATENCY
from reports.page import render
from reports.page.sections import downloads
from reports.page.sheet import Sheet
from tests.made import samples
from tests.made import sweep as synthetic

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models; one lacks a cell and has another only planned."""
    folder = tmp_path_factory.mktemp("two")
    models, splits = ("mobilenetv2", "vgg16"), [[3], [9], [17]]
    synthetic.write(folder, models=models, repeats=3, flaws=False, splits=splits)
    (folder / "vgg16.socket.pi_to_gpu.wan.jsonl").unlink()
    planned = folder / "vgg16.socket.pi_to_gpu.baseline.jsonl"
    planned.write_text(f"{planned.read_text().splitlines()[0]}\n")
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    synthetic.write_cell(folder, [*synthetic.cell(random.Random(1), splits=[[3], [9], [10]])])
    return folder


@pytest.fixture(scope="module")
def alone(one: Path) -> dict[str, str]:
    return render.pages(read(one))


@pytest.fixture(scope="module")
def made(two: Path) -> dict[str, str]:
    return render.pages(read(two))


def links(page: str) -> set[tuple[str, str]]:
    """Return files and ids outside the page that it links to."""
    found = re.findall(r'href="((?!data:)[a-z][^"#]*)#?([^"]*)"', page)
    return {(file, place) for file, place in found}


def test_a_page_each_model_an_index_and_a_table(made: dict[str, str], two: Path) -> None:
    pages_of = {"index.html", "mobilenetv2.html", "vgg16.html"}
    assert made.keys() == pages_of | {"runs.csv", "verdict.txt"}
    assert made["runs.csv"] == csv(tidy(read(two).runs))
    assert "Where to split VGG16" in made["vgg16.html"]
    assert "row-mobilenetv2" not in made["vgg16.html"]


def test_every_link_of_the_index_arrives(made: dict[str, str]) -> None:
    targets = {name: set(re.findall(r'id="([^"]+)"', page)) for name, page in made.items()}
    found = links(made["index.html"]) - {("runs.csv", ""), ("records/", "")}
    assert {file for file, _ in found} == {"mobilenetv2.html", "vgg16.html"}
    for file, place in found:
        assert place in targets[file] | {""}
    own = set(re.findall(r'href="#([^"]+)"', made["index.html"]))
    assert own <= targets["index.html"]


def test_points_and_rows_of_the_index_lead_to_the_splits_they_name(
    made: dict[str, str], two: Path
) -> None:
    sheets = {f"{sheet.model}.html": sheet for sheet in Sheet.each(read(two))}
    cells = [(file, cell) for file in sheets for cell in sheets[file].cells if cell.measured]
    names = {(file, split.row_id): split.name for file, cell in cells for split in cell.measured}
    charts, tables = (
        re.findall(rf"<{part}\b.*?</{part}>", made["index.html"], re.DOTALL)
        for part in ("svg", "tbody")
    )
    link = r'href="([^"#]+)#([^"]+)"[^>]*>(?:<title>\w+ )?(\w+)'
    drawn = [found for chart in charts for found in re.findall(link, chart)]
    told = [found for table in tables for found in re.findall(link, table)]
    front = {
        (file, split.row_id)
        for file, cell in cells
        for split in sheets[file].judgements[cell.id].front(cell)
    }
    assert sorted((file, row) for file, row, _ in drawn) == sorted(front)
    # The quickest, the busiest and the balanced split of every cell.
    assert len(told) == 3 * len(cells)
    for file, row, name in (*drawn, *told):
        assert names[file, row] == name
        assert f'<tr id="{row}"' in made[file]


def test_the_index_names_the_best_splits(made: dict[str, str], two: Path) -> None:
    [sheet, _] = Sheet.each(read(two))
    cell = sheet.cells[0]
    answer = sheet.decisions[cell.id]
    assert answer is not None
    fast = next(split for split in cell.splits if split.cuts == answer.of(LATENCY).pick)
    row = re.search(
        rf'<tr id="model-{cell.id.replace(".", "-")}".*?</tr>', made["index.html"], re.S
    )
    assert row
    assert f'<a href="mobilenetv2.html#{fast.row_id}">{fast.name}</a>' in row[0]
    assert f"{fast.median(LATENCY):.3g}" in row[0]


def test_the_index_says_which_model_lacks_what(made: dict[str, str]) -> None:
    index = made["index.html"]
    assert "No records of VGG16 here." in index
    assert "Planned, but no split has a valid run yet: VGG16." in index
    assert "no valid run yet in Pi-to-server, CPU, baseline" in index


def test_one_model_has_a_short_index(alone: dict[str, str]) -> None:
    index = alone["index.html"]
    assert 'href="mobilenetv2.html"' in index
    assert "Pick <b>" in index
    assert 'href="#row-' not in index
    assert "<figure>" not in index


def test_a_models_name_becomes_a_file_name(tmp_path: Path) -> None:
    for model in ("index", "../evil", "Index"):
        lines = [*synthetic.cell(random.Random(1), splits=[[3]], repeats=1)]
        lines[0]["plan"] |= {"model": model, "cell_id": f"{model}.cell".replace("/", "-")}
        lines[1]["factors"]["model"] = model
        lines[1]["cell_id"] = lines[0]["plan"]["cell_id"]
        synthetic.write_cell(tmp_path, lines)
    names = render.file_names(Sheet.each(read(tmp_path)))
    assert len({name.lower() for name in names.values()} | {"index.html"}) == 4
    assert all(re.fullmatch(r"[\w-]+\.html", name) for name in names.values())


def test_the_command_writes_pages_made_side_by_side_and_data(
    two: Path, made: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(cli, "_tell", told.append)
    assert cli.main([str(two), "--out", str(tmp_path)]) == 0
    expected = {name: text.encode() for name, text in made.items()}
    expected |= {f"records/{path.name}": path.read_bytes() for path in two.glob("*.jsonl")}
    assert {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    } == expected
    assert told[1:3] == ["MobileNetV2, page 1 of 2", "VGG16, page 2 of 2"]


def test_a_report_that_is_killed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "index.html"
    page.write_text("the old one")
    write = Path.write_text

    def killed(path: Path, text: str, encoding: str, newline: str) -> int:
        write(path, text[: len(text) // 2], encoding=encoding, newline=newline)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        cli._replace(page, "the new one, twice as long")
    assert page.read_text() == "the old one"
    assert [*tmp_path.iterdir()] == [page]


def test_errors_are_one_line(one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken, absent = tmp_path / "taken", tmp_path / "absent"
    taken.write_text("a file where a folder is to be")
    for arguments in (
        [str(one), "--out", str(taken)],
        [str(one), "--out", str(tmp_path), "--delta", "2"],
        [str(absent), "--out", str(tmp_path)],
    ):
        assert cli.main(arguments) == 2
        said = capsys.readouterr()
        assert re.fullmatch(r"E_[A-Z_]+: .+, expected .+ — .+\n", said.err)
        assert said.out == ""
    assert taken.read_text() == "a file where a folder is to be"


def test_delta_changes_the_verdict(one: Path, alone: dict[str, str]) -> None:
    for delta, files in ((DELTA, alone), (0.9, render.pages(read(one), 0.9))):
        margins = set(re.findall(r"δ(?:&nbsp;| )=(?:&nbsp;| )(\d+).%", files["mobilenetv2.html"]))
        assert margins == {f"{100 * delta:g}"}


def test_what_fits_is_inside_and_the_rest_beside(two: Path) -> None:
    [sheet, _] = Sheet.each(read(two))
    [section] = downloads.build(sheet)
    whole = downloads.embed(section, sheet, 10**7)["downloads"]
    data = {one.name: unpacked(one.data) for one in whole}
    table = pd.read_csv(io.BytesIO(data["runs.csv.xz"]))
    pd.testing.assert_frame_equal(
        table, pd.read_csv(io.StringIO(csv(sheet.frame))), rtol=1e-6, check_dtype=False
    )
    for path in two.glob("mobile*.jsonl"):
        assert data[f"{path.name}.xz"] == path.read_bytes()
    assert [one.data for one in downloads.embed(section, sheet, 0)["downloads"]] == [""] * len(
        whole
    )
    room = len(whole[0].data) + 10
    some = downloads.embed(section, sheet, room)["downloads"]
    assert [bool(one.data) for one in some] == [True] + [False] * (len(whole) - 1)
    assert {one.beside for one in some[1:]} == {
        f"records/{p.name}" for p in two.glob("mobile*.jsonl")
    }


def unpacked(url: str) -> bytes:
    return lzma.decompress(base64.b64decode(url.removeprefix("data:application/x-xz;base64,")))


def test_the_largest_page_of_the_paper_with_ten_runs_a_split_is_small(tmp_path: Path) -> None:
    folder = tmp_path / "ten"
    settings = {"end_points": True, "sentinels": True, "profiles": True, "links": True}
    synthetic.write(folder, models=["vgg16"], repeats=10, flaws=False, again=[2], **settings)
    page = render.pages(read(folder))["vgg16.html"]
    assert page.count('<tr id="row-vgg16-') == 4 * (38 + 2)
    assert len(page.encode()) < 400_000


def test_a_page_of_four_hundred_runs_is_small(page: str) -> None:
    assert len(page.encode()) < 400_000
    assert 'download="runs.csv.xz"' in page


def test_provenance_says_how_to_measure_it_again(tmp_path: Path) -> None:
    options = {
        **{"model": "mobilenetv2", "repeats": 5, "splits": [[3], [9]], "backend": ["rpc"]},
        **{"scenarios": ["a b"], "allocator": {"pi1": "tuned", "pi2": "tuned"}},
        **{"refine": True, "sweep": "it's"},
    }
    source = {"commit": "abc", "dirty": False, "experiment": "demo", "options": options}
    lines = synthetic.cell(random.Random(1), splits=[[3], [9]], repeats=1, provenance=source)
    synthetic.write_cell(tmp_path, [*lines])
    [command] = repeat.commands(Sheet.of(read(tmp_path)).cells)
    assert shlex.split(command)[:2] == ["ansible-playbook", "playbooks/full_sweep.yml"]
    assert shlex.split(command)[3::2] == [
        *(
            "experiment=demo",
            "model=mobilenetv2",
            '{"sweep": "it\'s"}',
            '{"scenarios": "a b"}',
            "backend=rpc",
        ),
        *("splits=3,9", "allocator=tuned", "allow_insecure_rpc=true", "refine=true", "repeats=5"),
    ]
    page = render.pages(read(tmp_path))["mobilenetv2.html"]
    assert "-e splits=3,9" in page
    # Without a profile, the command for one has all its options.
    profile = "ansible-playbook playbooks/profile.yml -e experiment=demo -e model=mobilenetv2"
    assert f"<code>{profile} -e" in page
    assert "splits" not in page.split(f"<code>{profile}")[1].split("</code>")[0]


def test_one_split_of_a_doubtful_sweep_is_measured_again_as_any_is(tmp_path: Path) -> None:
    asked = {"strategy": "doubtful", "budget": 0.2, "audit": 0.1, "within": "45min"}
    options = {"model": "mobilenetv2", "splits": "all", "repeats": 5, "sentinel": False, **asked}
    source = {"commit": "abc", "dirty": False, "experiment": "demo", "options": options}
    lines = synthetic.cell(random.Random(1), splits=[[3]], repeats=1, provenance=source)
    synthetic.write_cell(tmp_path, [*lines])
    [cell] = Sheet.of(read(tmp_path)).cells
    [whole] = repeat.commands([cell])
    for name, value in asked.items():
        assert f" -e {name}={value}" in whole
        assert f" -e {name}=" not in repeat.of_split(cell, "P3", (3,))
        assert f" -e {name}=" not in repeat.to_profile(cell)
    assert "sentinel" not in repeat.of_split(cell, "P3", (3,))


def test_digests_and_parameters_come_from_the_runs(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3]], repeats=2)]
    for line in lines[1:]:
        line["proof"] |= {"weights_digest": "ab" * 32, "input_digest": "cd" * 32}
        for part, parameters in zip(line["stages"], (1_000_000, 1_236_682), strict=True):
            part["parameters"] = parameters
    synthetic.write_cell(tmp_path, lines)
    page = render.pages(read(tmp_path))["mobilenetv2.html"]
    assert f'Weights, sha256: <span class="ids">{"ab" * 32}</span>' in page
    assert f'Model input, sha256: <span class="ids">{"cd" * 32}</span>' in page
    assert re.search(r'Here</th><td class="num">2,236,682</td>\s*<td class="num">21</td>', page)


def test_ansible_reads_the_command_as_it_was_meant() -> None:
    ansible = Path(sys.executable).with_name("ansible")
    if not ansible.exists():
        pytest.skip("no ansible beside this Python: make setup installs it")
    words = shlex.split(command_line({"model": "vgg16", "sweep": 'it\'s a "b" c=d'}))
    typed = words[2:]
    shown = subprocess.run(
        [ansible, "localhost", "-m", "debug", "-a", "msg={{ [model, sweep] | to_json }}", *typed],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "vgg16" in shown.stdout, shown.stderr
    assert r"\"b\" c=d" in shown.stdout


def test_a_folder_of_profiles_alone_makes_pages(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, [*samples.profile(random.Random(1))])
    made = render.pages(read(tmp_path))
    assert "3 of 21 blocks take half of the time" in made["mobilenetv2.html"]
    shutil.rmtree(tmp_path)
    with pytest.raises(ReportError, match="E_NO_RESULTS"):
        read(tmp_path)
