"""From a plan and a folder of profiles to what a schedule chooses from."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paretopipe_runtime.contract.candidates import DELAY, WINDOW, Candidate
from paretopipe_runtime.contract.lines import sealed
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.contract.splits import coded
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.prediction import sources
from paretopipe_runtime.prediction.candidates import BAND, candidates
from paretopipe_runtime.prediction.predictor import Predictor
from reports.data.records import read
from reports.page.sheet import Sheet
from tests.made import figures as made
from tests.made import samples
from tests.made import sweep as synthetic
from tests.made.plans import document

BLOCKS = 21  # of MobileNetV2
NEAR, FAR = {"rtt_ms": 0.2, "rate_mbit": 900.0}, {"rtt_ms": 2000.0, "rate_mbit": 50.0}


def plan_of(*hosts: str, measured: Any = None, **changes: Any) -> Plan:
    workers = [{"host": host, "address": "192.0.2.1", "port": 47470} for host in hosts]
    scenario = {"name": "made", "netem": None, "measured": measured}
    return read_plan(document(workers=workers, scenario=scenario, **changes))


def profiled(*hosts: str, blocks: int = BLOCKS, **settings: Any) -> list[Any]:
    seconds = [0.01 + 0.001 * block for block in range(blocks)]
    shapes = [(8, 3, 224, 224), *[(8, 5, 25, 25)] * (blocks - 1)]
    settings = {"codings": made.codings(shapes, 1e-9, 2e-9), **settings}
    return [made.profile(host, seconds, [100_000] * blocks, **settings) for host in hosts]


def test_of_thousands_those_near_the_front_are_candidates() -> None:
    hosts = ("pi1", "pi2", "pi3", "server")
    plan, profiles = plan_of(*hosts), profiled(*hosts)
    found = candidates(plan, profiles, [], {})
    assert len(plan.splits) == 1140
    assert len(found) == BAND
    few = [replace(plan, splits=plan.splits[at : at + BAND]) for at in range(0, 1140, BAND)]
    each = [one for part in few for one in candidates(part, profiles, [], {})]
    figures = np.array([(one.latency_s, -one.throughput_img_s) for one in each])
    front = [
        one.cuts
        for one, own in zip(each, figures, strict=True)
        if not ((figures <= own).all(axis=1) & (figures < own).any(axis=1)).any()
    ]
    assert {*front} <= {one.cuts for one in found}


def coded_by(plan: Plan, codec: str) -> Plan:
    return replace(plan, splits=tuple(coded(cuts, codec) for cuts in plan.splits))


@pytest.mark.parametrize("codec", ["none", "int8"])
@pytest.mark.parametrize("hosts", [("pi1", "pi2"), ("pi1", "pi2", "server")])
@pytest.mark.parametrize(
    ("measured", "saturate", "waits"),
    [(NEAR, False, False), (FAR, False, True), (FAR, True, False), (None, False, False)],
)
def test_parts_are_all_of_a_prediction(
    hosts: tuple[str, ...], measured: Any, saturate: bool, waits: bool, codec: str
) -> None:
    plan = coded_by(plan_of(*hosts, measured=measured, saturate=saturate), codec)
    links = [made.link((one, other)) for one, other in pairwise(hosts)]
    known = {f"{name}{end}": 7.0 for name in ("P3", "P3-9") for end in ("", " int8")}
    found = candidates(plan, profiled(*hosts), links, known)
    assert [one.cuts for one in found] == [*plan.splits]
    places = {*hosts, *(f"{one}>{other}" for one, other in pairwise(hosts))}
    for one in found:
        assert sum(one.latency_parts.values()) == pytest.approx(one.latency_s)
        assert 8 / max(one.pace_parts.values()) == pytest.approx(one.throughput_img_s)
        assert one.latency_parts.keys() == {*places, DELAY}
        assert one.pace_parts.keys() - {WINDOW} == places
        assert (WINDOW in one.pace_parts) == waits
        assert Candidate.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert [one.run_s for one in found if tuple(one.cuts) in ((3,), (3, 9))] == [7.0]
    assert all(one.run_s > 8 * one.latency_s for one in found if one.run_s != 7.0)


@pytest.mark.parametrize(
    ("profiles", "said"),
    [
        (profiled("pi1"), r"not profiled on pi2 \(engine eager, allocator tuned, device cpu\), "),
        (profiled("pi1", "pi2", engine="compile"), "not profiled on pi1 .* and pi2 .engine eager"),
        (profiled("pi1", "pi2", blocks=20), "not profiled on pi1 .* and pi2"),
        ([*profiled("pi1"), made.profile("pi2", [0.1] * 21, [9] * 21)], "different blocks"),
    ],
)
def test_what_lacks_a_profile_says_which_host_and_what_to_run(profiles: Any, said: str) -> None:
    command = r"run `ansible-playbook playbooks/profile.yml -e model=mobilenetv2 -e image_px=224`"
    provenance = {"options": {"image_px": 224, "splits": "all"}}
    with pytest.raises(ParetoPipeError, match=f"^E_PROFILE: .*{said}.*{command}"):
        candidates(plan_of("pi1", "pi2", provenance=provenance), profiles, [], {})


def test_a_codec_that_a_host_was_not_profiled_with_is_told() -> None:
    profiles = [*profiled("pi1"), *profiled("pi2", codings={})]
    plan = coded_by(plan_of("pi1", "pi2"), "int4")
    said = (
        "^E_PROFILE: the blocks of mobilenetv2 were profiled on pi2 without int4, expected a "
        "profile with codec int4 for each host — run `ansible-playbook playbooks/profile.yml "
    )
    with pytest.raises(ParetoPipeError, match=said):
        candidates(plan, profiles, [], {})


def test_a_hop_without_a_link_is_free_beside_the_wire() -> None:
    found = candidates(plan_of("pi1", "pi2", measured=FAR), profiled("pi1", "pi2"), [], {})
    wire_s = 100_000 * 1514 / 1448 * 8e-6 / 50
    assert found[0].latency_parts["pi1>pi2"] == pytest.approx(wire_s, rel=0.01)
    assert found[0].latency_parts[DELAY] == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {"latency_s": 0},
        {"throughput_img_s": float("nan")},
        {"run_s": "7"},
        {"cuts": [3, -1]},
        {"cuts": None},
        {"latency_parts": {"pi1": 0.4}},
        {"pace_parts": {"pi1": float("inf")}},
        {"pace_parts": [1.0]},
    ],
)
def test_what_is_no_candidate_is_refused(change: dict[str, Any]) -> None:
    good = Candidate((3,), 0.5, 20.0, 7.0, {"pi1": 0.3, "pi1>pi2": 0.2}).to_json()
    with pytest.raises(ParetoPipeError, match=r"^E_PLAN: a candidate is malformed: .*, expected "):
        Candidate.from_json({**good, **change})


def test_schedule_and_report_read_and_predict_alike(tmp_path: Path) -> None:
    plan = document(scenario={"name": "metro", "netem": None, "measured": {"rtt_ms": 20.0}})
    (tmp_path / "cell.jsonl").write_bytes(sealed({"kind": "plan", "plan": plan})[1])
    profile = synthetic.write_cell(tmp_path, [*samples.profile(random.Random(1))])
    link = synthetic.write_cell(tmp_path, [*samples.link(random.Random(1))])
    whole = link.read_bytes()
    # A line with another's checksum, and one that was never finished.
    damaged = whole.splitlines()[-1].replace(b'"rtt_ms": ', b'"rtt_ms": 9')
    link.write_bytes(whole + damaged + b"\n" + whole[: len(whole) // 2].rpartition(b"\n")[2])
    sheet = Sheet.of(read(tmp_path))
    found = sources.read(tmp_path)
    assert found == (tuple(sheet.profiles), tuple(sheet.links))
    predictor = sheet.predictors[plan["cell_id"]]
    assert isinstance(predictor, Predictor)
    for one in candidates(read_plan(plan), *found, {}):
        predicted = predictor.predict(one.cuts, 20.0, predictor.networks[0].rate_mbit)
        assert (one.latency_s, one.throughput_img_s) == (
            predicted.latency_s,
            predicted.throughput_img_s,
        )
    run = json.loads(profile.read_text().splitlines()[-1])
    place = {key: run[key] for key in ("cell_id", "run_key", "attempt")}
    with profile.open("ab") as file:
        file.write(sealed({"kind": "withdrawal", **place, "status": "invalid:network"})[1])
    assert [one.runs for one in sources.read(tmp_path)[0]] == [5, 5, 4]
    assert sources.read(tmp_path / "none") == ((), ())
