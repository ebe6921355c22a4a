"""Length of a sweep, said before anything is touched."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import cap, read_plan
from paretopipe_runtime.orchestrator.runs import More, expand
from roles.plan.planning import earlier, speeds
from roles.plan.planning.blocks import blocks_of
from roles.plan.planning.foretelling import (
    NOWHERE,
    RECORDS,
    foretell,
    profile_seconds,
    split_seconds,
)
from roles.plan.planning.sharing import share_time, shares
from roles.plan.planning.shorter import QUESTIONS, refuse_long, said
from roles.plan.planning.values import OptionError
from tests.made import pi4b

ADDRESSES = {"pi1": "192.0.2.11", "pi2": "192.0.2.12", "server": "192.0.2.10"}
REAL = speeds.Speeds((), ("pi1", "pi2"))
Plan = Callable[[Mapping[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def plan(plugin: Callable[[str], ModuleType], experiments: dict[str, Any]) -> Plan:
    cells = plugin("roles/plan/action_plugins/plan_cells.py")
    fixed = {"allocator": "tuned", "device": "cpu", "allow_insecure_rpc": False}
    hosts = {host: {"address": address, **fixed} for host, address in ADDRESSES.items()}

    def planned(options: Mapping[str, Any]) -> dict[str, Any]:
        files = experiments["full"], experiments["scenarios"]
        found: dict[str, Any] = cells.plan_cells(options, *files, hosts, {}, "server")
        return found

    return planned


def cell(planned: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = planned["scenarios"][0]["cells"][0]["plan"]
    return document


def test_the_table_of_pis_is_the_public_one() -> None:
    whole_s: dict[str, list[float]] = {}
    for model, _, (part1, part2, _) in pi4b.rows():
        whole_s.setdefault(model, []).append(part1 + part2)
    for model, seconds in whole_s.items():
        assert speeds.PI4B_S[model] == pytest.approx(statistics.median(seconds), rel=1e-3), model


@pytest.mark.parametrize("model", speeds.PI4B_S)
def test_real_pis_would_have_taken_what_is_foretold(plan: Plan, model: str) -> None:
    """Of the splits in the public table: launch, 8 batches alone and 15 at the pipeline's pace."""
    foretold = split_seconds(cell(plan({"model": model, "scenarios": "baseline"})), REAL)
    real: dict[tuple[int, ...], float] = {}  # of a split that was timed twice the latter
    for name, split, seconds in pi4b.rows():
        if name == model:
            real[(pi4b.cut(model, split),)] = 0.3 + 8 * sum(seconds) + 15 * max(seconds)
    assert sum(foretold[cuts] for cuts in real) == pytest.approx(sum(real.values()), rel=0.12)


def test_a_sweep_of_over_a_day_is_refused_with_shorter_questions(plan: Plan) -> None:
    def told(more: Mapping[str, Any]) -> Any:
        return foretell(plan({"model": "vgg16", **more}), REAL, NOWHERE)

    planned = plan({"model": "vgg16"})
    whole = told({})
    with pytest.raises(OptionError) as caught:
        refuse_long("vgg16", whole, planned["options"], split_seconds(cell(planned), REAL), told)
    first, _, *rows = str(caught.value).splitlines()
    assert first.startswith("vgg16: 840 runs, about ")
    assert "public times of two Raspberry Pi 4B at batch 8, and yours may differ" in first
    assert "add -e long=true" in first
    asked = [dict(word.split("=") for word in row.split() if "=" in word) for row in rows]
    kinds = [",".join(one) for one in asked]
    assert asked[0] == {"strategy": "doubtful"}
    assert kinds[1:] == ["scenarios", "pairings", "repeats", "repeats,refine", "splits", "image"]
    for one, row in zip(asked, rows, strict=True):  # as it would be if it were asked
        shorter = told(one)
        assert shorter.seconds < whole.seconds
        assert said(shorter).split(", ")[1].split(" once")[0] in row
    mobile = plan({"model": "mobilenetv2"})
    refuse_long("m", foretell(mobile, REAL, NOWHERE), mobile["options"], {}, told)  # hours


def test_where_no_question_alone_is_a_day_s_some_together_are(plan: Plan) -> None:
    asked = {"model": "vgg16", "repeats": "20"}

    def told(more: Mapping[str, Any]) -> Any:
        return foretell(plan({**asked, **more}), REAL, NOWHERE)

    with pytest.raises(OptionError) as caught:
        refuse_long("vgg16", told({}), plan(asked)["options"], {}, told)
    *_, last = str(caught.value).splitlines()
    assert last.split()[:4:2] == ["-e", "-e"]
    assert "days" not in last


