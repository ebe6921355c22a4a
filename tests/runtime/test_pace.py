"""How long a sweep will take: what is foreseen and what is learned, against what it took."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.orchestrator.pace import Learned, Pace, learned
from paretopipe_runtime.orchestrator.progress import Progress
from paretopipe_runtime.orchestrator.rounds import Drift, Log, Round, rounds_of
from roles.job.clock import within
from tests.made import plans

REAL = Path(__file__).parents[1] / "data" / "demo_timings.json"
LIMIT = 0.05


@dataclass(frozen=True)
class Step:
    """A run as far as its time goes."""

    split: str
    repeat: int
    role: str

    @property
    def key(self) -> str:
        return f"{self.split} {self.repeat} {self.role}"

    cuts = property(lambda self: self.split)


@dataclass
class Cell:
    """A cell's recorded runs: both passes, of which the second is measured where it must be."""

    name: str
    estimate_s: dict[str, float]
    rows: dict[tuple[Step, int], dict[str, Any]] = field(default_factory=dict)

    @property
    def steps(self) -> list[Step]:
        return [step for step, block_pass in self.rows if block_pass == 1]

    @property
    def rounds(self) -> list[Round]:
        return rounds_of(self.steps)  # type: ignore[arg-type]

    def drift(self, log: Log) -> Drift:
        return Drift.of(self.rounds, log, LIMIT, len(self.rounds))

    def measured(self) -> Iterator[tuple[Step, dict[str, Any]]]:
        first = [(step, self.rows[step, 1]) for step in self.steps]
        beyond = self.drift(Log(row for _, row in first)).beyond
        yield from first
        for step in self.steps:
            if step.repeat in beyond:
                yield step, self.rows.get((step, 2), self.rows[step, 1]) | {"block_pass": 2}

    @property
    def foreseen_s(self) -> float:
        return sum(self.estimate_s[step.split] for step in self.steps)


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    found = []
    for name, told in json.loads(REAL.read_text()).items():
        cell = Cell(name, told["estimate_s"])
        for split, repeat, block_pass, role, wall_s, latency_s, img_s in told["runs"]:
            step = Step(split, repeat, role)
            took = {"block_pass": block_pass, "wall_s": wall_s}
            cell.rows[step, block_pass] = plans.row(step.key, "ok", 1, latency_s, img_s, **took)
        found.append(cell)
    return found


def foreseen(cells: list[Cell], off: float = 1.0) -> Iterator[tuple[float, float, float]]:
    """Follow a sweep as the orchestrator does; yield what is left, and its mean and deviation.

    `off` is how much longer everything takes than it was recorded to.
    """
    left_s = off * sum(row["wall_s"] for cell in cells for _, row in cell.measured())
    others: list[Learned] = []
    for number, cell in enumerate(cells):
        later_s = sum(later.foreseen_s for later in cells[number + 1 :]) * (1 + Pace().again)
        log, blocks = Log([]), {block.number: block for block in cell.rounds}
        progress = Progress(None, cell.name, cell.steps, {}, cell.estimate_s, others)
        for step, recorded in cell.measured():
            row = {**recorded, "wall_s": off * recorded["wall_s"]}
            here_s, deviation_s = progress.left_s()
            pace = Pace.of([*others, progress.learned])
            then_s = later_s * pace.ratio
            yield left_s, here_s + then_s, deviation_s + pace.spread * then_s
            if row["block_pass"] > log.round_pass(blocks[step.repeat]):
                progress.add(blocks[step.repeat].runs)
            log.add(row)
            progress.end(step, row)
            if step.role in ("open", "close"):
                tell(progress, cell, log)
            left_s -= row["wall_s"]
        others.append(progress.learned)


def tell(progress: Progress, cell: Cell, log: Log) -> None:
    drift, blocks = cell.drift(log), cell.rounds
    closed = [block for block in blocks if log.when(block.closing, 1)]
    waiting = [b for b in blocks if b.number in drift.beyond and log.round_pass(b) == 1]
    progress.foresee(len(waiting), len(blocks) - len(closed), len(closed), len(drift.beyond))


def held(left_s: float, mean_s: float, deviation_s: float) -> bool:
    low_s, high_s = within(mean_s, deviation_s)
    return low_s <= left_s <= high_s


