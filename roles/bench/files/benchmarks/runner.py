"""Measure everything under one network condition, on the orchestrator.

Input is a JSON document of the role `bench`, output a JSON result. Like a sweep it keeps a progress
file, and stops when its lease is no longer renewed.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import parts
from benchmarks.runs import Case, Laboratory
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import offer_json, write_json
from paretopipe_runtime.job import COMPLETE, INCOMPLETE, INTERRUPTED, Lease
from paretopipe_runtime.version import version
from paretopipe_runtime.wire.keys import Keys

SCHEMA_VERSION = 1
LEASE_S = 60.0
CASE_PARTS = ("pipeline", "engines", "memory")
PARTS = ("transport", *CASE_PARTS)


@dataclass
class Progress:
    """Progress file for the role `sweep`; time left is the sum of budgets."""

    path: Path | None
    lease: Lease
    budgets_s: dict[str, float]  # of the parts to come
    at_most: int
    stopped: bool = False
    _steps: int = 0
    _part_ends: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def begin(self, part: str) -> None:
        self._part_ends = time.monotonic() + self.budgets_s.pop(part)

    def step(self, what: str) -> bool:
        """Report the next measurement; return False once the lease has expired."""
        self._steps += 1
        self._write(what)
        self.stopped = self.lease.is_old()
        return not self.stopped

    def finish(self) -> None:
        self._write("")

    def _write(self, what: str) -> None:
        print(what or "done", flush=True)
        if self.path is None:
            return
        left_s = max(0.0, self._part_ends - time.monotonic()) + sum(self.budgets_s.values())
        state = {
            "runs_done": self._steps - bool(what),
            "runs_total": self.at_most,
            "current": what,
            "finished": not what,
            "elapsed_s": round(self.elapsed_s, 1),
            "left_s": round(left_s, 1),
        }
        offer_json(self.path, state)


def run(document: dict[str, Any], state_dir: Path, keys: Keys) -> tuple[int, str]:
    """Measure a document's parts; return an exit status and a closing sentence.

    Raises `ParetoPipeError` for an unreachable node, a wrong key or a full disk.
    """
    wanted = [part for part in PARTS if document.get(part)]
    progress = Progress(
        _path(document, "progress"),
        Lease(_path(document, "lease"), LEASE_S),
        {part: float(document[part]["budget_s"]) for part in wanted},
        sum(parts.steps(part, document[part]) for part in wanted),
    )
    laboratory = Laboratory(document, keys, state_dir)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for model in models(document):
        if progress.step(f"preparing {model}"):
            laboratory.prepare(Case("", model, 1, "socket"))
    for part in wanted:
        if progress.stopped:
            break
        progress.begin(part)
        if part == "transport":
            found = parts.measure_transport(document, keys, progress.step)
        else:
            found = parts.measure_cases(laboratory, part, document[part], progress.step)
        rows += found[0]
        notes += found[1]
        measured = {
            "link": laboratory.link(),
            "wall_s": round(progress.elapsed_s, 1),
            "hosts": laboratory.hosts,
            "rows": rows,
            "notes": notes,
        }
        _write_result(document, measured)
    progress.finish()
    if progress.stopped:
        return INTERRUPTED, "the benchmark lost its controller and stopped"
    if not rows:
        return INCOMPLETE, f"nothing could be measured: {'; '.join(notes) or 'no reason'}"
    return COMPLETE, f"{len(rows)} rows measured, {len(notes)} notes"


def prepare(document: dict[str, Any], state_dir: Path, keys: Keys) -> None:
    """Create and deploy all weights and programs, before shaping makes the link slow."""
    laboratory = Laboratory(document, keys, state_dir)
    for model in models(document):
        print(f"preparing {model}", flush=True)
        laboratory.prepare(Case("", model, 1, "socket"))
    for case in every_case(document):
        if ENGINES[case.engine].exported:
            with contextlib.suppress(ParetoPipeError):  # its run says why
                laboratory.prepare(case)


def read(path: Path) -> dict[str, Any]:
    """Read a request of the role's; return the document to measure by."""
    return narrowed(document_of(json.loads(path.read_text())))


def document_of(request: dict[str, Any]) -> dict[str, Any]:
    """Return the document to measure by.

    The role's request has a network's `settings`, names of the two `workers` and the `hub`'s host,
    all `addresses`, the agents' `port`; other keys go into the result.
    """
    settings = dict(request["settings"])
    netem = settings.pop("netem", None)
    bucket = settings.pop("bucket", None)
    if netem and netem.get("delay"):
        about = f"netem: {netem['delay']} one way, {netem['rate']}"
    elif bucket:
        about = f"token bucket: {bucket['rate']}, burst {bucket['burst_kib']} KiB"
    else:
        about = "as it is"

    def at(host: str) -> dict[str, Any]:
        return {"host": host, "address": request["addresses"][host], "port": request["port"]}

    return {
        **{key: value for key, value in request.items() if key not in ("settings", "addresses")},
        **settings,
        "network": {
            "name": request["name"],
            "about": about,
            "netem": netem,
            "burst_bytes": 1024 * bucket["burst_kib"] if bucket else 0,
            "measured": request.get("measured"),
        },
        "workers": [at(host) for host in request["workers"]],
        "hub": at(request["hub"]),
    }


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """Apply ``quick`` (one round on small images, to check that all works) and ``models``."""
    quick, only = bool(document.get("quick")), set(document.get("models") or ())
    less = dict(document)
    if quick:
        less["image_px"] = 64
    for part in PARTS:
        if not document.get(part):
            continue
        settings = dict(document[part])
        if quick:
            settings["rounds"] = 1
        if only and part != "transport":
            settings["cases"] = [case for case in settings["cases"] if case["model"] in only]
        less[part] = settings
    return less


def models(document: dict[str, Any]) -> list[str]:
    return sorted({case.model for case in every_case(document)})


def every_case(document: dict[str, Any]) -> list[Case]:
    wanted = [part for part in CASE_PARTS if document.get(part)]
    return [
        case for part in wanted for group in parts.cases(part, document[part]) for case in group
    ]


def _write_result(document: dict[str, Any], measured: dict[str, Any]) -> None:
    result = {
        "schema_version": SCHEMA_VERSION,
        "network": document["network"],
        "quick": bool(document.get("quick")),
        "workers": [worker["host"] for worker in document["workers"]],
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "runtime": version(),
        "provenance": document.get("provenance", {}),
        "batch_size": document["batch_size"],
        "window": document["window"],
        **measured,
    }
    path = Path(document["result"])
    try:
        write_json(path, result)
    except OSError as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write {path}: {error.strerror} — free some space there"
        ) from error


def _path(document: dict[str, Any], name: str) -> Path | None:
    return Path(document[name]) if document.get(name) else None