def test_the_only_what_is_in_doubt_question_fits_what_was_asked(plan: Plan) -> None:
    asked = plan({"model": "vgg16", "refine": "true", "profile": "false"})["options"]
    (shorter,) = QUESTIONS[0](asked, {})
    assert shorter == {"strategy": "doubtful", "profile": "true", "refine": "false"}
    (shorter,) = QUESTIONS[0](plan({"model": "vgg16", **shorter})["options"], {})
    assert shorter == {"within": "12h"}
    timed = plan({"model": "vgg16", "strategy": "doubtful", **shorter})["options"]
    assert [*QUESTIONS[0](timed, {})] == []


def test_codecs_take_their_own_bytes_and_are_asked_for_alone(plan: Plan) -> None:
    asked = {"model": "vgg16", "scenarios": "wan", "pairings": "pi_to_pi"}
    took = {
        codec: foretell(plan({**asked, "codec": codec}), REAL, NOWHERE).seconds  # type: ignore[union-attr]
        for codec in ("none", "fp16", "int8", "int4", "none,int8")
    }
    # With int8 the hosts are the slowest; smaller tensors only want more batches in flight.
    assert took["none"] > took["fp16"] > took["int8"] > 0.99 * took["int4"]
    # All but the profiles and the end point on the first host, which codecs share.
    assert took["none,int8"] == pytest.approx(took["none"] + took["int8"], rel=0.1)
    planned = plan({**asked, "codec": "auto"})
    seconds = split_seconds(cell(planned), REAL)
    found = [option for question in QUESTIONS for option in question(planned["options"], seconds)]
    assert {"codec": "int4", "strategy": "doubtful"} in found
    [band] = [option["splits"] for option in found if "splits" in option]
    assert re.fullmatch(r"\d+(,\d+){8}", band)


def test_a_doubtful_sweep_is_foretold_by_its_cap_and_by_what_is_left_of_it(
    plan: Plan, tmp_path: Path
) -> None:
    options = {"model": "alexnet", "scenarios": "baseline", "strategy": "doubtful"}
    planned = plan({**options, "pairings": "pi_to_pi"})
    read = read_plan(cell(planned))
    whole = foretell(planned, REAL, tmp_path)
    assert whole
    assert whole.runs == cap(read) + 2
    assert said(whole).startswith(f"at most {whole.runs} runs, about ")
    hop_bytes = blocks_of(read.workload).hop_bytes
    # Whichever they are: not those that were foreseen, nor another sweep's.
    best = expand(read, hop_bytes, [More(((3,), (4,)), 3)])
    other = expand(read_plan({**cell(planned), "batch_size": 1}), hop_bytes, [More(((5,),), 9)])
    records = tmp_path / "alexnet" / f"{read.cell_id}.jsonl"
    records.parent.mkdir()
    records.write_text(
        "\n".join(
            json.dumps(
                {"kind": "run", "run_key": run.key, "attempt": 1, "status": "ok"}
                | {"factors": run.factors, "wall_s": 10}
            )
            for run in [*best, *other]
        )
    )
    rest = foretell(planned, REAL, tmp_path)
    assert rest
    assert rest.runs == cap(read) - 6


def test_cells_share_a_sweep_s_time_by_what_their_runs_take(plan: Plan) -> None:
    options = {"model": "vgg16,alexnet", "scenarios": "baseline", "strategy": "doubtful"}
    planned = plan({**options, "within": "10h"})
    share_time(planned, REAL, NOWHERE)
    documents = [each["plan"] for each in planned["scenarios"][0]["cells"]]
    seconds = [one["doubtful"]["within_s"] for one in documents]
    profiles = [profile_seconds(one["plan"], REAL) or 0 for one in planned["profiles"]]
    assert sum(seconds) == pytest.approx(36000 - sum(profiles), abs=1)
    runs = [sum(split_seconds(one, REAL).values()) for one in documents]
    assert seconds == pytest.approx([s / sum(runs) * sum(seconds) for s in runs], rel=1e-3)
    told = foretell(planned, REAL, NOWHERE)
    assert told
    assert 0.9 * 36000 < told.seconds < 1.01 * 36000
    share_time(planned, speeds.Speeds(()), NOWHERE)  # nothing tells how fast these hosts are
    told_s = [one["doubtful"]["within_s"] / 36000 for one in documents]
    assert told_s == pytest.approx([38 / 116] * 2 + [20 / 116] * 2, abs=1e-3)
    chain = {"two": ["pi1", "pi2"], "chain": ["pi1", "pi2", "server"]}
    mixed = plan({**options, "model": "vgg16", "within": "10h", "pairings": chain})
    share_time(mixed, speeds.Speeds(()), NOWHERE)
    two, three = (each["plan"]["doubtful"]["within_s"] for each in mixed["scenarios"][0]["cells"])
    assert three / two == pytest.approx(60 / 38, rel=1e-3), "of 703 splits few are in doubt"
    assert shares(60.0, [1, 2, 3], [0, 0, 0]) == [10, 20, 30]
    assert shares(60.0, [1, 2, 3], [30, 11, 0]) == [30, 12, 18], "the others lack it"
    with pytest.raises(OptionError, match=r"within=100s is too little: profiles and 4 quick runs"):
        share_time(plan({**options, "within": "100s"}), REAL, NOWHERE)


