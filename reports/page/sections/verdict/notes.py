"""Caveats to the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd

from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import BACKEND, OF_CELL, Factor
from paretopipe_runtime.contract.measures import NOT_WATCHED, VOLTAGE_ALONE
from paretopipe_runtime.contract.models import is_onnx
from paretopipe_runtime.contract.splits import codec_of
from reports import paper
from reports.data.cells import Cell
from reports.data.factors import Naming
from reports.data.records import Records, host_facts
from reports.data.tidy import encoded
from reports.words import count, listing, pairing_name

_PROOF = ["max_rel_err", "tolerance", "argmax_equal", "cuts"]
_ATTEMPT = ["cell_id", "run_key", "attempt"]


def notes(records: Records, cells: Sequence[Cell], frame: pd.DataFrame) -> list[str]:
    """Return a report's warnings, most important first."""
    naming = Naming.of(cells)
    return [
        *_demo(cells),
        *_stand_ins(records),
        *_one_machine(records),
        *_unjudged(cells, naming),
        *_unproven(frame),
        *_unwatched(records),
        *_changed(cells, frame, naming),
        *_restarted(records, cells, frame, naming),
        *_gaps(cells, naming),
        *_unplanned(cells),
        *_damage(records),
    ]


def _demo(cells: Sequence[Cell]) -> list[str]:
    lines = []
    for cell in cells:
        sizes = paper.other_sizes(cell.model, {**cell.plan, **cell.settings})
        if sizes:
            lines.append(
                f"{paper.model_name(cell.model)} was measured with "
                f"{' and '.join(f'{ours} instead of {theirs}' for ours, theirs in sizes)}: chosen "
                "so that a sweep is short and light. The numbers are not comparable with the "
                "paper's."
            )
    return [*dict.fromkeys(lines)]


def _stand_ins(records: Records) -> list[str]:
    """Name stand-in hosts named like Pis."""
    found: dict[str, str] = {}
    for name, answers in host_facts(records.runs).items():
        for facts in answers:
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
    """Name hosts booted together: containers of one machine."""
    kernels: dict[str, set[str]] = {}
    for name, answers in host_facts(records.runs).items():
        for facts in answers:
            if facts.get("boot_id"):
                kernels.setdefault(str(facts["boot_id"]), set()).add(str(name))
    shared = dict.fromkeys(listing(sorted(names)) for names in kernels.values() if len(names) > 1)
    return [
        f"{names} are one machine: they share its processors, and slow each other down."
        for names in shared
    ]


def _unproven(frame: pd.DataFrame) -> list[str]:
    counted = frame.loc[frame["counted"], _PROOF]
    errors = pd.to_numeric(counted["max_rel_err"], errors="coerce")
    limits = pd.to_numeric(counted["tolerance"], errors="coerce")
    proven = errors.le(limits) & (counted["argmax_equal"].eq(True) | encoded(counted))
    lacking = int((~proven).sum())
    if not lacking:
        return []
    return [
        f"{count(lacking, 'counted run')} cannot show that its output equals the whole model's."
    ]


def _unjudged(cells: Sequence[Cell], naming: Naming) -> list[str]:
    """Say why splits with a codec are judged without their accuracy."""
    lines = []
    for cell in cells:
        coded = any(codec_of(split.cuts) != NONE for split in cell.splits)
        if not coded or cell.exact or not cell.known:
            continue
        if is_onnx(cell.model):
            lines.append(f"What codecs cost in accuracy is not told: {paper.NO_IMAGES}.")
        elif not {**cell.plan, **cell.settings}.get("weights_digest"):
            lines.append(
                "What codecs cost in accuracy is not told: with random weights an answer is right "
                "by chance alone. Fine-tune the model (playbooks/finetune.yml) and measure with -e "
                "weights=…"
            )
        else:
            why = cell.unjudged or "not every split has been tried on held-out images yet"
            lines.append(f"{naming.place(cell)}: codecs are judged without accuracy. {why}.")
    return [*dict.fromkeys(lines)]


_WATCHED = {
    NOT_WATCHED: f"{NOT_WATCHED} for throttling in some runs or all, so that what heat or a weak "
    "supply slowed down counts. Before the next sweep: sudo modprobe raspberrypi-hwmon there.",
    VOLTAGE_ALONE: "watched for low voltage alone, so that what heat slowed down counts. Before "
    "the next sweep: a heat sink and a fan there, or the kernel of Raspberry Pi OS.",
}


def _unwatched(records: Records) -> list[str]:
    """Name the Raspberry Pis that nobody watched for throttling, or for one cause of it alone."""
    names: dict[str, set[str]] = {watch: set() for watch in _WATCHED}
    for name, answers in host_facts(records.runs).items():
        for facts in answers:
            watch = facts.get("throttle_watch", NOT_WATCHED)
            if "Raspberry Pi" in str(facts.get("cpu_model")) and watch in names:
                names[watch].add(str(name))
    return [f"{listing(sorted(who))}: {_WATCHED[watch]}" for watch, who in names.items() if who]


