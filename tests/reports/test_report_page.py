"""The page: same bytes, nothing from outside, every point linked, readable colours, a browser."""

from __future__ import annotations

import base64
import gzip
import io
import os
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from reports.data.records import read
from reports.page.render import render
from tests.reports import synthetic_sweep as synthetic

ROOT = Path(__file__).parents[2]


class Elements(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        """Return the attributes of these elements, of one class if named."""
        return [
            attributes
            for name, attributes in self.found
            if name == tag and (not kind or kind in attributes.get("class", "").split())
        ]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the report's command line as a user does."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "reports", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(params=["page", "kinds_page"])
def any_page(request: pytest.FixtureRequest) -> str:
    """Return the plain page, then the one that compares backends, engines and allocators."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("folder", ["sweep", "kinds_sweep"])
def test_the_same_records_give_the_same_bytes(
    folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sweep: Path = request.getfixturevalue(folder)
    outs = [tmp_path / "one.html", tmp_path / "two.html"]
    for out in outs:  # fresh processes: hash seeds differ
        done = command(str(sweep), "--out", str(out))
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert outs[0].with_suffix(".csv").read_bytes() == outs[1].with_suffix(".csv").read_bytes()


def test_user_errors_are_one_line_and_status_2(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        done = command(str(folder), "--out", str(tmp_path / "r.html"))
        assert done.returncode == 2
        assert done.stdout == ""
        assert re.fullmatch(r"E_[A-Z_]+: .+, expected .+ — .+\n", done.stderr)


def test_the_report_never_imports_torch_or_the_runtime() -> None:
    code = (
        "import sys, reports.cli, reports.page.render;"
        "sys.exit(any(m.split('.')[0] in ('torch', 'paretopipe_runtime') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0


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


def test_every_measured_row_is_linked_from_its_point(page: str) -> None:
    elements = Elements(page)
    rows = {row["id"] for row in elements.all("tr") if row.get("id", "").startswith("row-")}
    points = {point["href"][1:] for point in elements.all("a", "point")}
    assert len(rows) == 80
    assert rows - points == {"row-mobilenetv2-socket-pi_to_gpu-wan-P20"}  # planned, not measured


def test_points_say_in_words_what_they_show(page: str) -> None:
    labels = [point["aria-label"] for point in Elements(page).all("a", "point")]
    assert all(
        re.match(r"P\d+(, on the front)?: latency [\d.]+\ss \[.+\], ", text) for text in labels
    )


def test_left_out_runs_are_shown_and_counted(page: str, table: str) -> None:
    frame = pd.read_csv(io.StringIO(table))
    assert list(frame[~frame["counted"]]["excluded"]) == [
        *("invalid:network", "invalid:throttled", "failed:E_PEER_LOST", "skipped:memory"),
    ]
    assert f"{frame['counted'].sum()} valid runs of {len(frame)} attempts" in page
    assert "pi2 closed the connection in batch 3" in page


def test_the_csv_is_tidy(table: str) -> None:
    frame = pd.read_csv(io.StringIO(table))
    assert len(frame) == 396  # one row per attempt
    assert frame.columns.is_unique
    assert not frame.duplicated(["cell_id", "run_key", "attempt"]).any()
    counted = frame[frame["counted"]]
    assert counted[["latency_s", "throughput_img_s", "stage1_compute_s"]].notna().all(axis=None)
    assert (counted["throughput_steady_img_s"] >= counted["throughput_img_s"]).all()


def test_downloads_hold_the_data_itself(page: str, table: str, sweep: Path) -> None:
    links = [link for link in Elements(page).all("a") if "download" in link]
    data = {link["download"]: base64.b64decode(link["href"].split(",")[1]) for link in links}
    assert data["paretopipe.csv"] == table.encode()
    for path in sweep.glob("*.jsonl"):
        assert gzip.decompress(data[f"{path.name}.gz"]) == path.read_bytes()


def test_text_from_records_is_escaped(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3]], repeats=2)]
    lines[1] = synthetic.bare(lines[1], "failed:E_X", "<script>alert(1)</script>")
    lines[2]["stages"][0]["block_names"] = ["<b>bold"]
    synthetic.write_cell(tmp_path, lines)
    page = render(read(tmp_path))[0]
    assert "<script>alert" not in page
    assert "<b>bold" not in page


def test_a_plan_alone_makes_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, [next(synthetic.cell(random.Random(1)))])
    page = render(read(tmp_path))[0]
    assert "no answer here" in page
    assert "Planned, but no split has a valid run yet." in page
    assert 'class="point' not in page


def test_numbers_on_the_axes_survive_the_clean_up(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]])]
    for line in lines[1:]:
        line["latency"]["median_s"] = 0.12345 + line["factors"]["cuts"][0] * 1e-4
    synthetic.write_cell(tmp_path, lines)
    page = render(read(tmp_path))[0]
    assert re.search(r">0\.12[34]\d?\d?</text>", page)


def test_colours_have_contrast_in_light_and_dark() -> None:
    css = (ROOT / "reports/page/templates/report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    for theme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for ground in ("paper", "raised", "mark"):
            for text in ("ink", "quiet", "link", "warn"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for shape in ("c0", "c1", "c2", "c3", "c4"):
            assert contrast(colours[shape], colours["paper"]) >= 3, shape


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_script_is_short() -> None:
    script = (ROOT / "reports/page/templates/report.js").read_text(encoding="utf-8")
    assert len(script.splitlines()) <= 150


# Runs in the page after it has loaded; what it finds wrong ends up in the document's title.
PROBE = """
<script>
window.addEventListener("load", () => {
  const wrong = [];
  const check = (what, holds) => { if (!holds) wrong.push(what); };
  const table = document.querySelector("table.splits");
  const first = () => table.tBodies[0].rows[0].cells[0].textContent;
  const latency = table.querySelectorAll("thead button")[3];
  latency.click();
  check("sorting", latency.closest("th").getAttribute("aria-sort") === "ascending");
  const fastest = first();
  latency.click();
  check("sorting back", first() !== fastest);
  document.getElementById("only").click();
  const rows = [...document.querySelectorAll("table.splits tbody tr")];
  check("filtering", rows.every((row) => row.hidden !== row.classList.contains("front")));
  const compared = [...document.querySelectorAll("table.compared, table.held.sorts")];
  check("leaving others", compared.every((one) => [...one.rows].every((row) => !row.hidden)));
  for (const one of compared) {
    const last = [...one.querySelectorAll("thead th")].at(-1);
    last.querySelector("button").click();
    check("sorting " + one.className, last.getAttribute("aria-sort") === "ascending");
  }
  document.getElementById("only").click();
  const point = document.querySelector("a.point");
  const row = document.getElementById(point.getAttribute("href").slice(1));
  point.dispatchEvent(new MouseEvent("mouseenter"));
  check("highlighting", row.classList.contains("hot"));
  check("width", document.documentElement.scrollWidth <= window.innerWidth);
  document.title = wrong.length ? "wrong: " + wrong.join(", ") : "all well";
});
</script>
"""


@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_shows_it_without_errors(any_page: str, tmp_path: Path, width: int) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here: install the chromium package to check the page in a browser")
    target = tmp_path / "report.html"
    target.write_text(any_page.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--enable-logging=stderr", "--v=0", f"--window-size={width},900"),
            *(f"--user-data-dir={tmp_path / 'profile'}", target.as_uri()),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "<title>all well</title>" in done.stdout, re.findall("<title>.*?</title>", done.stdout)[
        :1
    ]
    assert "CONSOLE" not in done.stderr
