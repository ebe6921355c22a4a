"""Accuracy as a third goal: without noise, and a limit to what may be picked."""

from __future__ import annotations

import numpy as np
import pytest

from paretopipe_runtime.contract.accuracy import MARGIN, Accuracy
from paretopipe_runtime.contract.splits import Cuts, coded
from reports.data.accuracies import joined
from reports.data.cells import Cell
from reports.objectives import ACCURACY
from reports.statistics.decision import decided
from reports.statistics.judge import judge
from tests.made import figures, worlds

DIGEST = "ab" * 32
PLAIN, HALF, LOSSY = (3,), coded((3,), "int8"), coded((3,), "int4")
# Latency and throughput: the fewer bits, the quicker and the busier; cut late it is slow anyway.
POINTS: dict[Cuts, tuple[float, float]] = {
    **{PLAIN: (1.0, 10.0), HALF: (0.8, 12.0), LOSSY: (0.6, 15.0)},
    (9,): (1.5, 8.0),
}


def cell(
    right: dict[Cuts, tuple[int, int]],
    points: dict[Cuts, tuple[float, float]] = POINTS,
    margin: float = MARGIN,
) -> Cell:
    """Return a cell of five rounds; `right` has what only the unsplit and only the split tells."""
    true = np.log(np.array([*points.values()]))
    logs = worlds.runs(np.random.default_rng(1), true, 0.002, 5, slow=0)
    splits = []
    for cuts, own in zip(points, logs, strict=True):
        latency, throughput = (tuple(np.exp(side).tolist()) for side in own.T)
        values = {"repeat": (1.0, 2.0, 3.0, 4.0, 5.0)}
        found = {**values, "latency_s": latency, "throughput_img_s": throughput}
        splits.append(worlds.split(cuts, found))
    splits.sort(key=lambda split: split.cuts)
    made = figures.cell(splits, plan={"weights_digest": DIGEST}, settings={})
    lines = [
        {
            **{"cell_id": made.id, "weights_digest": DIGEST},
            **Accuracy(cuts, 1000, 900, *alone).to_json(),
        }
        for cuts, alone in right.items()
    ]
    (whole,) = joined([made], lines, margin)
    return whole


def test_a_fast_split_that_loses_too_much_is_on_the_front_and_no_pick() -> None:
    made = cell({HALF: (4, 0), LOSSY: (30, 2)})
    assert made.exact == (ACCURACY,)
    said, answer = judge(made), decided(made)
    # What is as good but for less than the margin dominates; what loses more is a trade.
    assert said.verdict == {PLAIN: "off", HALF: "on", LOSSY: "on", (9,): "off"}
    assert said.membership == {PLAIN: 0.0, HALF: 1.0, LOSSY: 1.0, (9,): 0.0}
    assert said.dominator[PLAIN] == HALF
    assert said.strict == {HALF}
    assert answer is not None
    assert answer.both.pick == HALF
    assert {choice.pick for choice in answer.goals.values()} == {HALF}
    assert LOSSY not in answer.expected
    assert len(said.detectable) == 2  # accuracy has no noise to hide differences


@pytest.mark.parametrize(
    ("lost", "margin", "pick", "half"),
    [
        *((5, MARGIN, LOSSY, "off"), (6, MARGIN, HALF, "on"), (0, MARGIN, LOSSY, "off")),
        *((900, MARGIN, HALF, "on"), (6, 0.6, LOSSY, "off"), (5, 0.4, HALF, "on")),
        *((1, 0, HALF, "on"), (900, 100, LOSSY, "off")),
    ],
)
def test_the_margin_decides(lost: int, margin: float, pick: Cuts, half: str) -> None:
    made = cell({HALF: (0, 0), LOSSY: (lost, 0)}, margin=margin)
    answer = decided(made)
    assert answer is not None
    assert answer.both.pick == pick
    assert judge(made).verdict == {PLAIN: "off", HALF: half, LOSSY: "on", (9,): "off"}


def test_telling_more_than_the_unsplit_network_is_no_merit() -> None:
    assert judge(cell({HALF: (0, 20), LOSSY: (0, 0)})).verdict[HALF] == "off"


def test_without_a_codec_that_keeps_the_accuracy_none_is_picked() -> None:
    made = cell({HALF: (20, 0), LOSSY: (200, 0)})
    answer = decided(made)
    assert answer is not None
    assert answer.both.pick == PLAIN
    assert judge(made).verdict == {PLAIN: "on", HALF: "on", LOSSY: "on", (9,): "off"}


def test_where_all_lose_the_least_loss_is_left() -> None:
    lossy = {cuts: point for cuts, point in POINTS.items() if cuts in (HALF, LOSSY)}
    answer = decided(cell({HALF: (20, 0), LOSSY: (200, 0)}, lossy))
    assert answer is not None
    assert answer.both.pick == HALF
    # Better than the unsplit network by chance: that makes none of the others inaccurate.
    answer = decided(cell({HALF: (0, 20), LOSSY: (5, 0)}, lossy))
    assert answer is not None
    assert answer.both.pick == LOSSY


@pytest.mark.parametrize("right", [{}, {HALF: (4, 0)}], ids=["no split's", "one split's"])
def test_accuracy_that_is_not_known_of_all_judges_none(right: dict[Cuts, tuple[int, int]]) -> None:
    made = cell(right)
    assert made.exact == ()
    answer = decided(made)
    assert answer is not None
    assert answer.both.pick == LOSSY
    assert judge(made).verdict[HALF] == "off"