def _changed(cells: Sequence[Cell], frame: pd.DataFrame, naming: Naming) -> list[str]:
    """Name cells with further valid runs under settings not shown."""
    lines = []
    for cell in cells:
        left_out = frame.loc[frame["cell_id"] == cell.id, "excluded"]
        other = left_out[left_out.str.startswith("settings:")].str.removeprefix("settings:")
        if len(other):
            reasons = [*dict.fromkeys(other)]
            more = f" / {len(reasons) - 3} more" if len(reasons) > 3 else ""
            lines.append(
                f"{naming.place(cell)}: {count(len(other), 'valid run')} under other settings "
                f"left out, never mixed in ({' / '.join(reasons[:3])}{more})."
            )
    return lines


def _restarted(
    records: Records, cells: Sequence[Cell], frame: pd.DataFrame, naming: Naming
) -> list[str]:
    """Name hosts that rebooted during a cell's counted runs."""
    counted = set(frame.loc[frame["counted"], _ATTEMPT].itertuples(index=False, name=None))
    boots: dict[str, dict[str, set[str]]] = {}
    for run in records.runs:
        if tuple(run[key] for key in _ATTEMPT) not in counted:
            continue
        for name, facts in (run.get("hosts") or {}).items():
            if facts.get("boot_id"):
                seen = boots.setdefault(run["cell_id"], {}).setdefault(str(name), set())
                seen.add(str(facts["boot_id"]))
    lines = []
    for cell in cells:
        names = sorted(name for name, seen in boots.get(cell.id, {}).items() if len(seen) > 1)
        if names:
            lines.append(
                f"{naming.place(cell)}: {listing(names)} {'were' if len(names) > 1 else 'was'} "
                "restarted between these runs: what a restart changes may have changed too."
            )
    return lines


def _gaps(cells: Sequence[Cell], naming: Naming) -> list[str]:
    lines, begun = [], []
    for cell in cells:
        place = naming.place(cell)
        repeats = 0 if cell.doubtful else cell.plan.get("repeats")
        short = [split for split in cell.measured if repeats and split.runs < repeats]
        if cell.missing:
            lines.append(f"{place}: no valid run for {listing(cell.missing)}.")
        if short and len(short) == len(cell.measured):
            most = max(split.runs for split in short)
            begun.append((place, f"{most} of {repeats} runs of each split so far"))
        elif short:
            names = listing([split.name for split in short])
            lines.append(f"{place}: fewer than {repeats} valid runs for {names}.")
    alike = {so_far for _, so_far in begun}
    if len(begun) == len(cells) and len(alike) == 1:
        lines.append(
            f"This sweep is not over: {alike.pop()}. The same command goes on, and writes this "
            "report again."
        )
    else:
        lines += [f"{place}: {so_far}." for place, so_far in begun]
    return lines


def _unplanned(cells: Sequence[Cell]) -> list[str]:
    """Name requested combinations without a file."""
    absent: dict[tuple[str, ...], dict[str, None]] = {}
    have = {(c.model, *_how(c), c.pairing, c.scenario) for c in cells}
    for cell in cells:
        wanted = product(
            [cell.model],
            *(
                _asked(cell, factor.option) or [value]
                for factor, value in zip(OF_CELL, _how(cell), strict=True)
            ),
            _asked(cell, "pairings") or [cell.pairing],
            _asked(cell, "scenarios") or [cell.scenario],
        )
        for *how, pairing, scenario in wanted:
            if (*how, pairing, scenario) not in have:
                place = f"{pairing_name(pairing, cell.variant['devices'])} under {scenario}"
                absent.setdefault(tuple(how), {})[place] = None
    return [
        f"{paper.model_name(model)}{''.join(map(_with, OF_CELL, how))}: "
        f"no records of {listing([*places])} in this folder."
        for (model, *how), places in absent.items()
    ]


def _how(cell: Cell) -> list[str]:
    return [cell.variant[factor.key] for factor in OF_CELL]


def _with(factor: Factor, value: str) -> str:
    """Return ' over PyTorch RPC', ' with ONNX Runtime', ' of processes'; the backend always."""
    if factor is BACKEND:
        return f" over {factor.word(value)}"
    if value == factor.default:
        return ""
    return f" of {value}" if factor.of_hosts else f" with {factor.word(value)}"


def _asked(cell: Cell, key: str) -> list[str]:
    value = ((cell.plan.get("provenance") or {}).get("options") or {}).get(key) or []
    names = value.split(",") if isinstance(value, str) else value
    return [str(name).strip() for name in names]


def _damage(records: Records) -> list[str]:
    lines = []
    for file in records.files:
        if file.torn:
            lines.append(f"{file.name}: the last line is torn (its run was being written).")
        if file.damaged:
            numbers = listing([str(number) for number in file.damaged])
            lines.append(
                f"{file.name}: {count(len(file.damaged), 'damaged line')} left out ({numbers})."
            )
    return lines
