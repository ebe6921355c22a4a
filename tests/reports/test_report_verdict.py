"""Sentences agree with the numbers, say whether splitting pays, and what a sweep still lacks."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from paretopipe_runtime.contract.measures import VOLTAGE_ALONE
from reports import console
from reports.data import repeat
from reports.page.sections import provenance
from reports.page.sections.verdict import decision
from reports.page.sections.verdict import splitting as pays
from reports.page.sections.verdict.answer import doubts
from reports.page.sections.verdict.decision import sentences
from reports.page.sections.verdict.notes import notes
from reports.page.sheet import Sheet
from reports.words import number
from tests.made import known
from tests.made import sweep as synthetic

SPLITS = {3: (1.0, 16.0), 9: (1.2, 20.0)}


def told(folder: Path, delta: float = 0.02) -> dict[str, str]:
    sheet = known.sheet(folder, delta)
    [cell] = sheet.cells
    doubtful = doubts(cell, sheet.judgements[cell.id])
    return known.plain([*sentences(cell, sheet), *doubtful])


def test_the_pick_loses_least_where_it_loses_most(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (2.0, 8.0), 9: (1.76, 7.2), 17: (1.6, 4.0)})
    found = told(tmp_path)
    assert found[""] == (
        "Pick P9, after features.8: expected 11 % behind the best in its worse goal, throughput; "
        "90 %: at most 11 %."
    )
    assert (found["Latency"], found["Throughput"]) == ("P17.", "P3.")
    assert "Undecided" not in found


def test_one_best_split_leaves_nothing_to_trade(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0), 17: (1.6, 4.0)})
    assert told(tmp_path)[""] == "Pick P3, after features.2: the best in both goals."


def test_noisy_splits_are_not_told_apart(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.6, 8.0), 9: (1.65, 5.0), 17: (9.0, 4.0)}, noise=0.04)
    found = told(tmp_path)
    assert set(re.findall(r"P\d+", found["Latency"])) == {"P3", "P9"}
    assert re.fullmatch(
        r"(about \d+ more runs of each of \d splits \(\d+ min\) would tell: -e (refine=true|"
        r"repeats=\d+)|more runs will not tell \(about \d+ of each split would\))\.",
        found["Undecided"],
    )


def test_what_hundreds_of_runs_would_tell_is_said_to_stay_open(tmp_path: Path) -> None:
    known.write(tmp_path, {cut: (1.6, 8.0) for cut in range(3, 12)}, noise=0.12)
    found = told(tmp_path)
    assert found["Latency"].endswith("none of the 9 splits can be ruled out.")
    assert re.fullmatch(
        r"more runs will not tell \(about \d00 of each split would\)\.", found["Undecided"]
    )


def test_one_run_of_each_has_no_bound(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0), 9: (1.2, 7.0), 17: (4.0, 1.0)}, repeats=1)
    found = told(tmp_path)
    assert found[""] == (
        "Pick P3, after features.2: the best in both goals (one run of each split: how much runs "
        "differ is not known)."
    )
    # Four times as slow is slower, whatever the noise.
    assert found["Latency"] == "P3 or P9."
    assert found["Undecided"].endswith("-e repeats=5.")


def test_a_single_split_leaves_nothing_to_choose(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0)})
    found = told(tmp_path)
    assert found == {
        "": "Pick P3, after features.2, the only split measured.",
        "Splitting": "not measured.",
    }


def test_neighbours_are_joined(tmp_path: Path) -> None:
    known.write(tmp_path, {cut: (1.0, 8.0) for cut in (3, 5, 6, 9, 10, 11)})
    [cell] = known.sheet(tmp_path).cells
    assert decision.spans(cell.measured).striptags() == "P3, P5, P6 and P9–P11"


def test_neighbours_in_the_last_cut_are_joined_and_a_long_list_is_not_told(tmp_path: Path) -> None:
    cuts = [(3, 9), (3, 10), (3, 11), *((first, last) for first in (4, 6, 8) for last in (12, 15))]
    chain = {"pairing": "chain", "workers": CHAIN}
    known.write(tmp_path, dict.fromkeys(cuts, (1.0, 8.0)), noise=0.02, **chain)
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    assert decision.spans(cell.measured[:4]).striptags() == "P3-9–P3-11 and P4-12"
    many = {(first, last): (1.0, 8.0) for first in range(1, 8) for last in (12, 15)}
    known.write(tmp_path, {**many, (1, 2): (9.0, 1.0)}, noise=0.02, **chain)
    assert re.fullmatch(
        r"P\d-\d+, or any of 13 others, likeliest P\d-\d+, P.*, P.* and P\d-\d+\.",
        told(tmp_path)["Latency"],
    )


CHAIN = ("pi1", "pi2", "server")


@pytest.mark.parametrize(
    ("latency_s", "img_s", "said"),
    [
        (
            *(2.0, 12.0),
            "may or may not pay in latency: P3-9 answers in 1.99 s [1.96, 2.02], P3 of Pi-to-Pi "
            "2.01 s [2.00, 2.02]; pay in throughput: P3-9 moves 11.9 images/s [11.9, 12.0], 1.5 "
            "times as many as P3 of Pi-to-Pi.",
        ),
        (
            *(4.0, 8.0),
            "do not pay in latency: P3 of Pi-to-Pi answers in 2.01 s [2.00, 2.02], 2.0 times as "
            "fast as P3-9; make no difference in throughput: P3-9 moves 7.96 images/s [7.91, "
            "8.03], within 2 % of P3 of Pi-to-Pi.",
        ),
    ],
)
def test_a_third_host_is_compared_with_the_best_of_two(
    tmp_path: Path, latency_s: float, img_s: float, said: str
) -> None:
    known.write(tmp_path, {3: (2.0, 8.0), 17: (8.0, 2.0)}, noise=0.01)
    known.write(tmp_path, {3: (0.1, 99.0)}, scenario="wan")
    chain = {(3, 9): (latency_s, img_s), (9, 17): (9.0, 1.0)}
    known.write(tmp_path, chain, pairing="chain", workers=CHAIN, noise=0.01)
    sheet = known.sheet(tmp_path)
    by = {cell.pairing: cell for cell in sheet.cells if cell.scenario == "baseline"}
    assert known.plain(sentences(by["chain"], sheet))["3 hosts"] == said
    assert "2 hosts" not in known.plain(sentences(by["pi_to_pi"], sheet))


def test_codecs_are_compared_with_none_and_their_spans_stay_apart(tmp_path: Path) -> None:
    points = {3: (1.0, 8.0), 4: (1.2, 8.5), 5: (1.6, 9.0)}
    known.write(tmp_path, points, ends=((2.0, 4.0), (2.0, 5.0)), codecs={"none": 1, "int8": 2})
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    assert decision.spans(cell.measured).striptags() == "P3–P5 and P3 int8–P5 int8"
    # Beyond the worst, 1.6 s and 8 images/s: 0.4 × 0.5 without, 1.1 × 8 + 1.0 × 1 + 0.8 × 1 with.
    assert known.plain(decision.sentences(cell, sheet))["Sent as int8"] == (
        "P3 int8 0.500 s, 2.0× as fast as P3; P5 int8 18.0 images/s, 2.0× as many as P5; "
        "hypervolume 53×."
    )
    again = repeat.of_split(cell, "P3 int8", cell.measured[1].cuts)
    assert "-e splits=3 -e codec=int8" in again
    assert "codec" not in repeat.of_split(cell, "P3", (3,))


def test_the_decision_is_text_for_a_terminal(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0), 17: (1.6, 4.0)})
    assert console.lines(known.sheet(tmp_path)) == [
        "MobileNetV2, Pi-to-Pi",
        "  baseline (network as it is): Pick P3, after features.2: the best in both goals.",
        "    Latency: P3. Throughput: P3. Splitting: not measured.",
        "10 runs, all of which count.",
    ]


def test_names_lead_to_their_rows(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (2.0, 8.0), 17: (1.6, 4.0)})
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    first = sentences(cell, sheet)[0].text
    row = next(split.row_id for split in cell.splits if split.name == "P3")
    assert first.startswith(f'Pick <b><a href="#{row}">P3</a></b>')


def test_a_cell_without_runs_says_so(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, [next(synthetic.cell(random.Random(1)))])
    assert "no answer here" in told(tmp_path)[""]


def test_doubts_are_sentences_too(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9], [17]])]
    lines = [line for line in lines if line.get("factors", {}).get("cuts") != [17]]
    spoilt = [line for line in lines[1:] if line["factors"]["cuts"] == [9]][:2]
    for line in spoilt:
        line["status"] = "invalid:throttled"
    synthetic.write_cell(tmp_path, lines)
    found = told(tmp_path)
    assert found["Incomplete"] == "2 of 3 planned splits measured; without a valid run: P17."
    assert found["Unreliable"] == "more than 20 % of the attempts were invalid: P9."


def test_a_pi_that_nobody_watched_is_named(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3]])]
    for line in lines[1:]:
        watches = {"pi1": "the kernel", "pi2": None, "server": VOLTAGE_ALONE}
        for host, watch in watches.items():  # an older record has none
            line["hosts"].setdefault(host, {})
            watched = {"throttle_watch": watch} if watch else {}
            line["hosts"][host] |= {"cpu_model": "Raspberry Pi 4", **watched}
            line["hosts"][host]["throttled_live"] = "0x0"
    synthetic.write_cell(tmp_path, lines)
    sheet = known.sheet(tmp_path)
    told = [n for n in notes(sheet.records, sheet.cells, sheet.frame) if "watched" in n]
    assert told[0].startswith("pi2: not watched for throttling")
    assert told[1].startswith("server: watched for low voltage alone")
    names, rows = provenance.hosts(sheet.records.runs)
    assert dict(zip(names, rows["Throttled while measured"], strict=True)) == {
        "pi1": "0x0, says the kernel",
        "pi2": "not watched",
        "server": "0x0, says the kernel, of voltage alone",
    }


def test_notes_name_a_demo_a_stand_in_and_what_is_not_there(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3]], image_px=32, batch_size=2)]
    for line in lines[1:]:
        line["hosts"]["pi1"] |= {"machine": "x86_64", "boot_id": "same"}
        line["hosts"]["pi2"] |= {"boot_id": "same"}
    synthetic.write_cell(tmp_path, lines)
    sheet = known.sheet(tmp_path)
    found = notes(sheet.records, sheet.cells, sheet.frame)
    assert "images of 32×32 instead of 224×224 and batches of 2 instead of 8" in found[0]
    assert "not comparable with the paper" in found[0]
    assert found[1].startswith("pi1 stand")
    assert found[2].startswith("pi1 and pi2 are one machine")
    assert "Pi-to-Pi under wan" in found[3]


def test_a_restart_between_runs_is_named(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]])]
    for line in lines[1:]:
        line["hosts"]["pi1"]["boot_id"] = "first"
        line["hosts"]["pi2"]["boot_id"] = "second"
    lines[-1]["hosts"]["pi2"]["boot_id"] = "third"

    def told() -> list[str]:
        synthetic.write_cell(tmp_path, lines)
        sheet = known.sheet(tmp_path)
        return [
            line for line in notes(sheet.records, sheet.cells, sheet.frame) if "restart" in line
        ]

    [sentence] = told()
    assert sentence.startswith("Pi-to-Pi, baseline: ")
    assert ": pi2 was restarted between these runs:" in sentence
    lines[-1]["status"] = "failed:E_KILLED"
    assert not told(), "no number of that boot is shown"


def test_numbers_keep_three_digits() -> None:
    values = (0.0, 0.01824, 0.9996, 9.999, 43.12, 182.4, 1824.0)
    assert [number(value) for value in values] == [
        *("0", "0.0182", "1.00", "10.0", "43.1", "182", "1,820"),
    ]


def said(folder: Path) -> tuple[str, str]:
    sheet = known.sheet(folder)
    [cell] = sheet.cells
    contest, answer = sheet.contests[cell.id], sheet.decisions[cell.id]
    assert answer is not None
    text = pays.sentence(cell, contest, answer).striptags().replace("\xa0", " ")
    return text, pays.short(cell, contest, answer)


@pytest.mark.parametrize(
    ("ends", "sentence", "short"),
    [
        (
            ((1.8, 10.0), (1.3, 8.0)),
            "Splitting pays: P3 answers in 1.00 s [1.00, 1.00], 1.8 times as fast as all on pi1 "
            "and 1.3 times as fast as all on pi2; P9 moves 20.0 images/s [20.0, 20.0], 2.0 times "
            "as many as all on pi1 and 2.5 times as many as all on pi2.",
            "1.3× as fast; 2.0× the images/s",
        ),
        (
            ((1.8, 10.0), (0.5, 40.0)),
            "Splitting does not pay here: all on pi2 answers in 0.500 s [0.500, 0.500], 2.0 times "
            "as fast as the best split, P3; all on pi2 moves 40.0 images/s [40.0, 40.0], "
            "2.0 times as many as the best split, P9.",
            "does not pay in latency or throughput",
        ),
        (
            ((0.95, 10.0), (1.3, 8.0)),
            "In latency splitting does not pay: all on pi1 answers in 0.950 s [0.950, 0.950], "
            "1.05 times as fast as the best split, P3. In throughput it pays: P9 moves "
            "20.0 images/s [20.0, 20.0], 2.0 times as many as all on pi1 and 2.5 times as many as "
            "all on pi2.",
            "2.0× the images/s; does not pay in latency",
        ),
        (
            ((1.01, 20.1), (1.3, 8.0)),
            "Splitting makes no difference here: all on pi1 answers in 1.01 s [1.01, 1.01], "
            "within 2 % of the best split, P3; all on pi1 moves 20.1 images/s [20.1, 20.1], "
            "within 2 % of the best split, P9.",
            "no gain in latency or throughput",
        ),
    ],
)
def test_every_outcome_has_its_words(
    tmp_path: Path,
    ends: tuple[known.Point, known.Point],
    sentence: str,
    short: str,
) -> None:
    known.write(tmp_path, SPLITS, ends=ends)
    assert said(tmp_path) == (sentence, short)


def test_runs_that_cannot_tell_say_so(tmp_path: Path) -> None:
    known.write(tmp_path, SPLITS, ends=((1.02, 19.8), (1.3, 8.0)), noise=0.05)
    text, short = said(tmp_path)
    assert text.startswith("Whether splitting pays is not clear: ")
    assert text.count("the runs cannot tell which is better") == 2
    assert short == "no clear gain in latency or throughput"


def test_what_was_not_measured_is_not_claimed(tmp_path: Path) -> None:
    known.write(tmp_path, SPLITS)
    text, short = said(tmp_path)
    assert "was not measured: the plan has no end points. Sweep again under another name" in text
    assert short == "not measured"


def test_an_end_point_without_a_valid_run_is_named(tmp_path: Path) -> None:
    known.write(tmp_path, SPLITS, ends=((1.8, 10.0), (1.3, 8.0)))
    [path] = tmp_path.glob("*.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if '"all on pi2"' not in line]
    path.write_text("".join(kept), encoding="utf-8")
    text, short = said(tmp_path)
    assert "all on pi2" not in text
    assert text.endswith(" Of the two end points only all on pi1 has a valid run.")
    assert short == "1.8× as fast; 2.0× the images/s (against all on pi1 only)"


def begun(folder: Path, scenario: str, until: int, *more: str) -> None:
    """Write a cell with blocks up to `until` of three, and `more` of some splits."""
    lines = synthetic.cell(random.Random(1), scenario=scenario, splits=[[3], [9]], repeats=3)
    kept = [
        line
        for line in lines
        if line["kind"] == "plan"
        or line["factors"]["repeat"] <= until
        or line["factors"]["split"] in more
    ]
    synthetic.write_cell(folder, kept)


def unfinished(folder: Path) -> list[str]:
    sheet: Sheet = known.sheet(folder)
    return [
        line
        for line in notes(sheet.records, sheet.cells, sheet.frame)
        if "so far" in line or "valid runs" in line
    ]


def test_a_first_report_says_that_it_is_one(tmp_path: Path) -> None:
    for scenario in ("baseline", "wan"):
        begun(tmp_path, scenario, 1)
    assert unfinished(tmp_path) == [
        "This sweep is not over: 1 of 3 runs of each split so far. The same command goes on, and "
        "writes this report again."
    ]


def test_cells_that_are_not_alike_are_told_apart(tmp_path: Path) -> None:
    begun(tmp_path, "baseline", 3)
    begun(tmp_path, "wan", 1)
    assert unfinished(tmp_path) == ["Pi-to-Pi, wan: 1 of 3 runs of each split so far."]


def test_a_split_that_lacks_runs_is_named(tmp_path: Path) -> None:
    begun(tmp_path, "baseline", 2, "P3")
    assert unfinished(tmp_path) == ["Pi-to-Pi, baseline: fewer than 3 valid runs for P9."]


def test_what_is_complete_lacks_nothing(tmp_path: Path) -> None:
    begun(tmp_path, "baseline", 3)
    assert unfinished(tmp_path) == []
