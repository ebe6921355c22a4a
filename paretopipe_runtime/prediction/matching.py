"""Profiles and links that belong to a cell, whether of a plan or as a report has read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from paretopipe_runtime.contract.factors import FACTORS, OF_CELL, OF_WORKER, Factor
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.prediction.profiles import SIZES, Link, Profile


@dataclass(frozen=True)
class Conditions:
    """What the predictions of a cell depend on.

    ``variant``: by the factors' keys, a tuple over stages if per host; a short one means defaults.
    ``sizes``: has those of `SIZES` that are known. ``window``, ``saturate``: as in `Phases`.
    """

    model: str
    hosts: tuple[str, ...]
    variant: Mapping[str, Any]
    sizes: Mapping[str, Any]
    window: int
    saturate: bool

    @classmethod
    def of(cls, plan: Plan) -> Conditions:
        workers = plan.chain.workers
        variant = {factor.key: plan.chain.variant[factor.option] for factor in OF_CELL}
        for factor in OF_WORKER:
            variant[factor.key] = tuple(worker.variant[factor.option] for worker in workers)
        return cls(
            *(plan.workload.model, tuple(worker.host for worker in workers), variant),
            *(plan.workload.factors, plan.phases.window, plan.phases.saturate),
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
    other ``blocks``; too ``few`` blocks to give each host one.
    """

    of: Literal["split", "profile", "blocks", "few"]
    hosts: tuple[str, ...]


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
        for hop in pairwise(cell.hosts)
    )


def _profile(cell: Conditions, stage: int, profiles: Sequence[Profile]) -> Profile | None:
    wanted = [(factor, cell.at(stage, factor)) for factor in FACTORS if factor.computes]
    for profile in profiles:
        if (
            (profile.model, profile.host) == (cell.model, cell.hosts[stage])
            and profile.blocks
            and all((profile.variant[f.option] or f.default) == value for f, value in wanted)
            and all(cell.sizes.get(size) in (None, getattr(profile, size)) for size in SIZES)
        ):
            return profile
    return None
