"""Origin of the numbers: code, options, hosts, network asked and measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from paretopipe_runtime.contract.factors import EMULATION, FACTORS, Factor
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.measures import NOT_WATCHED
from paretopipe_runtime.contract.models import is_onnx
from reports import paper
from reports.data import repeat
from reports.data.cells import Cell, Spread
from reports.data.factors import Naming, phrase
from reports.data.records import host_facts
from reports.data.trained import every
from reports.page.figures import spread
from reports.page.sheet import Section, Sheet
from reports.words import asked, listing, moment, number

_HOST = {
    "deployment": "Deployment",
    "cpu_model": "CPU",
    "cpu_count": "CPU cores",
    "cpu_affinity": "CPU cores allowed to a stage",
    "memory_bytes": "Memory",
    "machine": "Architecture",
    "os": "System",
    "kernel": "Kernel",
    "python": "Python",
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "onnxruntime": "ONNX Runtime",
    "executorch": "ExecuTorch",
    "runtime": "ParetoPipe runtime",
    "gpu": "GPU",
    "gpu_memory_bytes": "GPU memory",
    "gpu_capability": "CUDA capability of the GPU",
    "gpu_driver": "GPU driver",
    "nvml": "GPU load is not known",
    "cuda": "CUDA of PyTorch",
    "cudnn": "cuDNN",
    "tf32": "TF32 on the GPU",
    "cudnn_benchmark": "Benchmark mode of cuDNN",
    "governor": "CPU governor",
    "congestion_control": "Congestion control",
    "slow_start_after_idle": "Slow start after idle",
    "libc": "C library",
    "temperature_c": "Temperature (°C)",
    "throttled": "Throttle bits at the end",
    "throttled_live": "Throttled while measured",
}
_SETTINGS = {
    "repeats": "Repeats per split",
    "warmup_batches": "Warm-up batches per run",
    "latency_batches": "Batches for latency",
    "throughput_batches": "Batches for throughput",
    "window": "Batches in flight for throughput",
    "batch_size": "Images per batch",
    "image_px": "Image side (pixels)",
    "classes": "Classes",
    "input": "Input",
    "seed": "Seed of the order",
    "weights_seed": "Seed of the weights",
}
_DIGESTS = {"weights_digest": "Weights", "input_digest": "Model input"}
_UNKNOWN = "not recorded"


def build(sheet: Sheet) -> list[Section]:
    names, facts = hosts(sheet.records.runs)
    return [
        {
            "id": "provenance",
            "title": "Provenance",
            "code": code(sheet.records.plans),
            "settings": {
                **settings(sheet.cells, sheet.used),
                **ciphers(sheet.frame),
            },
            "digests": digests(sheet.frame),
            "commands": repeat.commands(sheet.cells),
            "options": options(sheet.cells),
            "conditions": conditions(sheet.cells, sheet.frame),
            "host_names": names,
            "host_facts": facts,
            "excluded": int((~sheet.frame["counted"]).sum()),
        }
    ]


def when(frame: pd.DataFrame) -> str:
    """Return the measurements' period, from the records alone."""
    stamps = [*map(str, frame["started_at"].dropna().tolist())]
    if not stamps:
        return "nothing yet" if frame.empty else "at a time that is not recorded"
    first, last = moment(min(stamps)), moment(max(stamps))
    if first == last:
        return first
    # One day: name it once.
    return f"{first[:-4]} to {last[11:] if first[:10] == last[:10] else last}"


def emulated(cells: Sequence[Cell]) -> str:
    """Return the heading sentence for emulated hosts, or nothing."""
    kinds = {cell.variant["emulation"] for cell in cells}
    if not kinds - {""}:
        return ""
    named = listing([EMULATION.word(kind) for kind in sorted(kinds - {""})])
    return f"{named[0].upper()}{named[1:]}." if "" not in kinds else f"In part: {named}."


def code(plans: Sequence[Record]) -> str:
    """Return the measuring commits, unclean trees marked."""
    found = []
    for line in plans:
        source = line["plan"].get("provenance") or {}
        commit = source.get("commit") or _UNKNOWN
        found.append(f"{commit}{', with uncommitted changes' if source.get('dirty') else ''}")
    return _distinct(found)


def settings(cells: Sequence[Cell], runs: Sequence[Record]) -> dict[str, str]:
    """Return how it was measured, all differing values named.

    `runs` are those that count: others may have had other settings.
    """
    shared = {id(run["factors"]): run["factors"] for run in runs}
    known = [*(_stated(cell.plan) for cell in cells), *shared.values()]
    found = {
        **{
            label: _distinct(source[key] for source in known if key in source)
            for key, label in _SETTINGS.items()
        },
        "Weights": _distinct(trained.words for trained in every(runs)),
        **{factor.title: _factor(factor, cells) for factor in FACTORS},
    }
    return {label: text for label, text in found.items() if text != _UNKNOWN}


