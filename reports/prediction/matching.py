"""Profiles and links that belong to a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paretopipe_runtime.contract.factors import BACKEND, DEVICE, FACTORS, TRANSPORT
from reports import paper
from reports.data.cells import Cell
from reports.data.factors import at_stage, phrase
from reports.data.profiles import Link, Profile
from reports.data.repeat import to_profile
from reports.data.shape import is_count
from reports.words import listing

# Further settings that a block's time depends on.
_SIZES = ("batch_size", "image_px", "classes")


def profiles_of(cell: Cell, profiles: Sequence[Profile]) -> tuple[Profile, ...] | str:
    """Return the profile of each stage's host, or a sentence on missing ones."""
    if len(cell.hosts) < 2:
        return "One host alone has no split to predict."
    found = [_profile(cell, stage, profiles) for stage in range(len(cell.hosts))]
    known = tuple(profile for profile in found if profile and profile.blocks)
    command = to_profile(cell)
    if len(known) == len(found):
        boundaries = {tuple(block.output_bytes for block in profile.blocks) for profile in known}
        if len(known[0].blocks) < len(cell.hosts):
            return f"{paper.model_name(cell.model)} has too few blocks to give each host one."
        if len(boundaries) == 1:
            return known
        return (
            f"Nothing can be predicted here: {listing([profile.host for profile in known])} were "
            f"profiled with different blocks. Run `{command}` again."
        )
    lacking = [
        host for host, profile in zip(cell.hosts, found, strict=True) if profile not in known
    ]
    settings = [
        phrase(factor, cell)
        for factor in FACTORS
        if factor.computes and not factor.of_hosts and cell.variant[factor.key]
    ]
    return (
        f"Nothing can be predicted here: the blocks of {paper.model_name(cell.model)} were not "
        f"profiled on {listing(list(dict.fromkeys(lacking)))} ({', '.join(settings)}). "
        f"Run `{command}`."
    )


def links_of(cell: Cell, links: Sequence[Link]) -> tuple[Link | None, ...]:
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
        for hop in zip(cell.hosts, cell.hosts[1:], strict=False)
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
    return tuple(said)


def setting(cell: Cell, name: str, otherwise: int) -> int:
    value: Any = cell.plan.get(name, cell.settings.get(name))
    return int(value) if is_count(value, 1) else otherwise


def _profile(cell: Cell, stage: int, profiles: Sequence[Profile]) -> Profile | None:
    known: dict[str, Any] = {**cell.plan, **cell.settings}
    wanted = [(f, at_stage(cell, f, stage)) for f in FACTORS if f.computes]
    for profile in profiles:
        if (
            (profile.model, profile.host) == (cell.model, cell.hosts[stage])
            and all((profile.variant[f.option] or f.default) == value for f, value in wanted)
            and all(known.get(size) in (None, getattr(profile, size)) for size in _SIZES)
        ):
            return profile
    return None
