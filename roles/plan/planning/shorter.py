"""Say how long a sweep takes, and which questions take less."""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from paretopipe_runtime.contract.commands import written
from paretopipe_runtime.contract.models import is_found, model_info
from paretopipe_runtime.contract.units import duration

from .foretelling import Foretold
from .values import OptionError

#: Beyond this a sweep must be asked for once more.
DAY_S = 86400.0
# Of the time: what takes longer is no shorter question.
_SHORTER = 0.9

Options = Mapping[str, Any]
#: Of what is asked and each split's seconds, the options of smaller questions; the quickest counts.
Question = Callable[[Options, Mapping[tuple[int, ...], float]], Iterable[Options]]
#: Return what is left of a sweep with these options changed.
Foretell = Callable[[Options], Foretold | None]


def _fewer_repeats(asked: Options, _: Any) -> Iterable[Options]:
    if asked["repeats"] > 3:
        yield {"repeats": 3}


def _only_the_doubtful(asked: Options, _: Any) -> Iterable[Options]:
    """Yield a sweep of what is in doubt, or half a day of one."""
    needs = {"profile": "true", "refine": "false"}
    if asked["strategy"] != "doubtful":
        unlike = {key: value for key, value in needs.items() if asked[key] != (value == "true")}
        yield {"strategy": "doubtful", **unlike}
    elif "within" not in asked:
        yield {"within": "12h"}


def _only_the_doubtful_again(asked: Options, _: Any) -> Iterable[Options]:
    if asked["repeats"] > 2 and not asked["refine"] and asked["strategy"] != "doubtful":
        yield {"repeats": 2, "refine": "true"}


def _one_of(option: str) -> Question:
    def question(asked: Options, _: Any) -> Iterable[Options]:
        values = asked.get(option)
        if isinstance(values, Mapping) and len(values) > 1:  # pairings, with their hosts
            yield from ({option: {name: hosts}} for name, hosts in values.items())
        elif isinstance(values, list) and len(values) > 1:
            yield from ({option: value} for value in values)

    return question


def _one_codec(asked: Options, split_s: Any) -> Iterable[Options]:
    """Yield each codec alone, by the strategy that ``codec=auto`` brings along."""
    kept = {"strategy": "doubtful"} if asked["strategy"] == "doubtful" else {}
    for one in _one_of("codec")(asked, split_s):
        yield {**one, **kept}


def _a_band(asked: Options, split_s: Mapping[tuple[int, ...], float]) -> Iterable[Options]:
    """Yield the quarter of all splits, side by side, that runs the quickest."""
    seconds: Counter[int] = Counter()
    for cut, s in split_s.items():
        if len(cut) == 1:
            seconds[cut[0]] += s  # with every codec
    cuts = sorted(seconds)
    wide = len(cuts) // 4
    if isinstance(asked["model"], str) and asked["splits"] == "all" and wide > 1:
        bands = [cuts[first : first + wide] for first in range(len(cuts) - wide + 1)]
        best = min(bands, key=lambda band: sum(seconds[cut] for cut in band))
        yield {"splits": ",".join(map(str, best))}


def _smaller_images(asked: Options, _: Any) -> Iterable[Options]:
    images = asked["image"] if isinstance(asked["image"], list) else [asked["image"]]
    names = asked["model"] if isinstance(asked["model"], list) else [asked["model"]]
    half = max(model_info(name).image_px for name in names) // 2
    # A Transformer, for one, takes images of its own size only.
    if half < min(images) and not any(map(is_found, names)):
        yield {"image": half}


#: A further kind of shorter question is a row here.
QUESTIONS: tuple[Question, ...] = (
    _only_the_doubtful,
    *map(_one_of, ("model", "scenarios", "pairings", "backend", "transport", "engine")),
    _one_codec,
    _fewer_repeats,
    _only_the_doubtful_again,
    _a_band,
    _smaller_images,
)


def said(told: Foretold) -> str:
    """Return how much is left of a sweep and what that rests on, in a line."""
    if not told.runs:
        return "nothing is left to measure"
    runs = f"{'at most ' * told.at_most}{told.runs} runs"
    return f"{runs}, {_about(told)} once all is installed: from {'; '.join(told.sources)}"


def refuse_long(
    sweep: str,
    told: Foretold,
    asked: Options,
    split_s: Mapping[tuple[int, ...], float],
    foretell: Foretell,
) -> None:
    """Refuse a sweep of over a day, with shorter questions and their times.

    Parameters
    ----------
    asked : mapping
        The sweep's options in effect.
    split_s : mapping
        Seconds of a run of each split, of one of its cells.

    Raises
    ------
    OptionError
    """
    if told.seconds <= DAY_S:
        return
    found = (_quickest([*question(asked, split_s)], foretell) for question in QUESTIONS)
    rows = [row for row in found if row and row[1].seconds < _SHORTER * told.seconds]
    if all(one.seconds > DAY_S for _, one in rows):
        rows += _together([options for options, _ in rows], foretell)
    written = [
        (_written(options), _about(one) + " at most" * one.at_most + _more(options))
        for options, one in rows
    ]
    width = max((len(words) for words, _ in written), default=0)
    lines = [f"  {words:<{width}}  {takes}" for words, takes in written]
    shorter = ["shorter questions:", *lines] if lines else []
    raise OptionError(
        "\n".join(
            [
                f"{sweep}: {said(told)}. That is over a day: add -e long=true to measure it all "
                "the same, or ask for less",
                *shorter,
            ]
        )
    )


def _quickest(options: Sequence[Options], foretell: Foretell) -> tuple[Options, Foretold] | None:
    found = [(one, told) for one in options if (told := foretell(one))]
    return min(found, key=lambda row: row[1].seconds) if found else None


def _together(parts: Sequence[Options], foretell: Foretell) -> Iterable[tuple[Options, Foretold]]:
    """Yield the first of ever more parts together that take no more than a day."""
    for options in itertools.accumulate(parts, _both):
        told = foretell(options)
        if told and told.seconds <= DAY_S:
            yield options, told
            return


def _both(one: Options, more: Options) -> Options:
    """Return both, the first where they differ, or where each measures only what is in doubt."""
    return one if "strategy" in one and "refine" in more else {**one, **more, **one}


def _about(told: Foretold) -> str:
    hours = told.seconds / 3600
    if hours < 10:
        return f"about {duration(told.seconds)}"
    days = f" ({hours / 24:.1f} days)" if hours > 48 else ""
    return f"about {hours:.0f} h{days}"


def _more(options: Options) -> str:
    return ", and more for what is then in doubt" if "refine" in options else ""


def _written(options: Options) -> str:
    return " ".join(map(shlex.join, (["-e", word] for word in written(options))))
