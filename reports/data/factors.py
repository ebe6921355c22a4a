"""Factors of cells: values, words, and the selection of those to name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paretopipe_runtime.contract.factors import BACKEND, BY_HOSTS, FACTORS, Factor, Variant
from paretopipe_runtime.contract.lines import Record
from reports.words import pairing_name


class Placed(Protocol):
    """A cell, as far as naming needs it."""

    @property
    def variant(self) -> Variant:
        """Values by factor key."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """By stage."""

    @property
    def pairing(self) -> str:
        """Name of the chain of hosts."""

    @property
    def scenario(self) -> str:
        """Name of the network."""


def variant(plan: Record, factors: Record) -> Variant:
    """Return a cell's values by factor key, a tuple over stages if per host.

    The tuple is empty if unrecorded, or if all are the default of a factor not always named. Runs
    override the plan, which may rely on its runtime's defaults.
    """
    known, workers = {**plan, **factors}, plan.get("workers") or []
    found = Variant()
    for factor in FACTORS:
        if not factor.per_host:
            found[factor.key] = str(known.get(factor.key) or factor.default)
            continue
        unsaid = "" if factor.always else factor.default
        planned = [worker.get(factor.option) or unsaid for worker in workers]
        stated = (factors.get(factor.key) if factors else planned) or ()
        values = tuple(str(value) for value in stated if value)
        found[factor.key] = values if factor.always or set(values) - {factor.default} else ()
    return found


def at_stage(cell: Placed, factor: Factor, stage: int) -> str:
    """Return a factor's value at one stage."""
    value = cell.variant[factor.key]
    if not factor.per_host:
        return str(value)
    return str(value[stage]) if stage < len(value) else factor.default


def phrase(factor: Factor, cell: Placed) -> str:
    """Return a factor's value in words, with hosts where they differ."""
    value = cell.variant[factor.key]
    if not factor.per_host:
        return factor.word(value)
    placed = [
        f"{factor.word(each)} on {host}"
        for each, host in zip(value, cell.hosts, strict=False)
        if not (factor.exceptional and each == factor.default)
    ]
    if factor.exceptional:
        return ", ".join(dict.fromkeys(placed)) or factor.word(factor.default)
    if len(set(value)) < 2:
        return factor.word(value[0]) if value else unrecorded(factor)
    return ", ".join(placed)


def unrecorded(factor: Factor) -> str:
    return f"{factor.option} not recorded"


def rank(cell: Placed) -> tuple[Any, ...]:
    """Return a sort key, defaults first."""
    return tuple(factor.rank(cell.variant[factor.key]) for factor in BY_HOSTS)


def place_name(cell: Placed) -> str:
    """Return the variant as part of an id."""
    parts: list[str] = []
    for factor in FACTORS:
        value = cell.variant[factor.key]
        if factor.per_host:
            parts += value
        elif factor.always or value != factor.default:
            parts.append(value)
    return ".".join(parts)


@dataclass(frozen=True)
class Naming:
    """Keys of the factors that a report has to name."""

    keys: frozenset[str]

    @classmethod
    def of(cls, cells: Sequence[Placed]) -> Naming:
        """Find the factors that differ between `cells` or from the default."""
        return cls(frozenset(factor.key for factor in FACTORS if _tells(factor, cells)))

    def without(self, factor: Factor) -> Naming:
        return Naming(self.keys - {factor.key})

    def over(self, cell: Placed) -> str:
        """Return 'over PyTorch RPC, ONNX Runtime, default malloc', or nothing."""
        named = []
        for factor in FACTORS:
            usual = factor.exceptional and cell.variant[factor.key] in ((), factor.default)
            if factor.key in self.keys and not usual:
                named.append(f"{'over ' * (factor is BACKEND)}{phrase(factor, cell)}")
        return ", ".join(named)

    def place(self, cell: Placed) -> str:
        """Return 'Pi-to-Pi, baseline, over PyTorch RPC'."""
        parts = (pairing_name(cell.pairing), cell.scenario, self.over(cell))
        return ", ".join(part for part in parts if part)


def _tells(factor: Factor, cells: Sequence[Placed]) -> bool:
    if factor.of_hosts:  # said at the head of a page where all are alike
        return len({cell.variant[factor.key] for cell in cells}) > 1
    usual = ({factor.word(factor.default)}, {unrecorded(factor)})
    return factor.exceptional or {phrase(factor, cell) for cell in cells} not in usual
