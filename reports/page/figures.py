"""Figures and verdicts as words: medians with ranges, ratios, lists of splits."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from reports.data.cells import Cell, Split, Spread
from reports.objectives import Objective
from reports.statistics.judge import Judgement
from reports.words import count, decimals, number, percent, power

VERDICTS = ("on", "undecided", "off")
SIGNS = {"on": "◆", "undecided": "▲", "off": "●"}
#: Of splits without a run: hollow.
_UNSEEN = {"on": "◇", "undecided": "△", "off": "○"}
#: Of splits that are not off by time alone: they lose too much accuracy to be picked.
_INACCURATE = {"on": "◈", "undecided": "◬"}


def spread(value: Spread | None, unit: str = "") -> str:
    """Return '1.82 s [1.79, 1.86]': median and range; of one run its value."""
    if value is None:
        return "–"
    measure = f"{number(value.median)}\N{NO-BREAK SPACE}{unit}" if unit else number(value.median)
    if value.n == 1 and value.low == value.high:
        return measure
    places = decimals(value.median)
    low, high = (f"{end:,.{places}f}" for end in (value.low, value.high))
    return f"{measure} [{low},\N{NO-BREAK SPACE}{high}]"


def say(split: Split, objective: Objective) -> str:
    """Return an objective's value with range and unit."""
    return spread(split.of(objective), objective.unit)


def figures(split: Split, objectives: Sequence[Objective]) -> str:
    """Return 'latency 1.82 s [1.79, 1.86], throughput 4.1 images/s [4.0, 4.2]'."""
    return ", ".join(f"{one.name} {say(split, one)}" for one in objectives)


def behind(objective: Objective, loss: float, name: bool = True) -> str:
    """Return a loss in words: '28 % more latency than', '20 % less throughput than'.

    From twice as much on '3.2 times the latency of'; without `name` '28 % more than', '3.2
    times'.
    """
    if not objective.lower:
        return f"{percent(1 - 1 / (1 + loss))} less {f'{objective.name} ' if name else ''}than"
    if loss < 1:
        return f"{percent(loss)} more {f'{objective.name} ' if name else ''}than"
    return times(1 + loss) + (f" the {objective.name} of" if name else "")


def ahead(objective: Objective, best: Split, split: Split) -> str:
    """Return a split's gain: '5.8 % less latency', '63 % more throughput'."""
    gain = split.loss(objective, best)
    if not gain:
        return f"the same {objective.name}"
    if objective.lower:
        return f"{percent(1 - 1 / (1 + gain))} less {objective.name}"
    if gain >= 1:
        return f"{times(1 + gain)} the {objective.name}"
    return f"{percent(gain)} more {objective.name}"


def points(change: float) -> str:
    """Return '−1.3 points'."""
    return f"{change:+.1f} points".replace("-", "−").replace("+0.0", "±0")


def chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {min(p, 1.0):.2g}"


def lost(split: Split, cell: Cell) -> str:
    """Return ' −1.3 points' of a split that loses more accuracy than does not matter."""
    own = cell.accuracies.get(split.cuts)
    return f" {points(own.change)}" if own and split.cuts in cell.lossy else ""


def times(ratio: float) -> str:
    """Return '1.8 times'; two decimals where one would hide a difference."""
    return f"{number(ratio, 3 if ratio < 1.1 else 2)} times"


def link(split: Split) -> Markup:
    return Markup('<a href="#{}">{}</a>').format(split.row_id, split.name)


def links(splits: Sequence[Split], limit: int = 6) -> Markup:
    """Join linked names, cut as by ``words.listing``."""
    shown = [link(split) for split in splits[: limit if len(splits) <= limit else limit - 1]]
    if len(shown) < len(splits):
        shown.append(Markup("{} more").format(len(splits) - len(shown)))
    return prose(shown)


def prose(parts: Sequence[Markup], word: str = "and") -> Markup:
    """Return 'one, another and a third'."""
    if len(parts) == 1:
        return parts[0]
    return Markup("{} {} {}").format(Markup(", ").join(parts[:-1]), word, parts[-1])


