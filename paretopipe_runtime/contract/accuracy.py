"""Images that a network gets right with and without a codec at its cuts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.splits import Cuts, codec_of, listed, unlisted
from paretopipe_runtime.contract.values import is_count

_COUNTS = ("images", "unsplit", "only_unsplit", "only_split")
#: Images that are looked at, spread evenly where a data set holds out more: enough to see a loss of
#: two points, and minutes instead of hours.
IMAGES = 1000
_MOST = 10**5  # of a line: p stays quick
#: Percentage points whose loss does not matter, unless a sweep says others.
MARGIN = 0.5
#: So far off a share may be by floating point: half a point is no more than half a point.
ROUNDED = 1e-6


@dataclass(frozen=True)
class Accuracy:
    """Top-1 of a split on held-out images, against the unsplit network on the same ones.

    `unsplit`: images that the latter has right. `only_unsplit`, `only_split`: those that one of the
    two alone has right.

    Raises
    ------
    ValueError
        For counts that cannot be.
    """

    cuts: Cuts
    images: int
    unsplit: int
    only_unsplit: int
    only_split: int

    def __post_init__(self) -> None:
        counts = [getattr(self, name) for name in _COUNTS]
        sound = all(map(is_count, counts)) and 0 < self.images <= _MOST
        if not (sound and self.only_unsplit <= self.unsplit <= self.images - self.only_split):
            raise ValueError(f"{dict(zip(_COUNTS, counts, strict=True))} are no images told right")

    @property
    def codec(self) -> str:
        return codec_of(self.cuts)

    @property
    def right(self) -> int:
        """Images that the split has right."""
        return self.unsplit - self.only_unsplit + self.only_split

    @property
    def percent(self) -> float:
        return 100 * self.right / self.images

    @property
    def unsplit_percent(self) -> float:
        return 100 * self.unsplit / self.images

    @property
    def change(self) -> float:
        """Percentage points against the unsplit network; less than 0 are lost."""
        return 100 * (self.only_split - self.only_unsplit) / self.images

    @property
    def p(self) -> float:
        return mcnemar(self.only_unsplit, self.only_split)

    def to_json(self) -> dict[str, Any]:
        return {"cuts": listed(self.cuts), **{name: getattr(self, name) for name in _COUNTS}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Accuracy:
        """Read what `to_json` gives; raises KeyError, TypeError, ValueError or ``E_CODEC``."""
        if type(value["cuts"]) is not list:
            raise TypeError(f"{str(value['cuts'])[:40]} are no cuts")
        return cls(unlisted(value["cuts"]), *(value[name] for name in _COUNTS))


def lossy(known: Mapping[Cuts, Accuracy], splits: Iterable[Cuts], margin: float) -> frozenset[Cuts]:
    """Return the splits that lose more than `margin` points against the unsplit network.

    Where all do, against those that lose the least. Without a codec a split is as accurate as the
    unsplit network. None before the accuracy of every split with a codec is known.
    """
    every = [*splits]
    encoded = [cuts for cuts in every if codec_of(cuts) != NONE]
    if not encoded or not known.keys() >= {*encoded}:
        return frozenset()
    unsplit = known[encoded[0]].unsplit_percent
    percents = {cuts: known[cuts].percent if cuts in known else unsplit for cuts in every}
    least = min(unsplit, max(percents.values())) - margin - 100 * ROUNDED
    return frozenset(cuts for cuts, percent in percents.items() if percent < least)


def mcnemar(only_one: int, only_other: int) -> float:
    """Return the exact two-sided p of McNemar's test, from the discordant pairs alone.

    If both classifiers are equally good, each image that one of them alone has right is as likely
    the one's as the other's: a binomial test with probability 1/2 (Q. McNemar, Psychometrika 12,
    1947, pp. 153-157; exact and conditional: M. W. Fagerland, S. Lydersen and P. Laake, BMC Medical
    Research Methodology 13:91, 2013).

    >>> [round(mcnemar(*pairs), 4) for pairs in ((5, 0), (3, 1), (10, 2), (0, 0))]
    [0.0625, 0.625, 0.0386, 1.0]
    """
    both, least = only_one + only_other, min(only_one, only_other)
    # By logarithms: 2**both overflows from a thousand images on.
    whole = math.lgamma(both + 1) - both * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(both - k + 1)) for k in range(least + 1)
    )
    return min(1.0, 2 * tail)
