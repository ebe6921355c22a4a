"""Predictors of a report's cells, and in words what they lack or assume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from paretopipe_runtime.contract.factors import BACKEND, DEVICE, FACTORS, TRANSPORT
from paretopipe_runtime.contract.replicas import hosts_at
from paretopipe_runtime.contract.units import transfer_s
from paretopipe_runtime.contract.values import is_count
from paretopipe_runtime.prediction.matching import (
    Conditions,
    Lack,
    codecs_of,
    links_of,
    profiles_of,
    uncoded,
)
from paretopipe_runtime.prediction.predictor import Predictor
from paretopipe_runtime.prediction.profiles import Link, Profile
from reports import paper
from reports.data.cells import Cell
from reports.data.factors import phrase
from reports.data.repeat import to_profile
from reports.words import listing, number, percent

_WINDOW = 4  # of plans that state none


def predictor_of(
    cell: Cell,
    profiles: Sequence[Profile],
    links: Sequence[Link],
    slow_start: bool = False,
    others: Sequence[Cell] = (),
) -> Predictor | str:
    """Return a cell's predictor, or a sentence on what it lacks.

    Parameters
    ----------
    slow_start
        As `Predictor.of` takes it.
    others
        Cells that differ only in network, whose codecs are predicted, too.
    """
    asked = conditions(cell, *others)
    stages = profiles_of(asked, profiles)
    if isinstance(stages, Lack):
        return lacking(cell, stages)
    hops = links_of(asked, links)
    found = Predictor.of(asked, stages, hops, slow_start)
    lack = uncoded(asked, stages)
    if lack and not found.codecs:
        return lacking(cell, lack)
    said = (lacking(cell, lack),) if lack else ()
    return replace(found, notes=notes(cell, stages, hops) + said)


def conditions(cell: Cell, *others: Cell) -> Conditions:
    window: Any = cell.plan.get("window", cell.settings.get("window"))
    return Conditions(
        *(cell.model, cell.hosts, cell.variant, {**cell.plan, **cell.settings}),
        window=window if is_count(window, 1) else _WINDOW,
        saturate=bool(cell.plan.get("saturate")),
        codecs=codecs_of(split.cuts for one in (cell, *others) for split in one.splits),
    )


def lacking(cell: Cell, lack: Lack) -> str:
    """Return what a cell's predictions lack, and how to have it."""
    if lack.of == "split":
        return "One host alone has no split to predict."
    model, hosts, run = paper.model_name(cell.model), listing(lack.hosts), to_profile(cell)
    if lack.of == "few":
        return f"{model} has too few blocks to give each host one."
    if lack.of == "blocks":
        return (
            f"Nothing can be predicted here: {hosts} were profiled with different blocks. "
            f"Run `{run}` again."
        )
    if lack.of == "codecs":
        return (
            f"Splits with {listing(lack.codecs)} are not predicted here: {hosts} were profiled "
            f"without. Run `{run}`."
        )
    settings = [
        phrase(factor, cell)
        for factor in FACTORS
        if factor.computes and not factor.of_hosts and cell.variant[factor.key]
    ]
    return (
        f"Nothing can be predicted here: the blocks of {model} were not profiled on {hosts} "
        f"({', '.join(settings)}). Run `{run}`."
    )


def notes(cell: Cell, profiles: Sequence[Profile], links: Sequence[Link | None]) -> tuple[str, ...]:
    """Return the assumptions of a cell's predictions."""
    said = []
    how = f"over {BACKEND.word(cell.variant['backend'])}"
    if cell.variant["transport"] != TRANSPORT.default:
        how += f" with {TRANSPORT.word(cell.variant['transport'])}"
    hops = zip(cell.hosts, cell.hosts[1:], links, strict=False)
    if silent := [f"{one} to {other}" for one, other, link in hops if link is None]:
        said.append(
            f"The transport from {listing(silent)} {how} was not "
            "measured: beside the wire it counts as free."
        )
    if bare := [profile.host for profile in profiles if profile.whole_s is None]:
        said.append(
            f"The model in one piece was not timed on {listing(bare)}: block times are added as "
            "they are, each with the overhead of its own call."
        )
    if copying := [
        profile.host
        for profile in profiles
        if profile.variant["device"] not in ("", DEVICE.default)
    ]:
        said.append(
            f"A batch's way to the GPU of {listing(copying)} and back is no part of a block's "
            "time: it is not predicted."
        )
    for place, stage in enumerate(cell.hosts):
        if len(each := hosts_at(stage)) > 1:
            said.append(_replicas(each, profiles[place], links[max(0, place - 1)]))
    return tuple(said)


def _replicas(hosts: Sequence[str], profile: Profile, link: Link | None) -> str:
    """Say what replicas change, and estimate what sharing each batch would pass between them."""
    nbytes = 2 * sum(block.output_bytes for block in profile.blocks)
    rate = link.rate_mbit if link else None
    wire = f" or {number(transfer_s(nbytes, rate))} s at {number(rate)} Mbit/s" if rate else ""
    compute_s = sum(block.mean_s.median for block in profile.blocks)
    return (
        f"{listing(hosts)} take batches in turn, as if each were {profile.host}: the pace of their "
        f"stage is {len(hosts)} times one host's, its latency one host's. To share each batch "
        "instead (tensor parallelism) is not built: two all-reduces of each block's output, over "
        f"all {len(profile.blocks)} blocks about {number(nbytes / 1e6)} MB a batch{wire} by "
        f"estimate, could save {percent(1 - 1 / len(hosts))} of {number(compute_s)} s at most."
    )
