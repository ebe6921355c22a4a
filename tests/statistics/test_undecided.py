"""What is asked for when splits stay undecided."""

from __future__ import annotations

import numpy as np

from reports.data.cells import Cell
from reports.statistics.judge import judge
from reports.statistics.undecided import undecided
from tests.statistics import worlds

# The first is 2 % below the second at equal latency: a toss-up at margin 2 %.
TRUE = np.log(np.array([[1.0, 10.0], [1.0, 10.2], [3.0, 2.0]]))


def _cell(blocks: int, true: np.ndarray = TRUE) -> Cell:
    return worlds.cell(worlds.runs(np.random.default_rng(1), true, 0.01, blocks, slow=0))


def _asked(cell: Cell, **limit: int) -> list[dict]:
    return undecided([cell], {cell.id: judge(cell)}, **limit)


def test_undecided_splits_and_their_rivals_get_five_more() -> None:
    assert _asked(_cell(5)) == [{"cell_id": "invented", "splits": [[1], [2]], "repeats": 10}]


def test_never_beyond_the_limit() -> None:
    assert _asked(_cell(5), limit=7)[0]["repeats"] == 7
    assert _asked(_cell(7), limit=7) == []


def test_nothing_is_asked_where_all_is_decided() -> None:
    assert _asked(_cell(5, np.log(np.array([[1.0, 10.0], [2.0, 5.0]])))) == []


def test_one_run_each_asks_for_all() -> None:
    assert _asked(_cell(1)) == [{"cell_id": "invented", "splits": [[1], [2], [3]], "repeats": 6}]