def _factor(factor: Factor, cells: Sequence[Cell]) -> str:
    """Return cells' values of a factor; kinds of host only if some are emulated."""
    values = {cell.variant[factor.key] for cell in cells}
    if factor.of_hosts and values <= {factor.default}:
        return _UNKNOWN
    known = (cell for cell in cells if cell.variant[factor.key] or not factor.always)
    return _distinct(phrase(factor, cell) for cell in known)


def _stated(plan: Record) -> Record:
    """A plan's settings; a seed is moot where weights are named, or in a file."""
    moot = plan.get("weights") or is_onnx(str(plan.get("model")))
    return {key: plan[key] for key in plan if key != "weights_seed" or not moot}


def options(cells: Sequence[Cell]) -> dict[str, str]:
    """Return effective options and controller versions, as planned."""
    found: dict[str, list[Any]] = {}
    for cell in cells:
        source = cell.plan.get("provenance") or {}
        for key, value in (source.get("options") or {}).items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            if isinstance(value, dict):
                text = ", ".join(f"{item} on {host}" for host, item in sorted(value.items()))
            found.setdefault(str(key), []).append(text)
        for key, value in (source.get("controller") or {}).items():
            found.setdefault(f"controller: {key}", []).append(value)
    return {key: _distinct(values) for key, values in sorted(found.items())}


def conditions(cells: Sequence[Cell], frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return each cell's network: asked, and measured as median [min, max] over runs."""
    found = []
    naming = Naming.of(cells)
    several = len({cell.model for cell in cells}) > 1
    for cell in cells:
        rows = frame.loc[frame["cell_id"] == cell.id, ["rtt_ms", "rate_mbit"]]
        planned = (cell.plan.get("scenario") or {}).get("measured") or {}
        measured = {}
        for key in ("rtt_ms", "rate_mbit"):
            value = Spread.of(pd.to_numeric(rows[key], errors="coerce").tolist())
            if value and value.low < value.high:
                measured[key] = spread(value)
            else:  # measured once, before the runs
                known = value.median if value else planned.get(key)
                measured[key] = number(known) if known is not None else _UNKNOWN
        whole = f"{paper.model_name(cell.model)}, " if several else ""
        found.append(
            {
                "pairing": f"{whole}{cell.over_hosts}",
                "over": naming.over(cell),
                "scenario": cell.scenario,
                "asked": asked(cell.asked),
                **measured,
            }
        )
    return found


def hosts(runs: Sequence[Record]) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return hosts' names and, per property, their reported values."""
    seen = host_facts(runs)
    names = tuple(sorted(seen, key=lambda name: (name.startswith("server"), name)))
    table = {}
    for key, label in _HOST.items():
        if any(key in facts for name in names for facts in seen[name]):
            table[label] = tuple(_fact(key, [_told(key, f) for f in seen[name]]) for name in names)
    return names, table


def _told(key: str, facts: Record) -> Any:
    """Return a host's property; its throttling only by a watch that misses none.

    Older records name no watch: they say what the kernel remembered.
    """
    if key != "throttled_live":
        return facts.get(key)
    watch = facts.get("throttle_watch") or NOT_WATCHED
    return watch if watch == NOT_WATCHED else f"{facts[key]}, says {watch}"


def digests(frame: pd.DataFrame) -> dict[str, str]:
    """Return the sha256 digests of counted runs."""
    counted = frame["counted"]
    return {
        label: _distinct(frame.loc[counted, column].dropna().unique())
        for column, label in _DIGESTS.items()
        if column in frame
    }


def ciphers(frame: pd.DataFrame) -> dict[str, str]:
    """Return the ciphers of counted runs; empty without encryption."""
    counted = frame.loc[frame["counted"], [c for c in frame if str(c).endswith("_cipher")]]
    used = {str(value) for column in counted for value in counted[column].dropna().unique()}
    return {"Encryption": _distinct(sorted(used))} if used else {}


def _fact(key: str, values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    if key in ("memory_bytes", "gpu_memory_bytes"):
        return _distinct(f"{value / 2**30:.1f} GiB" for value in known)
    if key == "slow_start_after_idle":
        known = [{"0": "off", "1": "on"}.get(str(value), value) for value in known]
    if key == "temperature_c" and known:
        return f"{min(known):.0f} to {max(known):.0f}"
    return _distinct(known) if known else "not available"


def _distinct(values: Iterable[Any]) -> str:
    """Join distinct values in order of appearance."""
    return "; ".join(dict.fromkeys(str(value) for value in values)) or _UNKNOWN
