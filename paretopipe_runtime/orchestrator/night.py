"""A detached sweep: every visit to a cell in order, with nobody watching.

In scope: order, the network of each visit, what is told to who looks. What a visit measures is the
loop's. All state is in the records: the same command goes on after a stop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.chain import under
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import offer_json
from paretopipe_runtime.job import COMPLETE, INCOMPLETE, INTERRUPTED, Lease, stop_on_signal
from paretopipe_runtime.orchestrator import loop
from paretopipe_runtime.orchestrator.shaping import Held, Keeper, Network, Relay
from paretopipe_runtime.wire.keys import Keys

NOBODY = Lease(None, 0.0)


@dataclass(frozen=True)
class Night:
    """Orders of the controller: `visits` as the plan role names them, plans, how long each takes.

    `first` is the number of rounds of a visit for a first look; `report` is what
    the controller wants to be reminded of; `held` have the network.
    """

    sweep: str
    visits: tuple[str, ...]
    plans: Mapping[str, dict[str, Any]]
    first: int
    expected_s: Mapping[str, float]
    report: Mapping[str, Any]
    held: tuple[Held, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Night:
        """Raise ``E_PLAN`` for a document that is not the sweep role's."""
        try:
            networks = document["networks"]
            plans = {
                plan["cell_id"]: under(plan, network["measured"], network["ways"])
                for plan in document["plans"]
                for network in [networks[_asked(plan)]]
            }
            visits = [visit for visit in document["visits"] if _cell(visit) in plans]
            relay = document["relay"]
            keepers = [
                Keeper(each["host"], (each["address"], each["port"]), each["key"].encode())
                for each in document["keepers"]
            ]
            return cls(
                document["sweep"],
                tuple(visits),
                plans,
                int(document["first"]),
                document["expected_s"],
                document["report"],
                (*keepers, *([Relay(relay["start"], relay["stop"])] if relay else [])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ParetoPipeError(
                "E_PLAN",
                f"the sweep's list is malformed: {type(error).__name__} {error} — "
                "playbooks/full_sweep.yml writes it",
            ) from error


class _Told:
    """The file that playbooks/status.yml reads."""

    def __init__(self, night: Night, path: Path) -> None:
        self._night, self._path = night, path
        self._state: dict[str, Any] = {
            "sweep": night.sweep,
            "cells": list(night.plans),
            "report": night.report,
            "began": time.time(),
            "visits": len(night.visits),
            "done": 0,
            "now": "",
            "later_s": 0.0,
            "failures": {},
            "finished": False,
        }
        self.say()

    @property
    def failures(self) -> dict[str, str]:
        failures: dict[str, str] = self._state["failures"]
        return failures

    def begin(self, number: int, visit: str) -> None:
        later = self._night.visits[number + 1 :]
        later_s = sum(self._night.expected_s.get(each, 0.0) for each in later)
        self.say(done=number, now=visit, later_s=later_s)

    def say(self, **values: Any) -> None:
        self._state |= values
        offer_json(self._path, self._state)


def measure(night: Night, state_dir: Path, keys: Keys, told: Path) -> tuple[int, str]:
    """Measure what every visit lacks, and have the network back; return as `loop.measure`.

    A visit that fails is noted, and the next one gets its turn. `told` is the file that says how
    far it is.
    """
    stopping, say = stop_on_signal(), _Told(night, told)
    progress = told.with_name(f"{told.stem}.progress.json")
    code, sentence = INTERRUPTED, "stopped"
    try:
        for number, visit in enumerate(night.visits):
            say.begin(number, visit)
            code, sentence = _visit(night, visit, state_dir, keys, progress, stopping)
            if stopping or code == INTERRUPTED:
                return INTERRUPTED, f"stopped at {visit}; the same command goes on"
            if code != COMPLETE:
                say.failures[visit] = sentence
    finally:
        say.failures.update(_end(night.held))
        say.say(now="")
    say.say(done=len(night.visits), finished=True, later_s=0.0)
    if say.failures:
        words = "; ".join(f"{where}: {why}" for where, why in say.failures.items())
        return INCOMPLETE, words
    return COMPLETE, f"all {len(night.visits)} visits measured"


def _visit(
    night: Night, visit: str, state_dir: Path, keys: Keys, progress: Path, stopping: list[int]
) -> tuple[int, str]:
    plan, folder = night.plans[_cell(visit)], state_dir / "sweeps" / night.sweep
    merge = folder.with_name(f"{night.sweep}.merge") / f"{plan['cell_id']}.jsonl"
    files = loop.SweepFiles(
        folder / f"{plan['cell_id']}.jsonl",
        merge if merge.exists() else None,
        progress,
        NOBODY,
        state_dir,
        network=Network(night.held, _asked(plan)) if night.held else None,
    )
    rounds = night.first if visit != plan["cell_id"] else None
    try:
        return loop.measure(plan, files, keys, rounds, stopping)
    except ParetoPipeError as error:
        return INCOMPLETE, error.message


def _end(held: Sequence[Held]) -> dict[str, str]:
    """Have everyone put the network back; their leases do so for who does not answer."""
    try:
        for each in held:
            each.ask(None)
    except ParetoPipeError as error:
        return {"the network is put back only at the end of its lease": error.message}
    return {}


def _asked(plan: Mapping[str, Any]) -> str:
    """Return the scenario that shapes a plan's network, "" for none."""
    scenario = plan.get("scenario", {})  # a profile has none
    hops = (scenario, *scenario.get("later_hops", ()))
    return str(scenario["name"]) if any(hop.get("netem") for hop in hops) else ""


def _cell(visit: str) -> str:
    return visit.removesuffix(" first")
