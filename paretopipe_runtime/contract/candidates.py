"""Splits that a sweep could measure, with what is predicted of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from paretopipe_runtime.contract.splits import Cuts, listed, split_name, unlisted
from paretopipe_runtime.contract.values import amount, is_count, is_name
from paretopipe_runtime.errors import ParetoPipeError

WINDOW, DELAY = "window", "delay"
_ROUNDED = {"rel_tol": 1e-6, "abs_tol": 1e-6}  # of a sum of parts, if somebody has rounded them


@dataclass(frozen=True)
class Candidate:
    """A split that could be measured, and what is predicted of it.

    ``run_s``: seconds that one run takes, about. Parts, which may be empty, are by host, and by hop
    as ``pi1>pi2``: the seconds that add up to ``latency_s``, and those between batches that each
    allows; ``window`` is a part of a pace that too few batches in flight allow, ``delay`` that part
    of a latency in which all hops are only waited for.

    Raises
    ------
    ParetoPipeError
        ``E_PLAN`` for what is no candidate.
    """

    cuts: Cuts
    latency_s: float
    throughput_img_s: float
    run_s: float
    latency_parts: Mapping[str, float] = field(default_factory=dict)
    pace_parts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(map(is_count, self.cuts)):
            raise _malformed(f"cut points {list(self.cuts)!r}", "block numbers")
        name = split_name(self.cuts)
        for key in ("latency_s", "throughput_img_s", "run_s"):
            if not amount(value := getattr(self, key)):
                raise _malformed(f"{key} {value!r} of {name}", "a finite number above 0")
        for key in ("latency_parts", "pace_parts"):
            for part, value in getattr(self, key).items():
                if not is_name(part) or amount(value) is None:
                    raise _malformed(f"{key} {part!r}: {value!r} of {name}", "a place and seconds")
        total = sum(self.latency_parts.values())
        if self.latency_parts and not math.isclose(total, self.latency_s, **_ROUNDED):
            raise _malformed(f"latency_parts of {name} that add up to {total}", self.latency_s)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "cuts": listed(self.cuts)}

    @classmethod
    def from_json(cls, value: Any) -> Candidate:
        try:
            stated = {known.name: value[known.name] for known in fields(cls)}
            return cls(**{**stated, "cuts": unlisted(stated["cuts"])})
        except (AttributeError, KeyError, TypeError) as error:
            raise _malformed(f"{type(error).__name__} {error}", "what `to_json` gives") from error


def _malformed(seen: str, expected: object) -> ParetoPipeError:
    return ParetoPipeError(
        "E_PLAN",
        f"a candidate is malformed: {seen}, expected {expected} — give the same command again, "
        "which predicts it anew",
    )
