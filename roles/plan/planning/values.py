"""Parse the user's values, or raise a sentence with what to type."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from paretopipe_runtime.contract.factors import FACTORS

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
    "end_points",
    "sentinel",
    "drift_limit",
    "refine",
    "dominance",
    "goal",
    "profile",
    "preflight",
    "detach",
    "first_report",
    "noise",
    "sweep",
    "experiment",
)


class OptionError(ValueError):
    """Invalid option; the message is one sentence with valid choices."""


def listed(value: Any) -> list[str]:
    """Return ``"a,b"`` or ``["a", "b"]`` as ``["a", "b"]``, without duplicates."""
    words = value.split(",") if isinstance(value, str) else list(value)
    return list(dict.fromkeys(str(word).strip() for word in words if str(word).strip()))


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
    if not re.fullmatch(r"[0-9]{1,9}", str(value)) or int(value) < least:
        kind = "positive " if least else ""
        raise OptionError(f"{name}={value} is not a {kind}whole number: write e.g. {name}=5")
    return int(value)


def fraction(name: str, value: Any) -> float:
    """Return `value` as a number in [0, 1)."""
    if not re.fullmatch(r"0?\.[0-9]{1,9}|0", str(value)):
        raise OptionError(
            f"{name}={value} is not a fraction from 0 up to 1: write e.g. {name}=0.05 for 5 %"
        )
    return float(value)


def flag(name: str, value: Any) -> bool:
    try:
        return bool(boolean(value))
    except TypeError:
        raise OptionError(f"{name}={value} says neither yes nor no: write {name}=true") from None


def cut_points(splits: Any, model: str, blocks: int, stages: int) -> str | list[list[int]]:
    """Return ``"all"`` or cut points by split; ``3-9`` cuts into three stages."""
    words = listed(splits)
    if words == ["all"]:
        return "all"
    cuts = []
    for word in words:
        if not re.fullmatch(r"[0-9]+(-[0-9]+)*", word):
            raise OptionError(f"splits={word} is not a split: write splits=all or splits=1,14,29")
        cut = [int(part) for part in word.split("-")]
        if len(cut) != stages - 1:
            raise OptionError(
                f"split {word} makes {len(cut) + 1} stages, the pairing has {stages} workers: "
                f"write {stages - 1} block number(s) joined by '-'"
            )
        if not all(1 <= point < blocks for point in cut) or cut != sorted(set(cut)):
            raise OptionError(
                f"split {word} is out of range: {model} has {blocks} blocks, "
                f"so splits run from 1 to {blocks - 1}"
            )
        cuts.append(cut)
    if not cuts:
        raise OptionError("splits is empty: write splits=all or splits=1,14,29")
    return cuts


def mistyped(names: Sequence[str], options: Sequence[str] = OPTIONS) -> None:
    """Refuse an ``-e`` name close to one of ours: Ansible would ignore it."""
    for name in names:
        close = difflib.get_close_matches(name, options, n=1, cutoff=0.8)
        if name not in options and close:
            raise OptionError(f"unknown option '{name}': did you mean {close[0]}=…?")
