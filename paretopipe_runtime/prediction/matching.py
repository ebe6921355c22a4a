"""Profiles and links that belong to a cell, whether of a plan or as a report has read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.factors import FACTORS, OF_CELL, OF_WORKER, Factor
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.replicas import hosts_at
from paretopipe_runtime.contract.splits import Cuts, codec_of
from paretopipe_runtime.prediction.profiles import SIZES, Link, Profile


@dataclass(frozen=True)
class Conditions:
    """What the predictions of a cell depend on.

    ``variant``: by the factors' keys, a tuple over stages if per host; a short one means defaults.
    ``sizes``: has those of `SIZES` that are known. ``window``, ``saturate``: as in `Phases`.
    ``codecs``: of its splits, in the order of `CODECS`.
    """

    model: str
    hosts: tuple[str, ...]
    variant: Mapping[str, Any]
    sizes: Mapping[str, Any]
    window: int
    saturate: bool
    codecs: tuple[str, ...] = (NONE,)

    @classmethod
    def of(cls, plan: Plan) -> Conditions:
        workers = plan.chain.workers
        variant = {factor.key: plan.chain.variant[factor.option] for factor in OF_CELL}
        for factor in OF_WORKER:
            variant[factor.key] = tuple(worker.variant[factor.option] for worker in workers)
        return cls(
            *(plan.workload.model, tuple(worker.place for worker in workers), variant),
            *(plan.workload.factors, plan.phases.window, plan.phases.saturate),
            codecs_of(plan.splits),
        )

    def at(self, stage: int, factor: Factor) -> str:
        """Return a factor's value at one stage."""
        value = self.variant[factor.key]
        if not factor.per_host:
            return str(value)
        return str(value[stage]) if stage < len(value) else factor.default


@dataclass(frozen=True)
class Lack:
    """Why nothing can be predicted.

    One host has no split to predict; the ``hosts`` that lack a ``profile``, or whose profiles have
    other ``blocks``; too ``few`` blocks to give each host one; ``codecs`` that some were not
    profiled with.
    """

    of: Literal["split", "profile", "blocks", "few", "codecs"]
    hosts: tuple[str, ...]
    codecs: tuple[str, ...] = ()


def codecs_of(splits: Iterable[Cuts]) -> tuple[str, ...]:
    """Return the splits' codecs in the order of `CODECS`; without splits the none."""
    used = {codec_of(cuts) for cuts in splits} or {NONE}
    return tuple(name for name in CODECS if name in used)


def profiles_of(cell: Conditions, profiles: Sequence[Profile]) -> tuple[Profile, ...] | Lack:
    """Return the profile of each stage's host, or what is lacking."""
    if len(cell.hosts) < 2:
        return Lack("split", cell.hosts)
    found = [_profile(cell, stage, profiles) for stage in range(len(cell.hosts))]
    known = tuple(profile for profile in found if profile)
    if len(known) < len(found):
        lacking = [host for host, one in zip(cell.hosts, found, strict=True) if one is None]
        return Lack("profile", tuple(dict.fromkeys(lacking)))
    if len(known[0].blocks) < len(cell.hosts):
        return Lack("few", cell.hosts)
    if len({tuple(block.output_bytes for block in profile.blocks) for profile in known}) > 1:
        return Lack("blocks", cell.hosts)
    return known


def uncoded(cell: Conditions, profiles: Sequence[Profile]) -> Lack | None:
    """Return which of a cell's codecs its profiles lack, if any."""
    asked = [name for name in cell.codecs if name != NONE]
    lacking = tuple(n for n in asked if any(n not in profile.codings for profile in profiles))
    hosts = (one.host for one in profiles if any(name not in one.codings for name in lacking))
    return Lack("codecs", tuple(dict.fromkeys(hosts)), lacking) if lacking else None


def links_of(cell: Conditions, links: Sequence[Link]) -> tuple[Link | None, ...]:
    """Return the least disturbed link of each hop."""
    return tuple(
        min(
            (
                link
                for link in links
                if link.hosts == hop
                and link.transfers
                and all(cell.variant[key] == value for key, value in link.variant.items())
            ),
            key=lambda link: (link.rtt_ms or 0.0, -(link.rate_mbit or 0.0)),
            default=None,
        )
        for hop in pairwise(hosts_at(place)[0] for place in cell.hosts)
    )


def _profile(cell: Conditions, stage: int, profiles: Sequence[Profile]) -> Profile | None:
    """Return the profile of a stage's host; the first of equal hosts stands for all."""
    wanted = [(factor, cell.at(stage, factor)) for factor in FACTORS if factor.computes]
    host = hosts_at(cell.hosts[stage])[0]
    for profile in profiles:
        if (
            (profile.model, profile.host) == (cell.model, host)
            and profile.blocks
            and all((profile.variant[f.option] or f.default) == value for f, value in wanted)
            and all(cell.sizes.get(size) in (None, getattr(profile, size)) for size in SIZES)
        ):
            return profile
    return None
