"""The what-if section: the page's arithmetic is Python's, and the dials work in a browser."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from paretopipe_runtime.contract.splits import Coded, coded, split_name
from paretopipe_runtime.prediction.predictor import Codings, Predictor
from reports.data.records import read
from reports.objectives import LATENCY
from reports.page.render import environment
from reports.page.sections import whatif
from reports.page.sheet import Section, Sheet
from reports.prediction.cells import predictor_of
from reports.statistics.regret import balanced
from tests.made import figures as made
from tests.made import sweep as synthetic
from tests.reader import headless

SECTIONS = Path(whatif.__file__).parent


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    """Return a synthetic sweep with profiles, links and end points."""
    folder = tmp_path_factory.mktemp("whatif")
    synthetic.write(folder, repeats=2, end_points=True, profiles=True, links=True)
    return Sheet.of(read(folder))


@pytest.fixture(scope="module")
def section(sheet: Sheet) -> Section:
    """Return its section."""
    [section] = whatif.build(sheet)
    return section


@pytest.fixture(scope="module")
def html(section: Section) -> str:
    return rendered(section)


def rendered(section: Section) -> str:
    """Return a page with this section alone."""
    body = environment().get_template("sections/whatif.html.j2").render(section=section)
    style = (SECTIONS.parent / "report.css").read_text() + (SECTIONS / "whatif.css").read_text()
    script = (SECTIONS.parent / "scripts/view.js").read_text() + (
        SECTIONS / "whatif.js"
    ).read_text()
    return (
        '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">'
        f"<style>{style}</style><main>{body}</main><script>{script}</script></html>"
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium."""
    with headless() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, html: str) -> Iterator[Page]:
    with opened(browser, html) as page:
        yield page


