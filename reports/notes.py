"""What a reader must know before believing the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd

from reports import paper
from reports.cells import Cell
from reports.records import Records
from reports.words import count, listing, pairing_name, power


def notes(records: Records, cells: Sequence[Cell], frame: pd.DataFrame) -> list[str]:
    """Return the warnings of a report, most important first; often there is none."""
    return [
        *_demo(cells),
        *_stand_ins(records),
        *_one_machine(records),
        *_unproven(frame),
        *_gaps(cells),
        *_unplanned(cells),
        *_damage(records),
    ]


def proof(frame: pd.DataFrame) -> str:
    """Say what the proofs of equal output amount to, over the runs that count."""
    counted = frame[frame["counted"]]
    errors = pd.to_numeric(counted["max_rel_err"], errors="coerce").dropna()
    if counted.empty or errors.empty:
        return "No counted run carries a proof of equal output."
    same = int(counted["argmax_equal"].eq(True).sum())
    limits = pd.to_numeric(counted["tolerance"], errors="coerce").dropna()
    allowed = f" (allowed: {power(limits.max())})" if not limits.empty else ""
    return (
        f"{len(errors):,} of {count(len(counted), 'counted run')} carry the proof: the largest "
        f"relative error against the unsplit model is {power(errors.max())}{allowed}, and the "
        f"predicted classes are the same in {same:,} of them."
    )


def _demo(cells: Sequence[Cell]) -> list[str]:
    told: dict[str, None] = {}
    for cell in cells:
        px, expected = cell.plan.get("image_px"), paper.image_px(cell.model)
        batch = cell.plan.get("batch_size")
        parts = []
        if px and expected and px != expected:
            parts.append(f"images of {px}×{px} instead of {expected}×{expected}")
        if batch and batch != paper.BATCH_SIZE:
            parts.append(f"batches of {batch} instead of {paper.BATCH_SIZE} images")
        if parts:
            name = paper.model_name(cell.model)
            told[
                f"{name} was measured with {' and '.join(parts)}: chosen so that a sweep is "
                "short and light. The numbers are not comparable with the paper's."
            ] = None
    return list(told)


def _stand_ins(records: Records) -> list[str]:
    """Name the hosts that are called Pi and are none."""
    found: dict[str, str] = {}
    for run in records.runs:
        for name, facts in (run.get("hosts") or {}).items():
            machine = str(facts.get("machine") or "")
            if str(name).startswith("pi") and machine and not machine.startswith(("aarch", "arm")):
                found[str(name)] = machine
    if not found:
        return []
    names, machines = listing(sorted(found)), listing(sorted(set(found.values())))
    return [
        f"{names} {'stand' if len(found) > 1 else 'stands'} in for a Raspberry Pi on {machines}: "
        "the shape of a curve may carry over, the seconds do not."
    ]


def _one_machine(records: Records) -> list[str]:
    """Name hosts that started together: containers of one machine, not machines."""
    kernels: dict[str, set[str]] = {}
    for run in records.runs:
        for name, facts in (run.get("hosts") or {}).items():
            if facts.get("boot_id"):
                kernels.setdefault(str(facts["boot_id"]), set()).add(str(name))
    shared = dict.fromkeys(listing(sorted(names)) for names in kernels.values() if len(names) > 1)
    return [
        f"{names} are one machine: they share its processors, and slow each other down."
        for names in shared
    ]


def _unproven(frame: pd.DataFrame) -> list[str]:
    counted = frame[frame["counted"]]
    errors = pd.to_numeric(counted["max_rel_err"], errors="coerce")
    limits = pd.to_numeric(counted["tolerance"], errors="coerce")
    proven = errors.le(limits) & counted["argmax_equal"].eq(True)
    lacking = int((~proven).sum())
    if not lacking:
        return []
    return [
        f"{count(lacking, 'counted run')} cannot show that its output equals the whole model's."
    ]


def _gaps(cells: Sequence[Cell]) -> list[str]:
    told = []
    for cell in cells:
        place = f"{pairing_name(cell.pairing)}, {cell.scenario}"
        repeats = cell.plan.get("repeats")
        short = [split.name for split in cell.measured if repeats and split.runs < repeats]
        if cell.missing:
            told.append(f"{place}: no valid run for {listing(cell.missing)}.")
        if short:
            told.append(f"{place}: fewer than {repeats} valid runs for {listing(short)}.")
    return told


def _unplanned(cells: Sequence[Cell]) -> list[str]:
    """Name the combinations that the options ask for and no file holds yet."""
    told = []
    for model, backend in dict.fromkeys((cell.model, cell.backend) for cell in cells):
        group = [cell for cell in cells if (cell.model, cell.backend) == (model, backend)]
        have = {(cell.pairing, cell.scenario) for cell in group}
        pairings = _asked(group, "pairings") or [cell.pairing for cell in group]
        scenarios = _asked(group, "scenarios") or [cell.scenario for cell in group]
        wanted = dict.fromkeys(product(pairings, scenarios))
        absent = [
            f"{pairing_name(pairing)} under {scenario}"
            for pairing, scenario in wanted
            if (pairing, scenario) not in have
        ]
        if absent:
            name = paper.model_name(model)
            told.append(f"{name} over {backend}: no records of {listing(absent)} in this folder.")
    return told


def _asked(cells: Sequence[Cell], key: str) -> list[str]:
    found: list[str] = []
    for cell in cells:
        value = ((cell.plan.get("provenance") or {}).get("options") or {}).get(key) or []
        names = value.split(",") if isinstance(value, str) else value
        found += [str(name).strip() for name in names]
    return found


def _damage(records: Records) -> list[str]:
    told = []
    for file in records.files:
        if file.torn:
            told.append(f"{file.name}: the last line is torn (its run was being written).")
        if file.damaged:
            lines = listing([str(number) for number in file.damaged])
            told.append(
                f"{file.name}: {count(len(file.damaged), 'damaged line')} left out ({lines})."
            )
    return told
