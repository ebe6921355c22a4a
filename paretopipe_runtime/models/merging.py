"""Choice among a model's cuts: those where modules end, so that blocks have their names."""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence
from typing import Protocol, TypeVar

#: Blocks end with the modules of the least depth that has so many ends, or else the most.
ENOUGH = 16


class _Cut(Protocol):
    @property
    def ends(self) -> int:
        """The least depth of the modules that end there; 0 for none."""


Cut = TypeVar("Cut", bound=_Cut)


def ends(path: str, after: str) -> int:
    """Return the least depth of the modules that end between two nodes, by their paths.

    >>> ends("features.3.conv", "features.4.conv"), ends("layer1.0", "layer1.0.relu")
    (2, 0)
    """
    parts, others = (one.split(".") if one else [] for one in (path, after))
    alike = zip(parts, others, strict=False)
    common = len([*itertools.takewhile(lambda pair: pair[0] == pair[1], alike)])
    return common + 1 if len(parts) > common else 0


def enough(cuts: Sequence[Cut]) -> list[Cut]:
    """Return the cuts at ends of modules, no deeper than gives enough; all if none is there."""
    deepest = max((cut.ends for cut in cuts), default=0)
    by_depth = [[c for c in cuts if 0 < c.ends <= depth] for depth in range(1, deepest + 1)]
    for chosen in by_depth:
        if len(chosen) >= ENOUGH:
            return chosen
    return max(by_depth, key=len, default=[]) or [*cuts]


def unused(name: str, taken: Container[str]) -> str:
    """Return the name, numbered where a block has it already."""
    names = itertools.chain([name], (f"{name}+{more}" for more in itertools.count(1)))
    return next(one for one in names if one not in taken)
