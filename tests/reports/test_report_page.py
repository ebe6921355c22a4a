"""The page: reproducible, self-contained, points and rows linked, readable colours."""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from reports.data.records import read
from reports.page.figures import point_id
from reports.page.render import pages
from tests.made import sweep as synthetic
from tests.made.runs import bare
from tests.reports.conftest import MODEL

ROOT = Path(__file__).parents[2]


class Elements(HTMLParser):
    """A page's start tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [
            attributes
            for name, attributes in self.found
            if name == tag and (not kind or kind in attributes.get("class", "").split())
        ]


@pytest.fixture(params=["page", "kinds_page", "coded_page"])
def any_page(request: pytest.FixtureRequest) -> str:
    """Return the plain page, the comparing one, and the one with codecs."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def again(
    sweep: Path, kinds_sweep: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], set[str]]:
    """Write both reports with another hash seed; return folders and imports."""
    outs = [tmp_path_factory.mktemp(name) for name in ("plain", "kinds")]
    code = (
        "import os, sys; from reports.cli import main\n"
        # One process makes all pages, so its imports are complete.
        "os.cpu_count = lambda: 1\n"
        "for results, out in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    assert main([results, '--out', out]) == 0\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code]
        + [str(path) for pair in zip((sweep, kinds_sweep), outs, strict=True) for path in pair],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "2" if os.getenv("PYTHONHASHSEED") == "1" else "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *written, modules = done.stdout.splitlines()
    assert written == [str(out / "index.html") for out in outs]
    return outs, set(modules.split())


def test_the_same_records_give_the_same_bytes(
    again: tuple[list[Path], set[str]], sweep_files: dict[str, str], kinds_files: dict[str, str]
) -> None:
    for out, files in zip(again[0], (sweep_files, kinds_files), strict=True):
        assert files.keys() == {"index.html", "mobilenetv2.html", "runs.csv", "verdict.txt"}
        for name, text in files.items():
            assert (out / name).read_bytes() == text.encode(), name


def test_the_report_never_imports_torch_or_what_runs(again: tuple[list[Path], set[str]]) -> None:
    assert "reports" in again[1]
    loaded = {".".join(name.split(".")[:2]) for name in again[1]}
    assert not loaded & {"torch", "torchvision"}
    ours = {name for name in loaded if name.startswith("paretopipe_runtime.")}
    assert ours <= {
        f"paretopipe_runtime.{name}" for name in ("contract", "errors", "judging", "prediction")
    }


def test_user_errors_are_one_line_and_status_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "reports", str(tmp_path), "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"E_NO_RECORDS: .+, expected .+ — .+\n", done.stderr)


def test_nothing_is_loaded_from_outside(any_page: str) -> None:
    for _, attributes in Elements(any_page).found:
        for key in ("src", "href", "xlink:href", "action", "srcset", "style"):
            assert "//" not in re.sub(r"^data:[^,]*,.*", "", attributes.get(key, ""))
    assert "url(http" not in any_page
    assert "@import" not in any_page


def test_ids_are_unique_and_every_link_arrives(any_page: str) -> None:
    elements = Elements(any_page)
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for _, a in elements.found if a.get("href", "").startswith("#")]
    assert set(links) <= set(ids)


def test_every_measured_row_and_its_point_are_linked_to_each_other(page: str) -> None:
    elements = Elements(page)
    rows = {row["id"] for row in elements.all("tr") if row.get("id", "").startswith("row-")}
    found = [point for point in elements.all("a", "point") if "id" in point]  # not an inset's again
    points = {point["href"][1:]: point["id"] for point in found}
    splits = {row for row in rows if re.search(r"-P\d+$", row)}
    assert len(splits) == 80
    assert points.keys() <= rows
    # Planned, not measured. An end point far from all splits is not drawn.
    assert splits - points.keys() == {"row-mobilenetv2-socket-pi_to_gpu-wan-P20"}
    assert set(points.values()) == {point_id(row) for row in points}
    for row, point in points.items():
        assert re.search(rf'<tr id="{row}"[^>]*><th [^>]*><a href="#{point}">', page)


def test_encoded_splits_have_rows_of_their_own(coded_files: dict[str, str]) -> None:
    rows = [row["id"] for row in Elements(coded_files[MODEL]).all("tr") if "id" in row]
    place = "row-mobilenetv2-socket-pi_to_pi-wan"
    own = [row.removeprefix(f"{place}-") for row in rows if row.startswith(place)]
    assert len(own) == len(set(own)) == 3 * 20 + 4
    assert {"P3", "P3-int8", "all-on-pi2-int4"} <= {*own}
    frame = pd.read_csv(io.StringIO(coded_files["runs.csv"]), dtype=str)
    assert frame["counted"].value_counts().to_dict() == {"True": 3 * 64, "False": 3 * 2}
    assert {"3", "3 int8", "0 int4"} <= set(frame["cuts"])
    # Classes may change there, and that is no lack of proof.
    assert "cannot show that its output" not in coded_files[MODEL]
    assert "In 126 tensors went encoded" in coded_files[MODEL]