@contextmanager
def opened(browser: Browser, html: str) -> Iterator[Page]:
    """Return the page as a phone shows it; whatever it complains about fails the test."""
    page = browser.new_page(viewport={"width": 400, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: complaints.append(request.url))
    page.set_content(html)
    yield page
    page.close()
    assert not complaints


def predictors() -> list[Predictor]:
    """Return predictors that take every path of the arithmetic."""
    plain = made.predictor()
    slow = replace(plain, slow_start=True, compute_s=((0.0, 0.6, 1.6, 2.0), (0.0, 0.3, 0.8, 1.0)))
    shapes = [(8, 3, 224, 224), (8, 45, 250, 25), (8, 500, 125), (8, 125, 125, 1)]
    profiles = [
        made.profile(
            *(host, [0.03, 0.05, 0.02, 0.01], [9_000_000, 2_000_000, 500_000, 32_000]),
            codings=made.codings(shapes, 3e-8, 1e-8),
        )
        for host in ("pi1", "pi2", "server")
    ]
    cpu = [(0.001, 1e-9), (0.02, 4e-9)]
    slow_link = made.link(("pi2", "server"), byte_s=8.5e-9, rtt_ms=0.4, rate_mbit=940, cpu=cpu)
    links = [made.link(cpu=cpu), slow_link]
    cell = made.cell(hosts=("pi1", "pi2", "server"), allocators=("tuned",) * 3)
    three = predictor_of(cell, profiles, links)
    assert isinstance(three, Predictor)
    farm = replace(three, hosts=("pi1", "pi2+pi3", "server"), window=4, saturate=True)
    return [plain, slow, three, replace(three, slow_start=True, window=1, saturate=True), farm]


def test_the_page_predicts_what_python_predicts(page: Page) -> None:
    source = random.Random(4)
    cases, expected = [], []
    for predictor in predictors():
        model = json.loads(json.dumps(whatif.coefficients(predictor)))
        ways = product((*predictor.splits, *predictor.end_points), ("none", *predictor.codings))
        for cuts, codec in ways:
            for _ in range(60 // (1 + len(predictor.codings))):
                rtt_ms = source.choice([0.0, 0.1 * 5000 ** source.random()])
                rate = source.choice([None, 0.5 * 20_000 ** source.random()])
                cases.append([model, cuts, rtt_ms, rate, codec])
                found = predictor.predict(coded(cuts, codec), rtt_ms, rate)
                expected.append([found.latency_s, found.throughput_img_s])
    seen = page.evaluate(
        "cases => cases.map((one) => whatif.predict(...one))",
        cases,
    )
    assert len(cases) > 900
    for one, other in zip(seen, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def said(page: Page) -> str:
    """Return the text below the first chart."""
    return page.locator("figure p").first.inner_text()


def test_the_page_opens_at_the_first_measured_network(page: Page, sheet: Sheet) -> None:
    predictor = sheet.predictors[sheet.cells[0].id]
    assert isinstance(predictor, Predictor)
    at = {cuts: predictor.predict(cuts, 0.2, 930) for cuts in predictor.splits}
    fast = min(at, key=lambda cuts: at[cuts].latency_s)
    busy = max(at, key=lambda cuts: at[cuts].throughput_img_s)
    even, _ = balanced({cuts: astuple(found) for cuts, found in at.items()}, [True, False])
    text = said(page)
    assert text.startswith("Predicted for 0.200 ms and 930 Mbit/s. ")
    assert f"Lowest latency: P{fast[0]}, " in text
    assert f"Highest throughput: P{busy[0]}, " in text
    assert f"Balanced: P{even[0]}, " in text
    assert "all on pi1" in text
    assert "all on pi2" in text


def test_dials_move_the_front_by_keyboard(page: Page) -> None:
    before, drawn = said(page), page.locator("figure svg").first.inner_html()
    rate = page.get_by_label("Rate", exact=True)
    rate.focus()
    page.keyboard.press("Home")
    assert "and 0.500 Mbit/s" in said(page)
    assert rate.get_attribute("aria-valuetext") == "0.500 Mbit/s"
    assert page.locator("figure svg").first.inner_html() != drawn
    assert page.locator("button[aria-pressed=true]").count() == 0
    rtt = page.get_by_label("Round-trip time", exact=True)
    rtt.focus()
    page.keyboard.press("Home")
    assert rtt.get_attribute("aria-valuetext") == "0 ms"
    page.keyboard.press("End")
    assert rtt.get_attribute("aria-valuetext") == "500 ms"
    page.get_by_role("button", name="baseline, unshaped").click()
    assert said(page) == before
    page.get_by_role("button", name="wan").click()
    assert "Predicted for 200 ms and 4.80 Mbit/s" in said(page)


def test_a_codec_is_chosen_where_one_was_profiled(browser: Browser, sheet: Sheet) -> None:
    cell, *_ = sheet.cells
    plain = sheet.predictors[cell.id]
    assert isinstance(plain, Predictor)
    half = tuple(size // 2 for size in plain.boundary_bytes)
    each_s = ((0.01,) * len(half),) * len(plain.hosts)
    known = replace(plain, codings={"fp16": Codings(half, each_s, each_s)})
    [section] = whatif.build(replace(sheet, predictors={**sheet.predictors, cell.id: known}))
    with opened(browser, rendered(section)) as page:
        before = said(page)
        page.get_by_label("Tensors sent as").select_option("float16")
        latency_s, at = min(
            (known.latency_s(Coded(cuts, "fp16"), 0.2, 930), cuts) for cuts in plain.splits
        )
        assert f"Lowest latency: P{at[0]} fp16, {latency_s:.3g} s" in said(page)
        assert "all on pi2 fp16" in said(page)
        assert page.locator("figure").first.locator(".seen.here").count() == 0
        page.get_by_label("Tensors sent as").select_option("float32")
        assert said(page) == before


BOTH = {
    "netem": {"delay": "100ms", "direction": "symmetric"},
    "measured": {"rtt_ms": 200.4, "rate_mbit": 4.8},
}


def test_later_hops_have_dials_of_their_own(browser: Browser, tmp_path: Path) -> None:
    synthetic.write_chain(tmp_path, ["pi1", "pi2", "server"], [BOTH], profiles=True)
    sheet = Sheet.of(read(tmp_path))
    baseline, far = sorted(sheet.cells, key=lambda cell: cell.scenario)
    known = sheet.predictors[far.id]
    assert isinstance(known, Predictor)
    first, second = known.networks
    [section] = whatif.build(sheet)
    row = {row["scenario"]: row["network"] for row in section["groups"][0]["rows"]}
    assert row["far"].endswith(", then 100 ms, 4.80 Mbit/s"), "one way of a round trip"

    def fastest(predictor: Predictor) -> str:
        at = {cuts: predictor.latency_s(cuts, 0.2, 930) for cuts in predictor.splits}
        fast = min(at, key=at.__getitem__)
        return f"Lowest latency: {split_name(fast)}, {at[fast]:.3g} s and "

    with opened(browser, rendered(section)) as page:
        before, rate = said(page), page.get_by_label("Rate, hop 2")
        assert rate.get_attribute("aria-valuetext") == "as measured"
        rate.fill("0")
        slow = replace(known, networks=(first, replace(second, rate_mbit=0.5)))
        assert "930 Mbit/s, then 0.200 ms and 0.500 Mbit/s. " in said(page)
        assert fastest(slow) in said(page)
        page.wait_for_function("location.hash.includes('930_x0.5')")
        page.get_by_role("button", name="far").click()
        assert rate.get_attribute("aria-valuetext") == "4.80 Mbit/s"
        assert "930 Mbit/s, then 100 ms and 4.80 Mbit/s. " in said(page)
        assert fastest(known.under(far.plan)) in said(page)
        page.get_by_label("Round-trip time", exact=True).fill("0")
        assert "Predicted for 0 ms and 930 Mbit/s, then 100 ms and 4.80 Mbit/s. " in said(page)
        page.get_by_role("button", name=f"{baseline.scenario}, unshaped").click()
        assert said(page) == before


def test_chart_has_named_axes_and_marks(page: Page) -> None:
    svg = page.locator("figure svg").first
    names = svg.locator("text").all_text_contents()
    assert any(re.fullmatch(r"latency of a batch \(s(, log scale)?\)", name) for name in names)
    assert any(re.fullmatch(r"throughput \(images/s(, log scale)?\)", name) for name in names)
    assert svg.locator(".end").count() == 2
    assert svg.locator(".any").count() == 20
    assert svg.locator(".seen.here").count() == 22
    assert svg.locator(".best").count() > 0


def test_it_fits_a_phone_and_prints_without_dials(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator(".dials").is_visible()
    page.emulate_media(media="print")
    assert not page.locator(".dials").is_visible()
    assert page.locator("figure svg").first.is_visible()


def test_without_script_the_tables_remain(browser: Browser, html: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.set_content(html)
    assert not page.locator(".dials").is_visible()
    assert not page.locator("figure").first.is_visible()
    row = page.locator("#whatif tbody tr").first.inner_text()
    assert "baseline (0.200 ms, 930 Mbit/s)" in row
    assert "images/s" in row
    page.close()


def test_the_data_is_small_and_safe_in_a_script(html: str) -> None:
    assert len(html) < 80_000
    data = re.search(r'id="whatif-data">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    assert len(json.loads(data[1])["groups"]) == 2


def test_errors_stand_beside_every_prediction(section: Section, sheet: Sheet) -> None:
    for group in section["groups"]:
        assert len(group["errors"]) == 22
        assert len(group["bars"]) == 2
    cell = next(cell for cell in sheet.cells if cell.pairing == "pi_to_pi" and not cell.asked)
    first = section["groups"][0]
    assert first["bars"][0].startswith(f"{cell.scenario}: latency off by ")
    name, [(latency, _), _] = first["errors"][0]
    split = next(split for split in cell.splits if split.name == name)
    predictor = sheet.predictors[cell.id]
    assert isinstance(predictor, Predictor)
    off = predictor.latency_s(split.cuts, 0.2, 930) / split.median(LATENCY) - 1
    assert latency.endswith(f" s, {whatif.signed(off)}")


def test_without_profiles_the_section_says_what_to_run(tmp_path: Path) -> None:
    synthetic.write(tmp_path, repeats=1, flaws=False)
    [section] = whatif.build(Sheet.of(read(tmp_path)))
    body = environment().get_template("sections/whatif.html.j2").render(section=section)
    assert "ansible-playbook playbooks/profile.yml -e model=mobilenetv2" in body
    assert "whatif-data" not in body


def test_same_records_same_section(sheet: Sheet) -> None:
    def text(section: Any) -> str:
        return environment().get_template("sections/whatif.html.j2").render(section=section)

    assert text(whatif.build(sheet)[0]) == text(whatif.build(sheet)[0])
