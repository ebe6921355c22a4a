"""Cut points of a model, and the names of splits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from paretopipe_runtime.errors import ParetoPipeError

Cuts = tuple[int, ...]


def all_splits(blocks: int, stages: int = 2) -> list[Cuts]:
    """Return all cuts into `stages` stages: ``[(1,), …, (n-1,)]`` for two."""
    return list(itertools.combinations(range(1, blocks), stages - 1))


def stage_ranges(cuts: Sequence[int], blocks: int) -> list[tuple[int, int]]:
    """Return each stage's blocks as [first, end).

    >>> stage_ranges((3, 9), 21)
    [(0, 3), (3, 9), (9, 21)]
    """
    edges = [0, *cuts, blocks]
    return list(itertools.pairwise(edges))


def split_name(cuts: Sequence[int]) -> str:
    """Return ``P`` and the cut points; ``P0`` for an uncut model."""
    return "P" + (dashed(cuts) or "0")


def dashed(cuts: Sequence[int]) -> str:
    """Format cut points for users: ``3-9``."""
    return "-".join(map(str, cuts))


def undashed(text: str) -> Cuts:
    """Invert `dashed`."""
    return tuple(int(cut) for cut in text.split("-") if cut)


def validate_cuts(model: str, blocks: int, cuts: Sequence[int]) -> Cuts:
    """Return valid cut points as a tuple; empty for an uncut model.

    Raises
    ------
    ParetoPipeError
        ``E_SPLIT`` unless within 1 … blocks-1 and strictly increasing.
    """
    for cut in cuts:
        if isinstance(cut, bool) or not isinstance(cut, int) or not 1 <= cut < blocks:
            raise ParetoPipeError(
                "E_SPLIT",
                f"split {cut!r} of {model} is out of range: valid cut points are 1…{blocks - 1} "
                "— choose among them with -e splits=…, or all of them with -e splits=all",
            )
    if any(here >= after for here, after in itertools.pairwise(cuts)):
        raise ParetoPipeError(
            "E_SPLIT",
            f"cut points {list(cuts)} of {model} do not increase: every stage needs a block of its "
            "own — list each cut point once, the smallest first",
        )
    return tuple(cuts)