def test_points_say_in_words_what_they_show(page: str) -> None:
    labels = re.findall(r'class="point[^"]*"><title>([^<]+)</title>', page)
    points = Elements(page).all("a", "point")
    assert len(labels) == sum("aria-hidden" not in point for point in points)  # an inset's again
    assert all(re.match(r"(P\d+|all on \w+), .+: latency [\d.]+\ss \[.+\], ", s) for s in labels)


def test_left_out_runs_are_shown_and_counted(page: str, table: str) -> None:
    frame = pd.read_csv(io.StringIO(table))
    left = frame[~frame["counted"]]["excluded"]
    alone = left[~left.str.startswith(("superseded", "sentinel"))]
    assert list(alone) == [
        *("invalid:network", "invalid:throttled", "failed:E_PEER_LOST", "skipped:memory"),
    ]
    kinds = left.str.extract("^([a-z]+)")[0].value_counts()
    assert (
        f"{frame['counted'].sum()} of {len(frame)} runs count. {kinds['sentinel']} only checked "
        f"for drift; {kinds['superseded']} were replaced by repeats; 1 skipped; 3 failed or are "
        "invalid." in page
    )
    section = page[page.index('<section id="excluded">') :]
    assert "pi2 closed the connection in batch 3" in section
    # A round measured again is one line, not a row a run.
    again = left.str.startswith("superseded").sum()
    assert again > 20
    assert f"<b>{again} runs</b> of <code>mobilenetv2.socket.pi_to_pi.baseline</code>" in section
    assert f"<b>{left.str.startswith('sentinel').sum()} runs</b>: sentinel" in section
    assert len(re.findall(r'<tr id="out-\d+"', section)) == len(alone)


def test_a_long_list_of_left_out_runs_is_cut_short(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]], repeats=110)]
    lines[1:] = [bare(line, "failed:E_TIMEOUT", "late") for line in lines[1:]]
    synthetic.write_cell(tmp_path, lines)
    page = pages(read(tmp_path))[MODEL]
    assert len(re.findall(r'<tr id="out-\d+"', page)) == 200
    assert "And 20 more: see <code>runs.csv</code>." in page


def test_the_csv_is_tidy(table: str) -> None:
    frame = pd.read_csv(io.StringIO(table))
    # One row per attempt: a split has no record, a run was done twice; end points, sentinels and
    # a round of 22 and its sentinels once more.
    assert len(frame) == 4 * 5 * (20 + 2 + 2) - 5 + 1 + 24
    assert frame.columns.is_unique
    assert not frame.duplicated(["cell_id", "run_key", "attempt"]).any()
    counted = frame[frame["counted"]]
    assert counted[["latency_s", "throughput_img_s", "stage1_compute_s"]].notna().all(axis=None)
    assert (counted["throughput_img_s"] >= counted["throughput_with_filling_img_s"]).all()


def test_text_from_records_is_escaped(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3]], repeats=2)]
    lines[1] = bare(lines[1], "failed:E_X", "<script>alert(1)</script>")
    lines[2]["stages"][0]["block_names"] = ["<b>bold"]
    synthetic.write_cell(tmp_path, lines)
    page = pages(read(tmp_path))[MODEL]
    assert "<script>alert" not in page
    assert "<b>bold" not in page


def test_a_plan_alone_makes_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, [next(synthetic.cell(random.Random(1)))])
    page = pages(read(tmp_path))[MODEL]
    assert "no answer here" in page
    assert "Planned, but no split has a valid run yet." in page
    assert 'class="point' not in page


def test_numbers_on_the_axes_survive_the_clean_up(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]])]
    for line in lines[1:]:
        line["latency"]["median_s"] = 0.12345 + line["factors"]["cuts"][0] * 1e-4
    synthetic.write_cell(tmp_path, lines)
    page = pages(read(tmp_path))[MODEL]
    assert re.search(r">0\.12[34]\d?\d?</text>", page)


def test_colours_have_contrast_in_light_and_dark() -> None:
    css = (ROOT / "reports/page/report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    for theme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for ground in ("paper", "raised", "mark"):
            for text in ("ink", "quiet", "link", "warn"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for shape in ("c0", "c1", "c2", "c3", "c4"):
            assert contrast(colours[shape], colours["paper"]) >= 3, shape


def contrast(one: str, other: str) -> float:
    """Return two colours' contrast ratio as WCAG defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_scripts_are_short() -> None:
    scripts = [
        *(ROOT / "reports/page/scripts").glob("*.js"),
        ROOT / "reports/page/sections/goals.js",
    ]
    assert len(scripts) == 7
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 150 for path in scripts)
