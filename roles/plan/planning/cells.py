"""Build a sweep's plans: cells by scenario, and profiles of blocks and links."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paretopipe_runtime.contract.addresses import problems
from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.factors import (
    BACKEND,
    BY_HOSTS,
    EMULATION,
    OF_CELL,
    OF_WORKER,
    VARIED,
    Factor,
    Variant,
    stated,
)
from paretopipe_runtime.contract.lines import SCHEMA_VERSION
from paretopipe_runtime.contract.models import file_name
from paretopipe_runtime.contract.replicas import hosts_at, hosts_of
from paretopipe_runtime.contract.splits import possible

from .choice import Choice, choose
from .listings import of
from .models import Model
from .network import Hops, hops_of, reached, refuse_elsewhere, refuse_hub, refuse_relayed, ways
from .places import Places
from .sets import Weights, file_of, set_name
from .values import OptionError, cut_points, known

PORT = 47470
#: Profiles: fresh processes at most (no more than a split has runs), and payloads over a link.
PROFILE_REPEATS = 5
PAYLOAD_BYTES = (4096, 65536, 524288, 2097152, 8388608)

Plan = dict[str, Any]
Labelled = dict[str, Any]  # {label, plan}


def plan_cells(
    options: Mapping[str, Any],
    experiment: Mapping[str, Any],
    scenarios: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    orchestrator: str = "",
    sets: Mapping[str, Weights] | None = None,
    emulation: str = "",
    places: Places | None = None,
) -> dict[str, Any]:
    """Return the sweep: name, options, cells by scenario, profiles, links, their order, and notes.

    `within_s` has the whole sweep's seconds, if limited; `sharing.share_time` shares them out.
    `untraced` has the models whose blocks are still to be found, or their file of `weights` to be
    taken: their plans are for looking at hosts only; and the `classes` asked for, 0 for none.
    `traced` says what was found of others, `sizes` what they take of memory.

    Parameters
    ----------
    options : mapping
        The user's ``-e`` options, over `experiment`.
    experiment, scenarios : mapping
        Files of ``experiments/``.
    hosts : mapping
        By worker: experiment ``address``, ``allocator``, ``device``, ``allow_insecure_rpc``.
    provenance : mapping
        Copied into every plan.
    orchestrator : str
        Host that drives the runs, and relays tensors of backend ``rpc_hub``.
    sets : mapping
        Weights by model, of the published set in `options`.
    emulation : str
        ``processes`` if the hosts are processes of one machine.
    places : Places, optional
        The inventory's groups, its own pairings, and where the network is shaped.

    Raises
    ------
    OptionError
        For an unknown name, a number out of range, or an address that cannot be used.
    """
    if wrong := problems({host: facts["address"] for host, facts in hosts.items()}):
        raise OptionError("; ".join(wrong))
    places = places or Places()
    choice = choose(options, experiment, scenarios, hosts, sets or {}, orchestrator, places)
    networks = {name: hops_of(name, scenarios[name]) for name in choice.scenarios}
    refuse_hub(networks, choice.varied["backend"])
    plans = _Plans(choice, networks, hosts, provenance, orchestrator, emulation, places)
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
        "noise": choice.noise,
        "within_s": choice.doubt.limits.within_s if choice.doubt else None,
        "ways": ways((), choice.pairings, places.shaped, [*hosts]),
        "notes": [*choice.left_out, *plans.left_out],
        **found_of(choice.models, {**experiment, **options}),
        **planned,
        **rounds_of(first, **planned),
    }


def found_of(models: Iterable[Model], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plan says of models that are not the paper's."""
    path = file_of(options)
    taken = {"weights": {"file": str(path), "name": set_name(options)}} if path else {}
    listed = {model.name: listing for model in models if (listing := of(model.name))}
    return {
        "untraced": [
            {"model": model.name, "classes": model.classes if "classes" in options else 0, **taken}
            for model in models
            if not model.blocks or (path and not model.weights)
        ],
        "traced": [listing.said for listing in listed.values()],
        "sizes": {name: listing.sizes for name, listing in listed.items()},
    }


