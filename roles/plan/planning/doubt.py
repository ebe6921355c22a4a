"""Options of a sweep that measures only the splits in doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from paretopipe_runtime.contract import units
from paretopipe_runtime.contract.plan import Doubtful

from .values import OptionError, flag, fraction, known, listed

EXHAUSTIVE, DOUBTFUL = "exhaustive", "doubtful"
#: All codecs, of which only what is in doubt is measured.
AUTO = "auto"
BUDGET, AUDIT = "0.2", "0.1"
#: Runs of a cell of more than two hosts, whose splits are hundreds: what a person may wait for.
CHAIN_RUNS = 60
#: What is said of all splits of more than two hosts.
OF_CHAINS = (
    "predicts all of them and runs those in doubt, of every pairing: "
    f"-e strategy={EXHAUSTIVE} runs all"
)
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
    """Limits as in `contract.plan.Doubtful`, with the whole sweep's time as it was written.

    `few`: no limit was written, so that cells of more than two hosts have `CHAIN_RUNS`.
    """

    limits: Doubtful
    within: str
    few: bool = False

    @property
    def options(self) -> dict[str, Any]:
        budget = {} if self.few else {"budget": self.limits.budget}
        within = {"within": self.within} if self.within else {}
        return {**budget, "audit": self.limits.audit, **within}

    def of(self, hosts: int, runs: int) -> Doubtful:
        """Return the limits of a cell of so many hosts, and of `runs` if it were exhaustive."""
        if not self.few or hosts <= 2:
            return self.limits
        return replace(self.limits, budget=min(self.limits.budget, CHAIN_RUNS / runs))


def implied(
    options: Mapping[str, Any], experiment: Mapping[str, Any], hosts: int
) -> tuple[dict[str, Any], str]:
    """Return the typed options with the strategy that others bring along, and which these are.

    ``codec=auto`` does, and all splits of a longest pairing of more than two `hosts`.

    Raises
    ------
    OptionError
        For another that was typed beside ``codec=auto``.
    """
    chosen = {**experiment, **options}
    if not _of_all(chosen):
        if hosts > 2 and "strategy" not in options and listed(chosen.get("splits", "")) == ["all"]:
            return {**options, "strategy": DOUBTFUL}, f"splits=all over {hosts} hosts"
        return {**options}, f"strategy={DOUBTFUL}"
    if options.get("strategy", DOUBTFUL) != DOUBTFUL:
        raise OptionError(
            f"codec={AUTO} measures of all codecs what is in doubt, and strategy="
            f"{options['strategy']} all of it: leave strategy out, or name the codecs"
        )
    return {**options, "strategy": DOUBTFUL}, f"codec={AUTO}"


def _of_all(chosen: Mapping[str, Any]) -> bool:
    return AUTO in listed(chosen.get("codec", ""))


def doubt(
    options: Mapping[str, Any],
    experiment: Mapping[str, Any],
    margins: tuple[float, float],
    said: str,
    hosts: int,
) -> Doubt | None:
    """Return the limits of a doubtful sweep, None for an exhaustive one.

    Parameters
    ----------
    options, experiment : mapping
        As typed, and as in the file.
    margins : tuple of float
        Ratio below which differences decide nothing, and points whose loss does not matter.
    said, hosts
        As of `implied`: what asks for such a sweep, and the hosts of the longest pairing.

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
    delta, accuracy_margin = margins
    limits = Doubtful(budget, audit, delta, within_s, accuracy_margin)
    return Doubt(limits, within, few=hosts > 2 and not within and "budget" not in chosen)


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
