"""Rounds of what is in doubt: chosen, recorded, resumed, and within their limits."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.plan import Plan, cap, read_plan
from paretopipe_runtime.contract.splits import split_name, unlisted
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.job import COMPLETE, INCOMPLETE, INTERRUPTED, Lease
from paretopipe_runtime.judging import expectation, gain
from paretopipe_runtime.orchestrator import cell as cell_work
from paretopipe_runtime.orchestrator import loop, night
from paretopipe_runtime.orchestrator.pace import save_estimate
from paretopipe_runtime.orchestrator.runs import Run, Work
from paretopipe_runtime.prediction.candidates import candidates
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys
from tests import effort
from tests.made import weights
from tests.made.plans import document
from tests.runtime.test_adaptive import level, row
from tests.runtime.test_validity import PREPARED

RUN_S = 10.0
ENDS = ["all on pi1", "all on pi2"]


class Killed(BaseException):
    """Nothing is tidied up."""


def plan(budget: float = 0.4, within_s: float | None = None, **changes: Any) -> dict[str, Any]:
    """Ten splits, and so twenty of fifty runs."""
    doubtful = {"budget": budget, "audit": 0.1, "delta": 0.02, "within_s": within_s}
    asked = {"splits": [[cut] for cut in range(3, 13)], "end_points": True, "doubtful": doubtful}
    return document(**{**asked, "cell_id": "cell", **changes})


def exhaustive() -> dict[str, Any]:
    return {key: value for key, value in plan().items() if key != "doubtful"}


def predicted(plan: Plan, *_: Any) -> tuple[Candidate, ...]:
    off, found = random.Random(3), []
    for cuts in plan.splits:
        latency_s, img_s = (value * off.lognormvariate(0, 0.03) for value in level(cuts))
        found.append(Candidate(cuts, latency_s, img_s, RUN_S))
    return tuple(found)


@dataclass
class Sweep:
    """Sweeps with made-up measurements; `failing` by cuts, stopped or killed before run `at`."""

    folder: Path
    wall_s: Callable[[Run], float] = lambda _run: RUN_S
    failing: tuple[int, ...] = ()
    at: int = -1
    kill: bool = False
    stopping: list[int] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, plan: dict[str, Any]) -> tuple[int, str]:
        self.stopping.clear()
        self.folder.mkdir(exist_ok=True)
        names = [*map(split_name, read_plan(plan).splits), *ENDS, "all on pi2 int8"]
        save_estimate(self.folder, "cell", dict.fromkeys(names, RUN_S))
        lease, told = Lease(None, 0), self.folder / "p.json"
        files = loop.SweepFiles(self.folder / "cell.jsonl", None, told, lease, self.folder)
        return loop.measure(plan, files, Keys(b""), stopping=self.stopping)

    def measure(self, _work: Work, run: Run, *_: Any) -> dict[str, Any]:
        if (self.folder / "p.json").exists():
            self.progress.append(json.loads((self.folder / "p.json").read_text()))
        self.at -= 1
        if self.at == 0 and self.kill:
            raise Killed
        if self.at == 0:
            self.stopping.append(15)
        changes = {"wall_s": self.wall_s(run)}
        if run.cuts and run.cuts[0] in self.failing:
            changes["status"] = "failed:E_STALL"
        return row(run, 1, 1, 0.02, **changes)

    def lines(self, kind: str) -> list[dict[str, Any]]:
        lines = map(json.loads, (self.folder / "cell.jsonl").read_text().splitlines())
        return [line for line in lines if line["kind"] == kind]

    @property
    def runs(self) -> list[tuple[int, str]]:
        return [(f["repeat"], f["split"]) for f in (one["factors"] for one in self.lines("run"))]

    @property
    def plan(self) -> dict[str, Any]:
        recorded: dict[str, Any] = self.lines("plan")[-1]["plan"]
        return recorded


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sweep]]:
    """Make sweeps that are not run yet."""
    current: list[Sweep] = []

    def make(**how: Any) -> Sweep:
        current[:] = [Sweep(tmp_path_factory.mktemp("sweep"), **how)]
        return current[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_work, "prepare", lambda *_: PREPARED)
        patch.setattr(cell_work, "predict", predicted)
        patch.setattr(expectation, "SWEEPS", 1)
        patch.setattr(gain, "_RESULTS", 8)  # quicker
        patch.setattr(night, "stop_on_signal", list)
        patch.setattr(loop, "_unanswered", lambda _status: False)
        patch.setattr(loop, "_measure", lambda *given: current[0].measure(*given))
        yield make


@pytest.fixture(scope="module")
def whole(made: Callable[..., Sweep]) -> Sweep:
    """A sweep that nothing has stopped."""
    sweep = made()
    assert sweep(plan())[0] == COMPLETE
    return sweep


def test_rounds_are_recorded_with_what_they_are_for_and_end_points_once(whole: Sweep) -> None:
    recorded, runs = whole.plan, whole.runs
    assert [Candidate.from_json(one) for one in recorded["candidates"]] == [
        *predicted(read_plan(plan()))
    ]
    assert [name for repeat, name in runs if name in ENDS and repeat == 1] != []
    assert Counter(name for _, name in runs if name in ENDS) == dict.fromkeys(ENDS, 1)
    by_round = [
        [name for at, name in runs if at == number and name not in ENDS]
        for number in range(1, 1 + len(recorded["more"]))
    ]
    for said, done in zip(recorded["more"], by_round, strict=True):
        assert sorted(done) == sorted(split_name(tuple(cuts)) for cuts in said["splits"])
        assert len(said["why"]) == len(said["splits"]) <= 4
        assert {*said["why"]} <= {"doubt", "audit", "common"}
    assert sum(map(len, by_round)) <= cap(read_plan(plan())) == 20
    assert recorded["expected"]["sweeps"] == 1
    assert recorded["expected"]["splits"] == 10


def test_what_is_to_come_is_told_from_the_start(whole: Sweep) -> None:
    assert whole.progress[0]["note"].startswith("expected after about ")
    for one in whole.progress:
        assert one["runs_total"] == 22, "at most"
        assert one["left_s"] == pytest.approx(RUN_S * (22 - one["runs_done"]), rel=0.2)
    said = [tuple(one["current"].split(", ")[:2]) for one in whole.progress]
    assert said == [(name, f"round {number}") for number, name in whole.runs]


@pytest.mark.parametrize(
    ("at", "kill"),
    effort.some([(7, True), (6, False), (1, True), (1, False), (9, True), (11, False)], 3),
)
def test_a_stopped_or_killed_one_goes_on_to_the_same(
    made: Callable[..., Sweep], whole: Sweep, at: int, kill: bool
) -> None:
    """Six runs are the first round: a kill before the seventh comes after a round was chosen."""
    sweep = made(at=at, kill=kill)
    if kill:
        with pytest.raises(Killed):
            sweep(plan())
    else:
        code, sentence = sweep(plan())
        assert (code, f"stopped with at most {22 - at} runs to go" in sentence) == (
            INTERRUPTED,
            True,
        )
    assert len(sweep.lines("run")) == at - kill
    assert sweep(plan())[0] == COMPLETE
    assert sweep.runs == whole.runs
    assert sweep.plan == whole.plan


@pytest.mark.parametrize("within_s", [45.0, 125.0])
def test_time_is_kept_over_stops_and_failures(made: Callable[..., Sweep], within_s: float) -> None:
    """Every third split takes three times as long as was estimated."""
    sweep = made(wall_s=lambda run: RUN_S * (3 if sum(run.cuts) % 3 == 2 else 1), at=5)
    asked = plan(budget=1, within_s=within_s)
    sweep(asked)
    for _ in range(2):
        assert sweep(asked)[0] == COMPLETE
    spent_s = sum(one["wall_s"] for one in sweep.lines("run"))
    # What is not known yet is how slow they are.
    assert within_s - RUN_S < spent_s <= within_s + 2 * RUN_S


def test_a_split_that_always_fails_is_left_alone(made: Callable[..., Sweep]) -> None:
    sweep = made(failing=(7,))
    code, sentence = sweep(plan())
    assert code == INCOMPLETE
    assert sentence.startswith("1 of ")
    tried = [one["status"] for one in sweep.lines("run") if one["factors"]["cuts"] == [7]]
    assert tried == ["failed:E_STALL"] * 2
    assert len(sweep.plan["more"]) > 2


def test_each_strategy_takes_the_others_runs(made: Callable[..., Sweep], whole: Sweep) -> None:
    sweep = made()
    assert sweep(exhaustive()) == (COMPLETE, "all 60 runs measured")
    assert sweep(plan()) == (COMPLETE, "nothing is left to measure")
    assert len(sweep.runs) == 60
    assert (sweep.plan["doubtful"]["budget"], sweep.plan.get("more")) == (0.4, None)
    assert sweep(exhaustive())[0] == COMPLETE
    assert len(sweep.runs) == 60
    assert "doubtful" not in sweep.plan

    sweep = made()
    sweep(plan())
    assert sweep(exhaustive())[0] == COMPLETE
    assert sweep.runs[: len(whole.runs)] == whole.runs
    wanted = {(number, name) for number in range(1, 6) for name in {one for _, one in sweep.runs}}
    assert sorted(sweep.runs) == sorted(wanted | {*whole.runs})


def test_of_more_splits_than_are_judged_those_near_the_front_go_on(
    made: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_work, "predict", lambda plan, *_: predicted(plan)[2:8])
    sweep = made(at=5)
    assert sweep(plan())[0] == INTERRUPTED
    monkeypatch.setattr(cell_work, "predict", lambda *_: pytest.fail("they are recorded"))
    assert sweep(plan())[0] == COMPLETE
    assert (sweep.plan["predicted"], len(sweep.plan["candidates"])) == (10, 6)
    assert {name for _, name in sweep.runs} - {*ENDS} <= {f"P{cut}" for cut in range(5, 11)}


def test_a_further_codec_goes_on_where_a_sweep_without_stopped(made: Callable[..., Sweep]) -> None:
    few = {"splits": [[3], [5], [9]], "repeats": 2}
    coded = {**few, "codecs": ["none", "int8"]}
    sweep = made()
    assert sweep({**exhaustive(), **few})[0] == COMPLETE
    before = sweep.runs
    assert sweep({**exhaustive(), **coded})[0] == COMPLETE
    assert sweep.runs[: len(before)] == before
    names = ["P3 int8", "P5 int8", "P9 int8", "all on pi2 int8"]
    assert Counter(name for _, name in sweep.runs[len(before) :]) == dict.fromkeys(names, 2)
    assert sweep({**plan(budget=1), **coded}) == (COMPLETE, "nothing is left to measure")

    sweep = made(at=5)
    assert sweep({**plan(budget=1), **coded})[0] == INTERRUPTED
    stopped = sweep.runs
    assert sweep({**plan(budget=1), **coded})[0] == COMPLETE
    assert sweep.runs[: len(stopped)] == stopped
    assert len({*sweep.runs}) == len(sweep.runs)
    assert sum("int8" in name for _, name in sweep.runs) > 1
    named = {unlisted(cuts) for one in sweep.plan["more"] for cuts in one["splits"]}
    assert named <= {one.cuts for one in map(Candidate.from_json, sweep.plan["candidates"])}


@pytest.mark.parametrize(("margin", "tried"), [(0.5, False), (1.0, True)])
def test_what_accuracy_rules_out_is_never_run(
    made: Callable[..., Sweep], margin: float, tried: bool
) -> None:
    """int8 loses a point at every cut: no time makes it a pick."""
    trained = weights.unwritten()
    coded = {**plan(budget=1), "splits": [[3], [5], [9]], "codecs": ["none", "int8"]}
    coded |= weights.named(trained)
    coded["doubtful"] |= {"accuracy_margin": margin}
    sweep = made()
    records = Records(sweep.folder / "cell.jsonl")
    for cut in (0, 3, 5, 9):
        counts = {"images": 100, "unsplit": 90, "only_unsplit": 1, "only_split": 0}
        of = {"weights_digest": trained.manifest.digest, "dataset": "digits", "image_px": 224}
        records.append_accuracy("cell", {"cuts": [cut, "int8"], **counts, **of})
    assert sweep(coded)[0] == COMPLETE
    names = {name for _, name in sweep.runs}
    assert {name for name in names if "int8" in name} > {"all on pi2 int8"} or not tried
    assert tried or names == {"P3", "P5", "P9", *ENDS, "all on pi2 int8"}
    assert sweep.plan["expected"]["splits"] == (6 if tried else 3)
    before = len(sweep.runs)
    assert sweep(coded)[0] == COMPLETE
    assert len(sweep.runs) == before


def test_only_runs_of_its_own_splits_count_against_its_budget(made: Callable[..., Sweep]) -> None:
    sweep = made()
    sweep({**exhaustive(), "splits": [[1], [2]], "repeats": 10})
    before = len(sweep.runs)
    assert sweep(plan())[0] == COMPLETE
    assert len(sweep.runs) > before + 10


def test_without_a_profile_it_says_what_to_run(
    made: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_work, "predict", candidates)
    with pytest.raises(ParetoPipeError) as caught:
        made()(plan())
    first, _, last = str(caught.value).partition(" — ")
    assert first.startswith("E_PROFILE: the blocks of mobilenetv2 were not profiled on pi1 (")
    assert last.startswith("run `ansible-playbook playbooks/profile.yml -e model=mobilenetv2")
    assert last.endswith("`, then give the same command again")


def test_a_detached_one_measures_the_same(made: Callable[..., Sweep], whole: Sweep) -> None:
    sweep = made()
    sweep.folder = sweep.folder / "sweeps" / "x"
    asked = {
        "sweep": "x",
        "plans": [plan()],
        "visits": ["cell"],
        "networks": {"": {"measured": {"pi2": None}, "ways": None}},
        "first": 0,
        **{"expected_s": {}, "keepers": [], "relay": {}, "report": {}},
    }
    state = sweep.folder.parents[1]
    done = night.measure(night.Night.of(asked), state, Keys(b""), state / "told.json")
    assert done == (COMPLETE, "all 1 visits measured")
    assert sweep.runs == whole.runs
    told = json.loads((state / "told.progress.json").read_text())
    assert told["note"].startswith("expected after about ")