def rounds_of(
    first: int,
    scenarios: list[dict[str, Any]],
    profiles: Iterable[Labelled],
    links: Iterable[Labelled],
) -> dict[str, Any]:
    """Return `rounds` through the scenarios and `visits` to cells and profiles, in order.

    `first` rounds of every cell come before a first report; the rest follows in reverse, to set the
    last network only once, then profiles. Without a first report, profiles come first.
    """
    profiled = [_cell_id(profile) for profile in (*profiles, *links)]
    back = scenarios[::-1] if first else scenarios
    visits = [_cell_id(cell) for scenario in back for cell in scenario["cells"]]
    rounds = [{**scenario, "first": 0, "report": False} for scenario in back]
    if not first:
        return {"rounds": rounds, "visits": profiled + visits}
    looks = [{**scenario, "first": first, "report": False} for scenario in scenarios]
    looks[-1]["report"] = True  # the rest of this scenario's cells follows the report
    before = [f"{_cell_id(cell)} first" for scenario in scenarios for cell in scenario["cells"]]
    return {"rounds": looks + rounds[1:], "visits": before + visits + profiled}


def _cell_id(cell: Labelled) -> str:
    return str(cell["plan"]["cell_id"])


class _Plans:
    def __init__(
        self,
        choice: Choice,
        networks: Mapping[str, Hops],
        hosts: Mapping[str, Mapping[str, Any]],
        provenance: Mapping[str, Any],
        orchestrator: str,
        emulation: str,
        places: Places,
    ) -> None:
        self._choice = choice
        self._networks = networks
        self._pairings, self._ways = {}, {}
        self.left_out: tuple[str, ...] = ()
        for name, hops in networks.items():
            found, without = reached(name, hops, choice.pairings)
            refuse_elsewhere(name, hops, found, places.senders)
            self._pairings[name], self.left_out = found, (*self.left_out, *without)
            self._ways[name] = ways(hops, found, places.shaped, [*hosts])
        self._hosts = hosts
        self._provenance = provenance
        self._orchestrator = orchestrator
        self._emulation = emulation
        if emulation:
            known("emulation", [emulation], [name for name in EMULATION.values if name])
            refuse_relayed(networks, choice.varied["backend"], choice.varied["transport"])

    def by_scenario(self) -> list[dict[str, Any]]:
        choice = self._choice
        variants = {
            name: list(itertools.product(choice.models, pairings, self._variants(VARIED)))
            for name, pairings in self._pairings.items()
        }
        numbers = itertools.count(1)
        total = sum(map(len, variants.values()))
        return [
            {
                "name": scenario,
                "shaped": bool(self._networks[scenario]),
                "ways": self._ways[scenario],
                "cells": [
                    {
                        "label": f"cell {next(numbers)}/{total} "
                        + " ".join([model.name, *self._how(variant), pairing, scenario]),
                        "plan": self._cell(model, scenario, pairing, variant),
                    }
                    for model, pairing, variant in variants[scenario]
                ],
            }
            for scenario in choice.scenarios
        ]

    def profiles(self) -> Iterable[Labelled]:
        """Yield plans of each model's blocks, by engine, on all paired workers."""
        chains = self._choice.pairings.values()
        workers = list(dict.fromkeys(host for chain in chains for host in hosts_of(chain)))
        varied = [factor for factor in VARIED if factor.computes]
        # All or none, so that a sweep with others finds its profiles complete.
        codecs = [] if self._choice.codecs == (NONE,) else [name for name in CODECS if name != NONE]
        for model, variant in itertools.product(self._choice.models, self._variants(varied)):
            names = [file_name(model.name), "profile", *self._tags(variant, workers)]
            plan = {
                **self._common(model),
                **stated((factor for factor in OF_CELL if factor.computes), variant),
                "kind": "profile",
                "cell_id": ".".join(names),
                "workers": [self._worker(host) for host in workers],
                "repeats": min(PROFILE_REPEATS, self._choice.counts["repeats"]),
                "batches": self._choice.profile_batches,
                **({"codecs": codecs} if codecs else {}),
                # It measures no transport, but weights travel encrypted if everything does.
                **({} if "plain" in self._choice.varied["transport"] else {"transport": "tls"}),
            }
            how = [tag for factor in varied for tag in factor.tags([variant[factor.option]])]
            yield {"label": " ".join(["profile of", model.name, *how]), "plan": plan}

    def links(self) -> Iterable[Labelled]:
        """Yield plans of each hop without model, of equal hosts the first's."""
        choice = self._choice
        chains = [[hosts_at(place)[0] for place in c] for c in choice.pairings.values()]
        hops = dict.fromkeys(hop for chain in chains for hop in itertools.pairwise(chain))
        varied = [factor for factor in VARIED if factor.moves]
        for chain, variant in itertools.product(hops, self._variants(varied)):
            named = [variant["backend"], *self._tags(variant)]
            way = "-".join(chain)
            plan = {
                "schema_version": SCHEMA_VERSION,
                **stated((factor for factor in OF_CELL if factor.moves), variant),
                "kind": "link",
                "cell_id": f"link.{way}.{'.'.join(named)}",
                **self._chain(chain, variant),
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

    def _cell(self, model: Model, scenario: str, pairing: str, variant: Variant) -> Plan:
        choice = self._choice
        chain = choice.pairings[pairing]
        # Until it is traced, a model is taken to have a block for each host.
        blocks, typed = (model.blocks, choice.splits) if model.blocks else (len(chain), "all")
        splits = cut_points(typed, model.name, blocks, pairing, len(chain))
        count = possible(blocks, len(chain)) if splits == "all" else len(splits)
        runs = count * len(choice.codecs) * choice.counts["repeats"]
        limits = choice.doubt.of(len(chain), runs) if choice.doubt else None
        names = [file_name(model.name), variant["backend"], pairing, scenario]
        return {
            **self._common(model),
            **choice.counts,
            "saturate": True,
            **stated(OF_CELL, variant),
            "cell_id": ".".join([*names, *self._tags(variant, chain)]),
            "pairing": pairing,
            "scenario": self._scenario(scenario, len(chain) - 1),
            **self._chain(chain, variant),
            "splits": splits,
            **({"codecs": [*choice.codecs]} if choice.codecs != (NONE,) else {}),
            "end_points": choice.end_points,
            "sentinel": choice.sentinel,
            "drift_limit": choice.drift_limit,
            **({"refine": choice.dominance} if choice.refine else {}),
            **({"doubtful": limits.to_json()} if limits else {}),
        }

    def _scenario(self, name: str, count: int) -> dict[str, Any]:
        """Return a plan's scenario; the hops of three hosts and more have an entry each."""
        asked = itertools.chain(self._networks[name], itertools.repeat(None))
        first, *later = [{"netem": n, "measured": None} for n in itertools.islice(asked, count)]
        return {"name": name, **first, **({"later_hops": later} if later else {})}

    def _common(self, model: Model) -> Plan:
        listing = of(model.name)
        return {
            "schema_version": SCHEMA_VERSION,
            "model": model.name,
            **({"found": listing.planned} if listing else {}),
            "classes": model.classes,
            "image_px": model.image,
            "batch_size": self._choice.batch,
            "warmup_batches": self._choice.counts["warmup_batches"],
            **self._choice.seeds,
            **(model.weights.plan if model.weights else {}),
            "provenance": {**self._provenance, "options": self._choice.options(model)},
        }

    def _variants(self, varied: Sequence[Factor]) -> list[Variant]:
        """Return all combinations of these factors, others at their defaults."""
        fixed = {factor.option: factor.default for factor in OF_CELL}
        fixed["emulation"] = self._emulation
        names = [factor.option for factor in varied]
        values = itertools.product(*(self._choice.varied[name] for name in names))
        return [Variant(fixed | dict(zip(names, chosen, strict=True))) for chosen in values]

    def _how(self, variant: Variant) -> list[str]:
        others = [f for f in OF_CELL if f.typed and f is not BACKEND]
        return [variant["backend"], *(t for f in others for t in f.tags([variant[f.option]]))]

    def _tags(self, variant: Variant, hosts: Iterable[str] = ()) -> list[str]:
        """Return a cell name's tags: factors not at their defaults."""
        own = [self._choice.workers[host] for host in hosts_of(hosts)]
        return [
            tag
            for factor in BY_HOSTS
            if factor is not BACKEND
            for tag in factor.tags(
                w[factor.option] for w in (own if factor.per_host else [variant])
            )
        ]

    def _chain(self, chain: Iterable[str], variant: Variant) -> Plan:
        hub = {"hub": self._hub()} if variant["backend"] == "rpc_hub" else {}
        return {"workers": [self._place(place) for place in chain], **hub}

    def _place(self, place: str) -> dict[str, Any]:
        first, *others = map(self._worker, hosts_at(place))
        return {**first, **({"replicas": others} if others else {})}

    def _worker(self, host: str) -> dict[str, Any]:
        where = {"host": host, "address": self._hosts[host]["address"], "port": PORT}
        return {**where, **stated(OF_WORKER, self._choice.workers[host])}

    def _hub(self) -> dict[str, Any]:
        if self._orchestrator not in self._hosts:
            raise OptionError(
                f"backend rpc_hub needs an agent on the orchestrator's host '{self._orchestrator}',"
                f" which is no worker in this inventory: workers are {', '.join(self._hosts)}"
            )
        return self._worker(self._orchestrator)