def judged(judgement: Judgement, verdict: str, cell: Cell) -> tuple[Split, ...]:
    """Return splits with a verdict, by the first objective."""
    return cell.ranked(s for s in cell.known if judgement.verdict[s.cuts] == verdict)


def apart(splits: Sequence[Split]) -> list[list[Split]]:
    """Return what was run, then what was not, as far as there is any."""
    both = ([s for s in splits if s.runs], [s for s in splits if not s.runs])
    return [some for some in both if some]


def by_time(split: Split, verdict: str, cell: Cell) -> bool:
    """Tell whether a split is not off the front, but loses too much accuracy to be picked."""
    return verdict != "off" and split.cuts in cell.lossy


def sign(split: Split, verdict: str, cell: Cell) -> str:
    if by_time(split, verdict, cell):
        return _INACCURATE[verdict]
    return (SIGNS if split.runs else _UNSEEN)[verdict]


def word(split: Split, verdict: str, cell: Cell) -> str:
    """Return 'on', 'on (by time alone)', 'off (accuracy)', or unless run 'off (predicted)'."""
    if split.cuts in cell.ruled_out:
        return "off (accuracy)"
    if by_time(split, verdict, cell):
        return f"{verdict} (by time alone)"
    return "off (predicted)" if verdict == "off" and not split.runs else verdict


def said(judgement: Judgement, split: Split, cell: Cell) -> str:
    """Return 'on 0.97': verdict, and probability if known."""
    verdict, sure = judgement.verdict[split.cuts], judgement.membership.get(split.cuts)
    return word(split, verdict, cell) + ("" if sure is None else f" {sure:.2f}")


def against(judgement: Judgement, split: Split, splits: Sequence[Split]) -> str:
    """Name dominators of an off split, contesters of an undecided one."""
    names = {other.cuts: other.name for other in splits}
    if split.cuts in judgement.dominator:
        return f"dominated by {names[judgement.dominator[split.cuts]]}"
    if split.cuts in judgement.rival:
        return f"rival {names[judgement.rival[split.cuts]]}"
    return ""


def margin(delta: float) -> str:
    """Return a margin as typed: 2 %, not 2.0 %."""
    return f"{100 * delta:g}\N{NO-BREAK SPACE}%"


def point_id(row_id: str) -> str:
    return f"at-{row_id.removeprefix('row-')}"


def mebibytes(value: float) -> str:
    """Return bytes as MiB: three digits below, whole above."""
    amount = value / 2**20
    return number(amount) if amount < 100 else f"{amount:,.0f}"


def error(counted: pd.DataFrame) -> str:
    """Return these runs' largest error and the engine's tolerance."""
    largest = pd.to_numeric(counted["max_rel_err"], errors="coerce").max()
    limit = pd.to_numeric(counted["tolerance"], errors="coerce").max()
    allowed = f" (allowed: {power(limit)})" if pd.notna(limit) else ""
    return f"{power(largest)}{allowed}" if pd.notna(largest) else "not recorded"


# Exclusions by the beginning of their reason; the rest failed or are invalid.
_OTHERS = {
    "sentinel": "only checked for drift",
    "superseded": "were replaced by repeats",
    "settings": "have other settings",
    "skipped": "skipped",
}


def attempts(frame: pd.DataFrame) -> str:
    """Return '400 of 442 runs count: 40 only checked for drift, 2 failed or are invalid'."""
    counted = int(frame["counted"].sum())
    if counted == len(frame):
        return f"{count(counted, 'run')}, all of which count"
    text = f"{counted:,} of {count(len(frame), 'run')} count"
    kinds = frame.loc[~frame["counted"], "excluded"].str.extract("^([a-z]+)")[0]
    parts = [
        f"{number:,} {said}"
        for key, said in _OTHERS.items()
        if (number := int((kinds == key).sum()))
    ]
    if bad := int((~kinds.isin([*_OTHERS])).sum()):
        parts.append(f"{bad:,} failed or are invalid")
    return f"{text}. {'; '.join(parts)}"
