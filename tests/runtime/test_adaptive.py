"""Further rounds: what the records leave undecided, decided as by the report."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.job import Lease
from paretopipe_runtime.orchestrator import adaptive, loop
from paretopipe_runtime.orchestrator import cell as cell_work
from paretopipe_runtime.orchestrator.runs import More, Run, Work, expand
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys
from reports.data.cells import build
from reports.data.records import read
from reports.data.tidy import tidy
from reports.statistics.judge import judge
from tests.made import plans
from tests.made.plans import document, hops
from tests.runtime.test_validity import PREPARED

#: Of three splits: the first is 2 % below the second at equal latency, a toss-up at margin 2 %.
TOSS_UP = {(1,): (1.0, 10.0), (2,): (1.0, 10.2), (3,): (3.0, 2.0)}


def cell(*cuts: int, **changes: Any) -> dict[str, Any]:
    asked = {"splits": [[cut] for cut in cuts], "refine": 0.02, "cell_id": "cell"}
    return document(**{**asked, "sentinel": True, "end_points": True, **changes})


def level(cuts: tuple[int, ...]) -> tuple[float, float]:
    """What a split of a larger cell truly takes: a front of few, some of them close together."""
    cut = cuts[0] if cuts else 0
    return 1 + 0.04 * abs(cut - 7) + 0.01 * (cut % 3), 10 - 0.35 * abs(cut - 9) + 0.1 * (cut % 4)


def row(run: Run, attempt: int, seed: int, cv: float, **changes: Any) -> dict[str, Any]:
    """A record of a run that scatters by `cv`, in a round that moves all of its runs."""
    source = random.Random(f"{seed} {run.key} {attempt}")
    moved = random.Random(f"{seed} {run.repeat}").lognormvariate(0, 0.01)
    latency_s, img_s = TOSS_UP.get(run.cuts, (2.0, 4.0)) if cv == 0.01 else level(run.cuts)
    latency_s *= source.lognormvariate(0, cv) * moved
    img_s *= source.lognormvariate(0, cv) / moved
    known = {
        **{"cell_id": "cell", "factors": run.factors, "order": run.order, "security": "hmac"},
        "network": {"asked": None, "measured": None},
        "latency": {"median_s": latency_s, "batch_s": [latency_s]},
        "throughput": {"sustained_img_s": img_s},
    }
    return plans.row(run.key, attempt=attempt, **{**known, **changes})


def planted(case: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The plan of a cell, and records of it that were made up."""
    if case == "toss-up":
        plan, seed, cv = cell(1, 2, 3), 1, 0.01
    elif case == "one run each":
        plan, seed, cv = cell(1, 2, 3, repeats=1), 1, 0.01
    elif case == "decided":
        plan, seed, cv = cell(2, 3), 1, 0.01
    else:
        plan = cell(*range(1, 21), refine=0.03 if case == "wider" else 0.02)
        seed, cv = int(case == "many 2"), 0.03
    runs = expand(read_plan(plan), hops)
    rows = [row(run, 1, seed, cv) for run in runs]
    if case == "measured again":
        # The second round drifted; of the first some attempts failed, or were withdrawn.
        for one in rows[:40:5]:
            one["status"] = "failed:E_STALL"
        rows += [row(run, 2, seed, cv) for run in runs[:40:10]]
        again = [run for run in runs if run.repeat == 2]
        rows += [row(run, 2, 7, cv, block_pass=2) for run in again]
    if case == "other settings":
        # Splits of a plan before, some of them with other settings, count as far as these hold.
        before = {**plan, "splits": [[2], [3]], "repeats": 9}
        rows = [row(run, 1, seed, cv) for run in expand(read_plan(before), hops)] + rows
        other = {**plan, "window": 1, "repeats": 9}
        rows = [row(run, 1, seed, cv) for run in expand(read_plan(other), hops)] + rows
    if case == "further":
        more = [More(((6,), (7,), (8,), (9,)), 10)]
        rows = [row(run, 1, seed, cv) for run in expand(read_plan(plan), hops, more)]
    seen: dict[tuple[str, int], dict[str, Any]] = {}
    for minute, one in enumerate(rows):
        one["started_at"] = f"2026-11-01T{minute // 60:02}:{minute % 60:02}:00Z"
        seen.setdefault((one["run_key"], one["attempt"]), one)
    return plan, [*seen.values()]


#: What was asked for when the report decided and playbooks carried it here.
ASKED: dict[str, tuple[tuple[int, ...], int] | None] = {
    "toss-up": ((1, 2), 10),
    "one run each": ((1, 2, 3), 6),
    "decided": None,
    "many 1": ((6, 7, 8, 9), 10),
    "many 2": ((7, 8, 9, 10), 10),
    "wider": ((6, 7, 8, 9), 10),
    "measured again": ((8, 9), 10),
    "other settings": ((6, 7, 8, 9), 10),
    "further": ((6, 7, 8, 9), 15),
}


def keep(path: Path, case: str) -> tuple[Plan, Records]:
    plan, rows = planted(case)
    records = Records(path)
    records.append_plan(plan)
    for one in rows:
        records.append(one)
    return read_plan(plan), records


