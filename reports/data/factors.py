"""Factors of cells: values, words, and the selection of those to name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paretopipe_runtime.contract.factors import BACKEND, FACTORS, Factor
from reports.data.cells import Cell


def phrase(factor: Factor, cell: Cell) -> str:
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


def place_name(cell: Cell) -> str:
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
    def of(cls, cells: Sequence[Cell]) -> Naming:
        """Find the factors that differ between `cells` or from the default."""
        return cls(frozenset(factor.key for factor in FACTORS if _tells(factor, cells)))

    def without(self, factor: Factor) -> Naming:
        return Naming(self.keys - {factor.key})

    def over(self, cell: Cell) -> str:
        """Return 'over PyTorch RPC, ONNX Runtime, default malloc', or nothing."""
        named = []
        for factor in FACTORS:
            usual = factor.exceptional and cell.variant[factor.key] in ((), factor.default)
            if factor.key in self.keys and not usual:
                named.append(f"{'over ' * (factor is BACKEND)}{phrase(factor, cell)}")
        return ", ".join(named)

    def place(self, cell: Cell) -> str:
        """Return 'Pi-to-Pi, baseline, over PyTorch RPC'."""
        parts = (cell.over_hosts, cell.scenario, self.over(cell))
        return ", ".join(part for part in parts if part)


def _tells(factor: Factor, cells: Sequence[Cell]) -> bool:
    if factor.of_hosts:  # said at the head of a page where all are alike
        return len({cell.variant[factor.key] for cell in cells}) > 1
    usual = ({factor.word(factor.default)}, {unrecorded(factor)})
    return factor.exceptional or {phrase(factor, cell) for cell in cells} not in usual
