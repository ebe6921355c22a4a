"""Which profiles and links belong to a cell, and in words what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports import paper
from reports.data.cells import Cell
from reports.data.kinds import (
    allocator_name,
    backend_name,
    devices_name,
    engine_name,
    transport_name,
)
from reports.data.profiles import Link, Profile
from reports.data.repeat import to_profile
from reports.data.text import is_count
from reports.words import listing

# What changes how long a block takes, beside model, engine, host, allocator and device.
_SIZES = ("batch_size", "image_px", "classes")


def profiles_of(cell: Cell, profiles: Sequence[Profile]) -> tuple[Profile, ...] | str:
    """Return the profile of each stage's host, or the sentence that says which are missing."""
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
    settings = [engine_name(cell.engine), *sorted({*map(allocator_name, cell.allocators)})]
    settings += [devices_name(cell.devices, cell.hosts)] if cell.devices else []
    return (
        f"Nothing can be predicted here: the blocks of {paper.model_name(cell.model)} were not "
        f"profiled on {listing(list(dict.fromkeys(lacking)))} ({', '.join(settings)}). "
        f"Run `{command}`."
    )


def links_of(cell: Cell, links: Sequence[Link]) -> tuple[Link | None, ...]:
    """Return the link of each hop; where one was measured several times, the least disturbed."""
    return tuple(
        min(
            (
                link
                for link in links
                if (link.hosts, link.backend, link.transport, link.emulation)
                == (hop, cell.backend, cell.transport, cell.emulation)
                and link.transfers
            ),
            key=lambda link: (link.rtt_ms or 0.0, -(link.rate_mbit or 0.0)),
            default=None,
        )
        for hop in zip(cell.hosts, cell.hosts[1:], strict=False)
    )


def notes(cell: Cell, profiles: Sequence[Profile], links: Sequence[Link | None]) -> tuple[str, ...]:
    """Say what the predictions of a cell had to assume."""
    said = []
    encrypted = "" if cell.transport == "plain" else f" with {transport_name(cell.transport)}"
    hops = zip(cell.hosts, cell.hosts[1:], links, strict=False)
    if silent := [f"{one} to {other}" for one, other, link in hops if link is None]:
        said.append(
            f"The transport from {listing(silent)} over {backend_name(cell.backend)}{encrypted} "
            "was not measured: beside the wire it counts as free."
        )
    if bare := [profile.host for profile in profiles if profile.whole_s is None]:
        said.append(
            f"The model in one piece was not timed on {listing(bare)}: block times are added as "
            "they are, each with the overhead of its own call."
        )
    if copying := [profile.host for profile in profiles if profile.device not in ("", "cpu")]:
        said.append(
            f"A batch's way to the GPU of {listing(copying)} and back is no part of a block's "
            "time: it is not predicted."
        )
    return tuple(said)


def setting(cell: Cell, name: str, otherwise: int) -> int:
    """Return a count that the cell's plan or its runs state."""
    value: Any = cell.plan.get(name, cell.settings.get(name))
    return int(value) if is_count(value, 1) else otherwise


def _profile(cell: Cell, stage: int, profiles: Sequence[Profile]) -> Profile | None:
    known: dict[str, Any] = {**cell.plan, **cell.settings}
    # Without a word in the records, what the runtime sets by itself.
    allocator = cell.allocators[stage] if stage < len(cell.allocators) else "tuned"
    device = cell.devices[stage] if stage < len(cell.devices) else "cpu"
    for profile in profiles:
        alike = (profile.model, profile.engine, profile.host, profile.allocator)
        same = ((profile.device or "cpu"), profile.emulation) == (device, cell.emulation)
        if (
            same
            and alike == (cell.model, cell.engine, cell.hosts[stage], allocator)
            and all(known.get(size) in (None, getattr(profile, size)) for size in _SIZES)
        ):
            return profile
    return None