def test_what_a_host_took_before_counts_more_than_the_table(plan: Plan) -> None:
    workload = read_plan(cell(plan({"model": "vgg16"}))).workload
    small = read_plan(cell(plan({"model": "vgg16", "image": "112"}))).workload

    def profile(model: str, seconds: float, address: str = ADDRESSES["pi1"]) -> earlier.Profile:
        return earlier.Profile(address, "cpu", model, "eager", 224, 8, seconds, "2026")

    def of(found: list[earlier.Profile], boards: Any = ("pi1",), load: Any = workload) -> Any:
        return speeds.Speeds(found, boards).of(load, "pi1", ADDRESSES["pi1"], "cpu")

    assert of([]) == speeds.Speed(13.133, (speeds.TABLE,))
    assert of([profile("vgg16", 5.0)]) == speeds.Speed(5.0, (speeds.OWN,))
    assert of([profile("vgg16", 5.0, "192.0.2.99")]).sources == (speeds.TABLE,), "another host's"
    twice_as_fast = of([profile("mobilenetv2", 0.598)])
    assert twice_as_fast.whole_s == pytest.approx(13.133 / 2)
    assert twice_as_fast.sources == (speeds.OTHER,)
    assert of([profile("vgg16", 5.0)], load=small).whole_s == pytest.approx(5 / 4, rel=0.05)
    assert speeds.SCALED in of([], load=small).sources
    assert of([], boards=None) is None, "an emulated host is no Pi"
    assert of([profile("mobilenetv2", 0.6)], boards=None) is None
    assert of([profile("vgg16", 5.0)], boards=None).whole_s == 5.0


def test_a_sweep_half_done_asks_about_the_rest(plan: Plan, tmp_path: Path) -> None:
    options = {"model": "alexnet", "scenarios": "baseline", "pairings": "pi_to_pi"}
    planned = plan({**options, "profile": "false"})
    read = read_plan(cell(planned))
    runs = expand(read, blocks_of(read.workload).hop_bytes)
    whole = foretell(planned, REAL, tmp_path)
    assert whole
    assert whole.runs == len(runs)
    records = tmp_path / "alexnet" / f"{read.cell_id}.jsonl"
    records.parent.mkdir()
    times = split_seconds(cell(planned), REAL)
    half = len(runs) // 2

    def write(last: list[dict[str, Any]]) -> None:
        lines = [
            {"kind": "run", "run_key": run.key, "attempt": 1, "status": "ok"}
            | {"factors": run.factors, "wall_s": 2 * times.get(run.cuts, 10.0)}
            for run in runs[:half]
        ]
        text = "\n".join(map(json.dumps, [*lines, *last]))
        records.write_text(f'{text}\n{{"torn')

    write([])
    rest = foretell(planned, REAL, tmp_path)
    assert rest
    assert (rest.runs, rest.sources) == (len(runs) - half, (RECORDS,))
    assert rest.seconds == pytest.approx(whole.seconds, rel=0.15), "half of it at half the pace"
    withdrawn = {"kind": "withdrawal", "run_key": runs[0].key, "attempt": 1}
    write([{**withdrawn, "status": "invalid:shaping_lost"}])
    again = foretell(planned, REAL, tmp_path)
    assert again
    assert again.runs == rest.runs + 1


def test_what_a_profile_wrote_is_found_again(tmp_path: Path) -> None:
    factors = {"host": "pi1", "model": "alexnet", "engine": "eager", "image_px": 224}
    run = {"kind": "profile", "attempt": 1, "status": "ok", "started_at": "2026-11-29"}
    lines = [
        {"kind": "plan", "plan": {"workers": [{"host": "pi1", "address": "192.0.2.11"}]}},
        {**run, "factors": {**factors, "batch_size": 8}, "whole_s": [1.0, 2.0, 9.0]},
        {**run, "factors": {**factors, "batch_size": 8}, "whole_s": []},
    ]
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "alexnet.profile.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    (found,) = earlier.profiles(tmp_path)
    assert (found.address, found.whole_s, found.device) == ("192.0.2.11", 2.0, "cpu")
