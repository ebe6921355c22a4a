"""Parse the user's values, or raise a sentence with what to type."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from paretopipe_runtime.contract.factors import FACTORS
from paretopipe_runtime.contract.splits import MOST_SPLITS, possible

OPTIONS = (
    "model",
    "scenarios",
    "pairings",
    *(factor.option for factor in FACTORS if factor.typed),
    "batch",
    "image",
    "classes",
    "weights",
    "repeats",
    "splits",
    "codec",
    "end_points",
    "sentinel",
    "drift_limit",
    "refine",
    "dominance",
    "accuracy_margin",
    "goal",
    "profile",
    "preflight",
    "detach",
    "first_report",
    "noise",
    "burn_in",
    "long",
    "sweep",
    "experiment",
    "strategy",
    "budget",
    "audit",
    "within",
)


class OptionError(ValueError):
    """Invalid option; the message is one sentence with valid choices."""


def text(name: str, value: Any) -> str:
    """Return what YAML or JSON made of a value as people type it; a list with commas.

    >>> text("drift_limit", 5e-05), text("repeats", 3.0), text("splits", [1, 14])
    ('0.00005', '3', '1,14')
    """
    if isinstance(value, Mapping) or (
        isinstance(value, list | tuple)
        and any(isinstance(part, list | tuple | Mapping) for part in value)
    ):
        raise OptionError(f"{name}={value} is nested: write {name}=a or {name}=a,b")
    if isinstance(value, list | tuple):
        return ",".join(text(name, part) for part in value)
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, float):
        return format(Decimal(repr(float(value))).normalize(), "f")
    return str(value).strip()


def listed(value: Any) -> list[str]:
    """Return ``"a,b"`` or ``["a", "b"]`` as ``["a", "b"]``, without duplicates."""
    words = (word.strip() for word in text("option", value).split(","))
    return list(dict.fromkeys(filter(None, words)))


def folder(name: str, value: Any) -> str:
    """Return a value that can name a folder among others."""
    said = text(name, value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", said):
        raise OptionError(f"{name}={said} cannot name a folder: use letters, digits, '-' and '_'")
    return said


def known(kind: str, names: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Return `names`, or raise a sentence with the choices."""
    for name in names:
        if name not in choices:
            close = difflib.get_close_matches(name, choices, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise OptionError(f"unknown {kind} '{name}': choose from {', '.join(choices)}{meant}")
    if not names:
        raise OptionError(f"no {kind} given: choose from {', '.join(choices)}")
    return list(names)


def whole(name: str, value: Any, least: int = 1) -> int:
    said = text(name, value)
    if not re.fullmatch(r"[0-9]{1,9}", said) or int(said) < least:
        kind = "positive " if least else ""
        raise OptionError(f"{name}={said} is not a {kind}whole number: write e.g. {name}=5")
    return int(said)


def fraction(name: str, value: Any, most: float | None = None) -> float:
    """Return `value` as a number in [0, 1), or in [0, `most`]."""
    said = text(name, value)
    known = re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]{1,3})?", said)
    if not known or (float(said) >= 1 if most is None else float(said) > most):
        raise OptionError(
            f"{name}={said} is not a fraction from 0 up to {most or 1}: write e.g. {name}=0.05 "
            "for 5 %"
        )
    return float(said)


def points(name: str, value: Any) -> float:
    """Return `value` as percentage points, from 0 to 100."""
    said = text(name, value)
    if not re.fullmatch(r"[0-9]{0,3}\.?[0-9]{1,9}", said) or float(said) > 100:
        raise OptionError(
            f"{name}={said} is no number of points from 0 to 100: write e.g. {name}=0.5 for half a "
            "point"
        )
    return float(said)


def flag(name: str, value: Any) -> bool:
    said = text(name, value)
    try:
        return bool(boolean(said))
    except TypeError:
        raise OptionError(f"{name}={said} says neither yes nor no: write {name}=true") from None


def cut_points(
    splits: Any, model: str, blocks: int, pairing: str, stages: int
) -> str | list[list[int]]:
    """Return ``"all"`` or cut points by split; ``3-9`` cuts into three stages."""
    words = listed(splits)
    # A cut list as an example that can be typed.
    example = ",".join("-".join(map(str, range(at, at + stages - 1))) for at in (1, 2))
    if blocks < stages:
        raise OptionError(
            f"pairing {pairing} has {stages} stages, and {model} {blocks} blocks: each stage needs "
            "a block of its own, so take fewer hosts"
        )
    if words == ["all"]:
        if (count := possible(blocks, stages)) > MOST_SPLITS:
            raise OptionError(
                f"{model} over the {stages} hosts of pairing {pairing} has {count:,} splits, and "
                f"{MOST_SPLITS:,} are the most that are predicted: name some, as in "
                f"splits={example}, or take fewer hosts"
            )
        return "all"
    cuts = []
    for word in words:
        if not re.fullmatch(r"[0-9]{1,9}(-[0-9]{1,9})*", word):
            raise OptionError(f"splits={word} is not a split: write splits=all or splits={example}")
        cut = [int(part) for part in word.split("-")]
        if len(cut) != stages - 1:
            raise OptionError(
                f"split {word} makes {len(cut) + 1} stages, pairing {pairing} has {stages}: "
                f"write {stages - 1} block number(s) for each split, as in splits={example}, and "
                "measure pairings of other lengths in a sweep of their own"
            )
        if cut != sorted(set(cut)):
            raise OptionError(
                f"the numbers of split {word} do not increase, and each stage needs a block of its "
                f"own: write splits={'-'.join(map(str, sorted(set(cut))))}"
            )
        if not all(1 <= point < blocks for point in cut):
            raise OptionError(
                f"split {word} is out of range: {model} has {blocks} blocks, "
                f"so splits run from 1 to {blocks - 1}"
            )
        cuts.append(cut)
    if not cuts:
        raise OptionError(f"splits is empty: write splits=all or splits={example}")
    return cuts
