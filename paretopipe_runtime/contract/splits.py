"""Cut points of a model, what crosses them, and the names of splits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paretopipe_runtime.contract.codecs import CODECS, NONE, check_codec
from paretopipe_runtime.errors import ParetoPipeError

#: Of one model over one chain of hosts; more would be neither predicted nor shown in time.
MOST_SPLITS = 10_000
Cuts = tuple[int, ...]


class Coded(tuple[int, ...]):
    """Cut points across which tensors go encoded: another split than the same points without.

    Sorted right after these.
    """

    codec: str

    def __new__(cls, cuts: Iterable[int], codec: str) -> Coded:
        made = super().__new__(cls, cuts)
        made.codec = codec
        return made

    def __repr__(self) -> str:
        return f"Coded({tuple(self)}, {self.codec!r})"

    def __hash__(self) -> int:
        return hash(_order(self))  # of numbers only: sets are in the same order every time

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coded) and _order(self) == _order(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Cuts) -> bool:
        return _order(self) < _order(other)

    def __gt__(self, other: Cuts) -> bool:
        return _order(self) > _order(other)

    def __le__(self, other: Cuts) -> bool:
        return _order(self) <= _order(other)

    def __ge__(self, other: Cuts) -> bool:
        return _order(self) >= _order(other)

    def __reduce__(self) -> tuple[Any, ...]:
        return Coded, (tuple(self), self.codec)


def coded(cuts: Iterable[int], codec: object) -> Cuts:
    """Return cut points with what crosses them. Raises ``E_CODEC`` for an unknown codec."""
    name = check_codec(codec)
    return tuple(cuts) if name == NONE else Coded(cuts, name)


def codec_of(cuts: Sequence[int]) -> str:
    """Return the name of the codec across cut points."""
    return cuts.codec if isinstance(cuts, Coded) else NONE


def listed(cuts: Sequence[int]) -> list[Any]:
    """Return a split's form in JSON: its cut points, then its codec's name if it has one."""
    return [*cuts, *([cuts.codec] if isinstance(cuts, Coded) else [])]


def unlisted(fields: Sequence[Any]) -> Cuts:
    """Invert `listed`. Raises TypeError for another form, ``E_CODEC`` for an unknown codec."""
    named = bool(fields) and isinstance(fields[-1], str)
    cuts = tuple(fields[:-1] if named else fields)
    if any(type(cut) is not int for cut in cuts):
        raise TypeError(f"{str(fields)[:40]} is no split")
    return coded(cuts, fields[-1] if named else NONE)


def cuts_of(factors: Mapping[str, Any]) -> Cuts:
    """Return the split of a run, by its factors."""
    return coded(factors["cuts"], factors.get("codec") or NONE)


def _order(cuts: Cuts) -> tuple[tuple[int, ...], int]:
    return tuple(cuts), CODECS[codec_of(cuts)].number


def all_splits(blocks: int, stages: int = 2) -> list[Cuts]:
    """Return all cuts into `stages` stages: ``[(1,), …, (n-1,)]`` for two."""
    return list(itertools.combinations(range(1, blocks), stages - 1))


def possible(blocks: int, stages: int = 2) -> int:
    """Return how many splits `all_splits` has."""
    return math.comb(blocks - 1, stages - 1)


def stage_ranges(cuts: Sequence[int], blocks: int) -> list[tuple[int, int]]:
    """Return each stage's blocks as [first, end).

    >>> stage_ranges((3, 9), 21)
    [(0, 3), (3, 9), (9, 21)]
    """
    edges = [0, *cuts, blocks]
    return list(itertools.pairwise(edges))


def split_name(cuts: Sequence[int]) -> str:
    """Return ``P`` and the cut points, then a codec: ``P3 int8``; ``P0`` for an uncut model."""
    return "P" + (dashed(cuts) if cuts else "0" + dashed(cuts))


def dashed(cuts: Sequence[int]) -> str:
    """Format cut points for users: ``3-9``, or ``3-9 int8``."""
    points = "-".join(map(str, cuts))
    return f"{points} {cuts.codec}" if isinstance(cuts, Coded) else points


def undashed(text: str) -> Cuts:
    """Invert `dashed`."""
    points, _, codec = text.partition(" ")
    return coded((int(cut) for cut in points.split("-") if cut), codec or NONE)


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
