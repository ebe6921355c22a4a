"""Verdicts on small cells whose answer is plain, and what is said where none is possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.data.cells import Cell
from reports.objectives import LATENCY, OBJECTIVES
from reports.statistics.judge import Judgement, hypervolume, judge
from tests.made import figures, worlds

# Latency and throughput: a trade of two, one beaten at both, one beaten by less than 2 % only.
POINTS = {(1,): (1.0, 10.0), (2,): (1.5, 20.0), (3,): (1.6, 9.0), (4,): (1.01, 9.9)}


def _cell(points: dict[worlds.Cuts, tuple[float, float]], cv: float, rounds: int) -> Cell:
    true = np.log(np.array([points[cuts] for cuts in sorted(points)]))
    logs = worlds.runs(np.random.default_rng(1), true, cv, rounds, slow=0)
    return worlds.cell(logs)


def test_verdicts_of_a_plain_cell() -> None:
    said = judge(_cell(POINTS, 0.002, 5))
    assert said.verdict == {(1,): "on", (2,): "on", (3,): "off", (4,): "on"}
    assert said.dominator.keys() == {(3,)}
    assert said.dominator[3,] in {(1,), (2,), (4,)}
    assert said.rival == {}
    assert said.strict == {(1,), (2,)}
    assert said.reason == ""
    assert said.delta == 0.02


def test_a_third_objective_puts_on_the_front_who_is_best_at_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    energy = replace(LATENCY, figure="network_s", required=False)  # any figure will do
    three = (*OBJECTIVES, energy)
    monkeypatch.setattr("reports.data.cells.OBJECTIVES", three)
    monkeypatch.setattr("tests.made.worlds.OBJECTIVES", three)
    logs = worlds.runs(np.random.default_rng(1), np.log([*POINTS.values()]), 0.002, 5, slow=0)
    jitter = np.random.default_rng(2).normal(0, 0.002, (4, 5))

    def judged(joules: float) -> Judgement:
        spent = np.log([3.0, 3.0, joules, 3.0])[:, None] + jitter
        cell = worlds.cell(np.concatenate([logs, spent[..., None]], axis=2))
        assert cell.objectives == three
        return judge(cell)

    frugal = judged(2.0)
    assert frugal.verdict == {(1,): "on", (2,): "on", (3,): "on", (4,): "on"}
    assert len(frugal.detectable) == 3
    assert judged(3.0).verdict[3,] == "off"


def test_a_smaller_margin_decides_differently() -> None:
    assert judge(_cell(POINTS, 0.0005, 5), delta=0.005).verdict[4,] == "off"


def test_a_loss_below_the_margin_does_not_make_up_for_a_gain_beyond_it() -> None:
    # The second of each is better by a tenth at one objective, worse by a hundredth at the other.
    quicker = {(1,): (1.0, 10.0), (2,): (0.9, 9.9), (3,): (3.0, 2.0)}
    busier = {(1,): (1.0, 10.0), (2,): (1.01, 11.0), (3,): (3.0, 2.0)}
    for points in (quicker, busier):
        said = judge(_cell(points, 0.002, 5))
        assert said.strict == {(1,), (2,)}
        assert said.verdict == {(1,): "off", (2,): "on", (3,): "off"}
        assert said.dominator[1,] == (2,)


def test_undecided_names_the_rival() -> None:
    # Split 2 is as quick and has 2 % more throughput: at margin 2 % that is a toss-up.
    said = judge(_cell({(1,): (1.0, 10.0), (2,): (1.0, 10.2), (3,): (3.0, 2.0)}, 0.01, 5))
    assert said.verdict == {(1,): "undecided", (2,): "on", (3,): "off"}
    assert said.rival == {(1,): (2,)}
    assert 0.1 < said.membership[1,] < 0.9


def test_more_runs_decide_what_five_do_not() -> None:
    points = {(1,): (1.0, 10.0), (2,): (1.0, 10.4), (3,): (3.0, 2.0)}
    assert judge(_cell(points, 0.02, 5)).verdict[1,] == "undecided"
    assert judge(_cell(points, 0.02, 40)).verdict[1,] == "off"


def test_one_run_of_each_split_claims_nothing() -> None:
    said = judge(_cell(POINTS, 0.01, 1))
    assert set(said.verdict.values()) == {"undecided"}
    assert said.membership == said.dominator == said.rival == {}
    assert said.detectable == ()
    assert "one run of each split" in said.reason
    # What is a matter of the medians alone is still told.
    assert said.strict == {(1,), (2,)}


def test_two_runs_decide_the_obvious_only() -> None:
    clear = judge(_cell(POINTS, 0.002, 2))
    assert clear.verdict[3,] == "off"
    # Ten times the scatter: of the trade of split 4 with split 1 nothing is known now.
    assert judge(_cell(POINTS, 0.02, 2)).verdict[4,] == "undecided"


def test_a_split_alone_is_the_front() -> None:
    said = judge(_cell({(1,): (1.0, 10.0)}, 0.01, 5))
    assert said.verdict == {(1,): "on"}
    assert said.hypervolume is None
    assert said.reason == ""


def test_a_cell_without_runs_has_no_verdicts() -> None:
    said = judge(figures.cell([worlds.split((1,), {"repeat": ()}, attempts=3)]))
    assert said.verdict == {}
    assert said.strict == frozenset()
    assert said.reason == "no split was measured"
    assert said.unreliable == {(1,)}


def test_same_cell_and_seed_same_judgement() -> None:
    cell = _cell(POINTS, 0.02, 5)
    assert judge(cell) == judge(cell)
    assert judge(cell).membership != judge(cell, seed=1).membership


def test_noise_that_latency_and_throughput_share_is_not_counted_twice() -> None:
    # Split 2 is better by 2.5 % at both. Where both objectives err together, being unsure of
    # one is being unsure of the other, and the split may well be on the front after all.
    rng = np.random.default_rng(2)
    true = np.log(np.array([[1.025, 10.0], [1.0, 10.25], [2.0, 5.0], [3.0, 4.0]]))
    noise = rng.normal(0, 0.02, (4, 5, 1))
    noise -= noise.mean(axis=1, keepdims=True)
    together = worlds.cell(true[:, None] + noise * np.array([1.0, -1.0]))
    own = np.concatenate([noise, np.roll(noise, 1, axis=1)], axis=2)
    apart = worlds.cell(true[:, None] + own)
    assert judge(together).membership[1,] > judge(apart).membership[1,] + 0.1


def test_a_disturbed_run_is_flagged_and_kept() -> None:
    logs = worlds.runs(np.random.default_rng(3), np.zeros((10, 2)), 0.01, slow=0)
    logs[6, 1] += worlds.SLOW * np.array([1.0, -1.0])
    said = judge(worlds.cell(logs))
    assert [(cuts, number) for cuts, number, _ in said.outliers] == [((7,), 2)]
    assert abs(said.outliers[0][2]) > 10
    assert judge(_cell(POINTS, 0.01, 5)).outliers == ()


def test_more_than_a_fifth_of_invalid_attempts_is_unreliable() -> None:
    splits = _cell(POINTS, 0.01, 4).splits
    # Four count of each; the last one's other two were valid, in a round that was measured again.
    seen = ((4, 0), (5, 1), (6, 2), (6, 0))
    tried = tuple(
        replace(split, attempts=attempts, invalid=invalid)
        for split, (attempts, invalid) in zip(splits, seen, strict=True)
    )
    assert judge(figures.cell(tried)).unreliable == {(3,)}


def test_detectable_difference_is_that_of_a_t_test() -> None:
    # 20 splits, 5 runs, CV 1 %: (t(0.975, 76) + t(0.8, 76)) * 1 % * sqrt(2/5) = 1.8 %.
    logs = worlds.runs(np.random.default_rng(4), np.zeros((20, 2)), 0.01, slow=0)
    said = judge(worlds.cell(logs))
    assert said.detectable == pytest.approx((0.018, 0.018), rel=0.15)


def test_hypervolume_by_hand() -> None:
    # From the worst latency, 3, down to 1 and up to 10: 20 in all, of which 1 x 4 is missing.
    points = {(1,): (1.0, 6.0), (2,): (2.0, 10.0), (3,): (3.0, 1.0)}
    assert hypervolume(points, [False, True]) == pytest.approx(16 / 20)
    assert hypervolume({(1,): (1.0, 10.0), (2,): (2.0, 1.0)}, [False, True]) == pytest.approx(1)
