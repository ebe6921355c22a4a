"""The plans of a sweep: its cells grouped by scenario, its profiles of blocks and of links."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from .choice import Choice, Model, choose
from .network import conditions, refuse_relayed
from .sets import Weights
from .values import OptionError, cut_points, known

PORT = 47470
EMULATIONS = ("processes",)
#: Profiles: fresh processes at most (fewer where a split has fewer runs), and what is sent over a
#: link.
PROFILE_REPEATS = 5
PAYLOAD_BYTES = (4096, 65536, 524288, 2097152, 8388608)

Plan = dict[str, Any]
Labelled = dict[str, Any]  # {label, plan}


def plan_cells(
    options: Mapping[str, Any],
    experiment: Mapping[str, Any],
    models: Mapping[str, Any],
    scenarios: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    orchestrator: str = "",
    sets: Mapping[str, Weights] | None = None,
    emulation: str = "",
) -> dict[str, Any]:
    """Return the sweep: name, effective options, cells grouped by scenario, profiles and links.

    `rounds` are the scenarios in the order to visit them, and `visits` all that is measured, by
    name; see `rounds_of`.

    Parameters
    ----------
    options : mapping
        What the user typed with ``-e``; anything absent comes from `experiment`.
    experiment, models, scenarios : mapping
        The parsed files of ``experiments/``.
    hosts : mapping
        What the inventory says of every worker: ``address`` on the experiment network,
        ``allocator``, ``device``, ``allow_insecure_rpc``.
    provenance : mapping
        Commit and controller versions, copied into every plan.
    orchestrator : str
        The host that drives the runs; with backend ``rpc_hub`` every tensor goes through it.
    sets : mapping
        Each model's weights in the published set that `options` name.
    emulation : str
        ``processes`` where the inventory's hosts are processes of one machine; part of every plan.

    Raises
    ------
    OptionError
        With one sentence, when a name is unknown or a number out of range.
    """
    choice = choose(options, experiment, models, scenarios, hosts, sets or {})
    plans = _Plans(choice, scenarios, hosts, provenance, orchestrator, emulation)
    planned: dict[str, Any] = {
        "scenarios": plans.by_scenario(),
        "profiles": list(plans.profiles()) if choice.profile else [],
        "links": list(plans.links()) if choice.profile else [],
    }
    first = choice.first_report if choice.first_report < choice.counts["repeats"] else 0
    return {
        "sweep": choice.sweep,
        "options": choice.options(*choice.models),
        "first_report": first,
        **planned,
        **rounds_of(first, **planned),
    }


def rounds_of(
    first: int,
    scenarios: list[dict[str, Any]],
    profiles: Iterable[Labelled],
    links: Iterable[Labelled],
) -> dict[str, Any]:
    """Return the rounds through the scenarios and the visits to what they measure, in order.

    Before a first report only `first` blocks of every cell are measured. The rest comes after it in
    the opposite order, so that the last scenario's network is set only once, and the profiles last;
    without one, they come before all cells.
    """
    profiled = [_cell_id(profile) for profile in (*profiles, *links)]
    back = scenarios[::-1] if first else scenarios
    visits = [_cell_id(cell) for scenario in back for cell in scenario["cells"]]
    rounds = [{**scenario, "first": 0, "report": False} for scenario in back]
    if not first:
        return {"rounds": rounds, "visits": profiled + visits}
    looks = [{**scenario, "first": first, "report": False} for scenario in scenarios]
    looks[-1]["report"] = True  # and the rest of its cells after it
    before = [f"{_cell_id(cell)} first" for scenario in scenarios for cell in scenario["cells"]]
    return {"rounds": looks + rounds[1:], "visits": before + visits + profiled}


def _cell_id(cell: Labelled) -> str:
    return str(cell["plan"]["cell_id"])


class _Plans:
    """Writes the plans of one choice."""

    def __init__(
        self,
        choice: Choice,
        scenarios: Mapping[str, Any],
        hosts: Mapping[str, Mapping[str, Any]],
        provenance: Mapping[str, Any],
        orchestrator: str,
        emulation: str,
    ) -> None:
        self._choice = choice
        self._netem = {name: conditions(name, scenarios[name]) for name in choice.scenarios}
        self._hosts = hosts
        self._provenance = provenance
        self._orchestrator = orchestrator
        # Not named where the hosts are hosts, as in a run's key.
        self._emulated = {"emulation": emulation} if emulation else {}
        if emulation:
            known("emulation", [emulation], EMULATIONS)
            refuse_relayed(self._netem, choice.backends, choice.transports)

    def by_scenario(self) -> list[dict[str, Any]]:
        """Return the cells grouped by scenario, so that the network is set once for each."""
        choice = self._choice
        variants = list(
            itertools.product(
                *(choice.models, choice.pairings, choice.engines),
                *(choice.backends, choice.transports),
            )
        )
        numbers = itertools.count(1)
        total = len(choice.scenarios) * len(variants)
        return [
            {
                "name": scenario,
                "netem": self._netem[scenario],
                "cells": [
                    {
                        "label": f"cell {next(numbers)}/{total} {model.name} {backend}"
                        f"{'' if transport == 'plain' else ' ' + transport}"
                        f"{'' if engine == 'eager' else ' ' + engine} {pairing} {scenario}",
                        "plan": self._cell(model, scenario, pairing, backend, transport, engine),
                    }
                    for model, pairing, engine, backend, transport in variants
                ],
            }
            for scenario in choice.scenarios
        ]

    def profiles(self) -> Iterable[Labelled]:
        """Each model's blocks, with each engine, on every worker of the chosen pairings."""
        chains = self._choice.pairings.values()
        workers = list(dict.fromkeys(itertools.chain.from_iterable(chains)))
        for model, engine in itertools.product(self._choice.models, self._choice.engines):
            names = [model.name, "profile", *self._variant(engine, workers)]
            plan = {
                **self._common(model),
                "kind": "profile",
                "cell_id": ".".join(names),
                "engine": engine,
                "workers": [self._worker(host) for host in workers],
                "repeats": min(PROFILE_REPEATS, self._choice.counts["repeats"]),
                "batches": self._choice.profile_batches,
                # It measures no transport; but where all is to be encrypted, weights are as well.
                **({} if "plain" in self._choice.transports else {"transport": "tls"}),
            }
            shown = "" if engine == "eager" else f" {engine}"
            yield {"label": f"profile of {model.name}{shown}", "plan": plan}

    def links(self) -> Iterable[Labelled]:
        """Each chain of hosts, over each backend and transport, without a model."""
        choice = self._choice
        chains = dict.fromkeys(choice.pairings.values())
        for chain, backend, transport in itertools.product(
            chains, choice.backends, choice.transports
        ):
            named = [backend, *self._emulated.values()] + [transport] * (transport != "plain")
            way = "-".join(chain)
            plan = {
                "schema_version": 1,
                **self._emulated,
                "kind": "link",
                "cell_id": f"link.{way}.{'.'.join(named)}",
                **self._chain(chain, backend, transport),
                "scenario": {"name": "baseline", "netem": None, "measured": None},
                "payload_bytes": list(PAYLOAD_BYTES),
                "repeats": min(PROFILE_REPEATS, choice.counts["repeats"]),
                "warmup_batches": choice.counts["warmup_batches"],
                "batches": choice.profile_batches,
                "window": choice.counts["window"],
                "seed": choice.seeds["seed"],
                "provenance": {**self._provenance, "options": choice.options(*choice.models)},
            }
            yield {"label": f"link {way} {' '.join(named)}", "plan": plan}

    def _cell(
        self,
        model: Model,
        scenario: str,
        pairing: str,
        backend: str,
        transport: str,
        engine: str,
    ) -> Plan:
        choice = self._choice
        chain = choice.pairings[pairing]
        names = [model.name, backend, pairing, scenario, *self._variant(engine, chain, transport)]
        return {
            **self._common(model),
            **choice.counts,
            "cell_id": ".".join(names),
            "engine": engine,
            "pairing": pairing,
            "scenario": {"name": scenario, "netem": self._netem[scenario], "measured": None},
            **self._chain(chain, backend, transport),
            "splits": cut_points(choice.splits, model.name, model.blocks, len(chain)),
            "end_points": choice.end_points,
            "sentinel": choice.sentinel,
            "drift_limit": choice.drift_limit,
        }

    def _common(self, model: Model) -> Plan:
        return {
            "schema_version": 1,
            **self._emulated,
            "model": model.name,
            "classes": model.classes,
            "image_px": model.image,
            "batch_size": self._choice.batch,
            "warmup_batches": self._choice.counts["warmup_batches"],
            **self._choice.seeds,
            **(model.weights.plan if model.weights else {}),
            "provenance": {**self._provenance, "options": self._choice.options(model)},
        }

    def _variant(self, engine: str, hosts: Iterable[str], transport: str = "plain") -> list[str]:
        """What makes a name differ: what is the default does not lengthen it."""
        hosts = list(hosts)
        default = any(self._choice.allocators[host] == "default" for host in hosts)
        gpus = dict.fromkeys(self._choice.devices[host].replace(":", "") for host in hosts)
        named = [device for device in gpus if device != "cpu"]
        how = [transport] * (transport != "plain") + [engine] * (engine != "eager")
        return [*self._emulated.values()] + how + ["default_malloc"] * default + named

    def _chain(self, chain: Iterable[str], backend: str, transport: str) -> Plan:
        # Not named where it is plain, as in a run's key.
        how = {} if transport == "plain" else {"transport": transport}
        hub = {"hub": self._hub()} if backend == "rpc_hub" else {}
        workers = [self._worker(host) for host in chain]
        return {"backend": backend, **how, "workers": workers, **hub}

    def _worker(self, host: str) -> dict[str, Any]:
        address, allocator = self._hosts[host]["address"], self._choice.allocators[host]
        worker = {"host": host, "address": address, "port": PORT, "allocator": allocator}
        device = self._choice.devices[host]
        return worker if device == "cpu" else {**worker, "device": device}

    def _hub(self) -> dict[str, Any]:
        if self._orchestrator not in self._hosts:
            raise OptionError(
                f"backend rpc_hub needs an agent on the orchestrator's host '{self._orchestrator}',"
                f" which is no worker in this inventory: workers are {', '.join(self._hosts)}"
            )
        return self._worker(self._orchestrator)