@pytest.mark.parametrize("off", [0.8, 1.0, 1.3])
def test_the_range_holds_what_a_real_demo_took_from_then_on(cells: list[Cell], off: float) -> None:
    whole = list(foreseen(cells, off))
    total_s = whole[0][0]
    for share in (0.25, 0.5, 0.75):
        at = next(told for told in whole if told[0] <= (1 - share) * total_s)
        assert held(*at), f"{share:.0%}: {at}"
        assert at[2] < 0.25 * at[0], "a range that says something"
    assert sum(held(*told) for told in whole) > 0.75 * len(whole)


def test_the_range_before_a_demo_holds_what_it_took(cells: list[Cell]) -> None:
    told = [Pace().foresee(cell.foreseen_s, len(cell.rounds)) for cell in cells]
    mean_s, deviation_s = (sum(part) for part in zip(*told, strict=True))
    took_s = sum(row["wall_s"] for cell in cells for _, row in cell.measured())
    assert held(took_s, mean_s, deviation_s)
    assert deviation_s < 0.3 * mean_s


def test_cells_that_are_done_tell_of_those_to_come() -> None:
    fresh, taught = Pace(), Pace.of([Learned(2.0, 120), Learned(2.1, 120), Learned(1.9, 120)])
    assert taught.ratio == pytest.approx(2.0, rel=0.25)
    assert taught.spread < fresh.spread
    mean_s, deviation_s = taught.foresee(100, 0)
    assert held(200, mean_s, deviation_s)
    assert not held(200, *fresh.foresee(100, 0))


def test_a_machine_that_scatters_is_foreseen_less_surely() -> None:
    done = [Learned(1.0, 120)]
    for cells, own in ([], None), (done, None), ([], done[0]):
        spreads = [Pace.of(cells, own, scatter).spread for scatter in (0.0, 0.1, 0.3)]
        assert spreads[0] < spreads[1] < spreads[2]
    assert Pace.of([], None, 0.15).spread == pytest.approx(0.25)


def test_blocks_that_drifted_tell_of_those_to_come() -> None:
    calm, wild = (Pace.of([Learned(1.0, 120, blocks=20, again=again)]) for again in (0, 10))
    assert calm.again < Pace().again < wild.again
    assert wild.foresee(100, 5)[0] > 1.3 * calm.foresee(100, 0)[0]


def test_what_a_cell_learned_is_found_again_and_only_of_cells_that_are_asked_for(
    tmp_path: Path,
) -> None:
    told = {name: Learned(ratio, 24, 3, 1) for name, ratio in (("a", 1.5), ("b", 0.5))}
    for name, what in told.items():
        what.save(tmp_path, name)
    assert learned(tmp_path, ["a", "c"]) == {"a": told["a"]}
    for damaged in ('{"ratio": ', '{"ratio": "1", "runs": 1}', '{"ratio": 0, "runs": 1}', "[]"):
        (tmp_path / "estimates" / "a.pace.json").write_text(damaged)
        assert learned(tmp_path, ["a", "b"]) == {"b": told["b"]}


def progress(**estimate_s: float) -> tuple[Progress, list[Step]]:
    steps = [Step(split, repeat, "split") for repeat in (1, 2) for split in estimate_s]
    return Progress(None, "c", steps, {}, estimate_s), steps


def test_a_block_that_waits_to_be_measured_again_counts_once_more() -> None:
    told, _ = progress(P1=10.0, P2=20.0)
    assert told.left_s()[0] == pytest.approx(60)
    told.foresee(waiting=1, to_come=0, judged=2, drifted=1)
    assert told.left_s()[0] == pytest.approx(90)
    told.foresee(waiting=0, to_come=2, judged=0, drifted=0)
    assert 60 < told.left_s()[0] < 75


def test_a_split_that_was_measured_stands_for_itself_and_teaches_the_others() -> None:
    told, steps = progress(P1=10.0, P2=20.0)
    row = {"kind": "profile", "status": "ok", "wall_s": 12.0, "message": ""}
    told.end(steps[0], row)
    left_s, _ = told.left_s()
    assert 12 + 2 * 20 < left_s < 12 + 2 * 24 + 1


def test_a_profile_without_an_estimate_is_foreseen_from_what_it_took() -> None:
    told, steps = progress(P1=0.0)
    assert told.left_s() == (0, 0)
    told.end(steps[0], {"kind": "profile", "status": "ok", "wall_s": 3.0, "message": ""})
    assert told.left_s()[0] == pytest.approx(3)
