"""A plan's splits as candidates for measuring, predicted from profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log

from paretopipe_runtime.contract.candidates import DELAY, WINDOW, Candidate
from paretopipe_runtime.contract.commands import to_profile
from paretopipe_runtime.contract.factors import FACTORS
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import Cuts, split_name
from paretopipe_runtime.contract.values import amount
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.prediction.matching import (
    Conditions,
    Lack,
    links_of,
    profiles_of,
    uncoded,
)
from paretopipe_runtime.prediction.pipeline import Station
from paretopipe_runtime.prediction.predictor import Network, Prediction, Predictor
from paretopipe_runtime.prediction.profiles import Link, Profile

#: Candidates that are judged together: of more, those nearest the predicted front.
BAND = 300


def candidates(
    plan: Plan, profiles: Sequence[Profile], links: Sequence[Link], run_s: Mapping[str, float]
) -> tuple[Candidate, ...]:
    """Return a candidate for every split of a plan, at its measured network.

    Of more than `BAND` splits, those nearest the predicted front.

    Parameters
    ----------
    links
        A hop without one costs nothing beside the wire.
    run_s
        Estimated seconds of a run by split; those lacking are from the prediction, without launch.

    Raises
    ------
    ParetoPipeError
        ``E_PROFILE`` where a host's blocks, or a split's codec there, were not profiled.
    """
    asked = Conditions.of(plan)
    blocks = model_info(plan.workload.model).blocks
    # Of another version's blocks none says anything of this one's.
    stages = profiles_of(asked, [one for one in profiles if len(one.blocks) == blocks])
    if isinstance(stages, Lack):
        raise _lacking(plan, asked, stages)
    if lack := uncoded(asked, stages):
        raise _lacking(plan, asked, lack)
    predictor = Predictor.of(asked, stages, links_of(asked, links)).under(plan.document)
    network = predictor.network(plan.document)
    splits = plan.splits
    if len(splits) > BAND:
        told = [predictor.predict(cuts, network.rtt_ms, network.rate_mbit) for cuts in splits]
        splits = tuple(splits[place] for place in near_front(told))
    return tuple(_candidate(plan, predictor, network, cuts, run_s) for cuts in splits)


def near_front(told: Sequence[Prediction | Candidate]) -> list[int]:
    """Return the places, in order, of the `BAND` that any other beats the least at both goals."""
    figures = [(log(one.latency_s), -log(one.throughput_img_s)) for one in told]
    front: list[tuple[float, float]] = []
    for latency, pace in sorted(figures):
        if not front or pace < front[-1][1]:
            front.append((latency, pace))
    behind = [max(min(own - best, p - b) for best, b in front) for own, p in figures]
    return sorted(sorted(range(len(told)), key=behind.__getitem__)[:BAND])


def _candidate(
    plan: Plan, predictor: Predictor, network: Network, cuts: Cuts, run_s: Mapping[str, float]
) -> Candidate:
    predicted = predictor.predict(cuts, network.rtt_ms, network.rate_mbit)
    pace_s = predictor.batch_size / predicted.throughput_img_s
    # As in `orchestrator.duration`.
    alone = plan.phases.warmup + plan.phases.latency + 1
    about_s = alone * predicted.latency_s + (plan.phases.throughput - 1) * pace_s
    where = (cuts, network.rtt_ms / 1e3, network.rate_mbit)
    latency_parts, pace_parts = _parts(predictor.hosts, predictor.stations(*where))
    shared_s = sum(latency_parts.values()) / predictor.in_flight(*where)
    if shared_s > max(pace_parts.values()):
        pace_parts[WINDOW] = shared_s
    return Candidate(
        cuts,
        predicted.latency_s,
        predicted.throughput_img_s,
        amount(run_s.get(split_name(cuts))) or about_s,
        latency_parts,
        pace_parts,
    )


def _parts(
    hosts: Sequence[str], stations: Sequence[Station]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return each host's and hop's latency and pace; predictions return by way of the last hop.

    A host computes one stage after another, and so has the sum of their paces. A link has both
    directions at once. The hops' delay is a part by itself: a slower pace says nothing of it.
    """
    hops = [f"{one}>{other}" for one, other in pairwise(hosts)]
    places = [place for pair in zip(hosts, [*hops, hops[-1]], strict=True) for place in pair]
    latency: dict[str, float] = {}
    pace: dict[str, float] = {}
    for place, station in zip(places, stations, strict=True):
        latency[place] = latency.get(place, 0.0) + station.through_s
        if station.delay_s:
            latency[DELAY] = latency.get(DELAY, 0.0) + station.delay_s
        before = pace.get(place, 0.0)
        pace[place] = before + station.busy_s if place in hosts else max(before, station.busy_s)
    return latency, pace


def _lacking(plan: Plan, asked: Conditions, lack: Lack) -> ParetoPipeError:
    model, variant = plan.workload.model, plan.chain.variant
    if lack.of == "split":
        return ParetoPipeError(
            "E_PROFILE",
            f"pairing {plan.pairing} has {len(lack.hosts)} host, and so no split to predict, "
            "expected 2 or more — measure all of it with -e strategy=exhaustive",
        )
    seen = f"{' and '.join(lack.hosts)} were profiled with different blocks of {model}"
    if lack.of == "profile":
        computed = [f for f in FACTORS if f.computes and not f.of_hosts]
        settings = [
            f"{host} ({', '.join(f'{f.option} {asked.at(stage, f)}' for f in computed)})"
            for stage, host in enumerate(asked.hosts)
            if host in lack.hosts
        ]
        seen = f"the blocks of {model} were not profiled on {' and '.join(settings)}"
    expected = "of the same blocks"
    if lack.of == "codecs":
        named = " and ".join(lack.codecs)
        seen = f"the blocks of {model} were profiled on {' and '.join(lack.hosts)} without {named}"
        expected = f"with codec {named}"
    return ParetoPipeError(
        "E_PROFILE",
        f"{seen}, expected a profile {expected} for each host — run "
        f"`{to_profile(plan.document, model, variant)}`, then give the same command again",
    )
