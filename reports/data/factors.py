"""Cells by their factors: what each has, what it is called, and which tell cells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paretopipe_runtime.contract.factors import BACKEND, BY_HOSTS, FACTORS, Factor, Variant
from paretopipe_runtime.contract.lines import Record
from reports.words import pairing_name


class Placed(Protocol):
    """What has a variant, on some hosts, somewhere: a cell."""

    @property
    def variant(self) -> Variant:
        """The value of each factor, by key."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of each stage."""

    @property
    def pairing(self) -> str:
        """What the chain of hosts is called."""

    @property
    def scenario(self) -> str:
        """What the network is called."""


def variant(plan: Record, factors: Record) -> Variant:
    """Return the value of each factor, one a stage where it is by host, by key.

    Nothing where no stage differs from the default, or where records do not say what is always
    said: such a factor of hosts may have been at any value. A plan that leaves it out means what
    its runtime's default was, so the runs are asked first.
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
    """Return a factor's value at one stage; without a word in the records, its default."""
    value = cell.variant[factor.key]
    if not factor.per_host:
        return str(value)
    return str(value[stage]) if stage < len(value) else factor.default


def phrase(factor: Factor, cell: Placed) -> str:
    """Return what a cell has of a factor in words: of all its stages, or which host has which."""
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
    """Return what is said of a factor where records do not state it."""
    return f"{factor.option} not recorded"


def rank(cell: Placed) -> tuple[Any, ...]:
    """Sort the defaults first."""
    return tuple(factor.rank(cell.variant[factor.key]) for factor in BY_HOSTS)


def place_name(cell: Placed) -> str:
    """Return the factors for an id: the defaults only where they are always named."""
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
    """The keys of the factors that a report has to name; a plain report names none."""

    keys: frozenset[str]

    @classmethod
    def of(cls, cells: Sequence[Placed]) -> Naming:
        """Find out what these cells differ in, or have other than the default."""
        return cls(frozenset(factor.key for factor in FACTORS if _tells(factor, cells)))

    def without(self, factor: Factor) -> Naming:
        """Return the naming that leaves one factor out."""
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
        """Return 'Pi-to-Pi, baseline, over PyTorch RPC': where a cell was measured, and how."""
        parts = (pairing_name(cell.pairing), cell.scenario, self.over(cell))
        return ", ".join(part for part in parts if part)


def _tells(factor: Factor, cells: Sequence[Placed]) -> bool:
    """Whether a factor has to be named; what is exceptional is, wherever it is."""
    if factor.of_hosts:  # said at the head of a page where all are alike
        return len({cell.variant[factor.key] for cell in cells}) > 1
    usual = ({factor.word(factor.default)}, {unrecorded(factor)})
    return factor.exceptional or {phrase(factor, cell) for cell in cells} not in usual
