"""Options of a sweep that measures only the splits in doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract import units
from paretopipe_runtime.contract.plan import Doubtful

from .values import OptionError, flag, fraction, known, listed

EXHAUSTIVE, DOUBTFUL = "exhaustive", "doubtful"
#: All codecs, of which only what is in doubt is measured.
AUTO = "auto"
BUDGET, AUDIT = "0.2", "0.1"
#: Options that only a doubtful sweep has.
OWN = ("budget", "audit", "within")
#: Seconds that `within` may be: ten to thirty days'.
_LEAST_S, _MOST_S = 10, 30 * 86400
#: Options of rounds of every split, and what is there instead.
IDLE = {
    "sentinel": "a split common to its rounds does a sentinel's job",
    "drift_limit": "a split common to its rounds tells of drift",
    "first_report": "it measures profiles before anything else, and its cells in one go",
}


@dataclass(frozen=True)
class Doubt:
    """Limits as in `contract.plan.Doubtful`, with the whole sweep's time as it was written."""

    limits: Doubtful
    within: str

    @property
    def options(self) -> dict[str, Any]:
        limits = {"budget": self.limits.budget, "audit": self.limits.audit}
        return {**limits, **({"within": self.within} if self.within else {})}


def implied(options: Mapping[str, Any], experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the typed options with the strategy that ``codec=auto`` brings along.

    Raises
    ------
    OptionError
        For another that was typed beside it.
    """
    if not _of_all({**experiment, **options}):
        return {**options}
    if options.get("strategy", DOUBTFUL) != DOUBTFUL:
        raise OptionError(
            f"codec={AUTO} measures of all codecs what is in doubt, and strategy="
            f"{options['strategy']} all of it: leave strategy out, or name the codecs"
        )
    return {**options, "strategy": DOUBTFUL}


def _of_all(chosen: Mapping[str, Any]) -> bool:
    return AUTO in listed(chosen.get("codec", ""))


def doubt(
    options: Mapping[str, Any], experiment: Mapping[str, Any], delta: float, accuracy_margin: float
) -> Doubt | None:
    """Return the limits of a doubtful sweep, None for an exhaustive one.

    Parameters
    ----------
    options, experiment : mapping
        As typed, and as in the file.
    delta : float
        Ratio below which differences decide nothing.
    accuracy_margin : float
        Points whose loss does not matter.

    Raises
    ------
    OptionError
        For a value that cannot be, and options that contradict one another.
    """
    chosen = {**experiment, **options}
    (strategy,) = known("strategy", [chosen.get("strategy", EXHAUSTIVE)], [EXHAUSTIVE, DOUBTFUL])
    if strategy == EXHAUSTIVE:
        # An experiment's own are for its own strategy.
        for name in OWN:
            if (options if "strategy" in options else chosen).get(name):
                raise OptionError(
                    f"{name}={chosen[name]} is for a sweep of what is in doubt only: add "
                    f"-e strategy={DOUBTFUL}, or leave {name} out"
                )
        return None
    said = f"codec={AUTO}" if _of_all(chosen) else f"strategy={DOUBTFUL}"
    if not flag("profile", chosen["profile"]):
        raise OptionError(
            f"{said} predicts from profiles, and profile=false leaves them out: "
            "leave one of the two out"
        )
    if flag("refine", chosen["refine"]):
        raise OptionError(
            f"{said} measures what is in doubt again by itself: leave refine=true out"
        )
    within = str(chosen.get("within", "")).replace(" ", "")
    budget = fraction("budget", chosen.get("budget", "1" if within else BUDGET), most=1)
    if not budget:
        raise OptionError("budget=0 leaves no run: write e.g. budget=0.2 for a fifth of them")
    audit = fraction("audit", chosen.get("audit", AUDIT), most=0.5)
    within_s = _seconds(within) if within else None
    return Doubt(Doubtful(budget, audit, delta, within_s, accuracy_margin), within)


def _seconds(within: str) -> float:
    seconds = units.number(within, units.LEASE)
    if seconds is None:
        bare = re.fullmatch(r"[0-9]+(\.[0-9]+)?", within)
        says = (
            f"has no unit: write within={within}min"
            if bare
            else ("is not understood: write e.g. within=45min or within=2h")
        )
        raise OptionError(f"within={within} {says}")
    if not _LEAST_S <= seconds <= _MOST_S:
        raise OptionError(f"within={within} is not from 10s to 720h")
    return seconds