@pytest.mark.parametrize(("case", "asked"), ASKED.items())
def test_the_records_ask_for_what_the_report_asked_for(
    tmp_path: Path, case: str, asked: tuple[tuple[int, ...], int] | None
) -> None:
    plan, records = keep(tmp_path / "cell.jsonl", case)
    wanted = adaptive.wanted(plan, hops, records.runs)
    assert wanted == (asked and {"splits": [[cut] for cut in asked[0]], "repeats": asked[1]})
    found = read(tmp_path)
    (judged,) = build(found.plans, found.runs, tidy(found.runs))
    counted = {split.cuts: split.runs for split in judged.measured}
    mine = adaptive.counted(plan, hops, records.runs)
    assert {cuts: len(runs) for cuts, runs in mine.items()} == counted
    verdict = judge(judged, plan.refine or 0).verdict
    undecided = {cuts for cuts, said in verdict.items() if said == "undecided"}
    assert undecided <= {(cut,) for cut in (asked[0] if asked else ())}


@pytest.mark.parametrize(("repeats", "asked"), [(17, 20), (20, None)])
def test_never_beyond_the_limit(repeats: int, asked: int | None) -> None:
    plan = read_plan(cell(1, 2, 3, repeats=repeats))
    wanted = adaptive.wanted(plan, hops, [row(run, 1, 1, 0.01) for run in expand(plan, hops)])
    assert (wanted and wanted["repeats"]) == asked


def test_rounds_that_were_begun_go_on_and_those_of_other_settings_do_not(tmp_path: Path) -> None:
    more = (More(((1,), (2,)), 7), More(((2,), (3,)), 9))
    document = {**cell(1, 2, 3), "more": [further.to_json() for further in more]}
    plan, records = read_plan(document), Records(tmp_path / "cell.jsonl")
    records.append_plan(document)
    assert adaptive.begun(plan, hops, records) == (), "nothing of them is measured"
    runs = expand(plan, hops, more)
    records.append(row(next(run for run in runs if run.repeat == 6), 1, 1, 0.01))
    again = Records(tmp_path / "cell.jsonl")
    assert adaptive.begun(plan, hops, again) == more
    assert adaptive.begun(read_plan({**document, "window": 1}), hops, again) == ()
    assert adaptive.begun(read_plan({**document, "refine": None}), hops, again) == ()


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Sweep, with made-up measurements; stopped after so many of them."""
    left = [0]
    stopping: list[int] = []

    def measure(_work: Work, run: Run, _keys: Keys, _network: None) -> dict[str, Any]:
        left[0] -= 1
        if not left[0]:
            stopping.append(15)
        return row(run, 1, 1, 0.01)

    monkeypatch.setattr(cell_work, "prepare", lambda *_: PREPARED)
    monkeypatch.setattr(loop, "_measure", measure)
    monkeypatch.setattr(loop, "stop_on_signal", lambda: stopping)

    def run(document: dict[str, Any], most: int = -1, **how: Any) -> tuple[int, str]:
        left[0] = most
        stopping.clear()
        records = tmp_path / "cell.jsonl"
        files = loop.SweepFiles(records, None, tmp_path / "p.json", Lease(None, 0), tmp_path)
        return loop.measure(document, files, Keys(b""), **how)

    return run


def measured(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "cell.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "run"]


def test_a_cell_asks_for_more_by_itself_until_all_is_decided(
    sweep: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    toss_up = cell(1, 2, 3)
    assert sweep({**toss_up, "refine": None}) == (0, "all 35 runs measured")
    assert sweep(toss_up, first=1)[0] == 0
    assert len(measured(tmp_path)) == 35, "neither asks for more"
    # Two splits and two sentinels a round: to 10, to 15 and to 20 repeats.
    assert sweep(toss_up) == (0, "all 95 runs measured")
    further = measured(tmp_path)[35:]
    assert {tuple(one["factors"]["cuts"]) for one in further} == {(1,), (2,)}
    assert {one["factors"]["repeat"] for one in further} == {*range(6, 21)}
    whole = (tmp_path / "cell.jsonl").read_bytes()
    plans = [one for one in map(json.loads, whole.splitlines()) if one["kind"] == "plan"]
    assert [[more["repeats"] for more in one["plan"].get("more", ())] for one in plans] == [
        *([], [10], [10, 15], [10, 15, 20])
    ]
    progress = json.loads((tmp_path / "p.json").read_text())
    assert (progress["runs_done"], progress["runs_total"]) == (95, 95)
    assert sweep(toss_up) == (0, "all 95 runs measured")
    assert (tmp_path / "cell.jsonl").read_bytes() == whole


@pytest.mark.parametrize("most", [34, 35, 36, 60, 94])
def test_a_stopped_one_goes_on_to_the_same(
    sweep: Callable[..., tuple[int, str]], tmp_path: Path, most: int
) -> None:
    assert sweep(cell(1, 2, 3), most)[0] == 75
    assert len(measured(tmp_path)) == most
    assert sweep(cell(1, 2, 3)) == (0, "all 95 runs measured")
    assert len({one["run_key"] for one in measured(tmp_path)}) == 95
