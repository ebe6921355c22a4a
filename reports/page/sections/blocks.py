"""What each block takes on each host (the paper's Fig. 2), from profiles."""

from __future__ import annotations

from typing import Any

from reports import paper
from reports.data.kinds import allocator_name, engine_name
from reports.data.profiles import Profile
from reports.data.repeat import to_profile
from reports.page import blocks
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    """Return the charts and a table for each engine and allocator that was profiled."""
    groups: dict[tuple[Any, ...], list[Profile]] = {}
    for profile in sheet.profiles:
        # Blocks under other sizes are other work: never in one table.
        key = (profile.engine, profile.allocator, profile.image_px, profile.batch_size)
        if profile.blocks:
            groups.setdefault((*key, profile.classes), []).append(profile)
    return [
        {
            **{"id": "blocks", "title": "Blocks", "template": "blocks"},
            "commands": [*dict.fromkeys(map(to_profile, sheet.cells))],
            "name": paper.model_name(sheet.model),
            "groups": [_group(profiles, len(groups) > 1) for profiles in groups.values()],
        }
    ]


def _group(profiles: list[Profile], several: bool) -> dict[str, Any]:
    first = profiles[0]
    kind = f"{engine_name(first.engine)}, {allocator_name(first.allocator)}"
    sizes = f"batches of {first.batch_size} images of {first.image_px}×{first.image_px}"
    return {
        "title": f"{kind}, {sizes}" if several else "",
        "measured": f"{kind}, {sizes}",
        "hosts": [
            {
                "name": blocks.label(profile),
                "runs": "1 fresh process"
                if profile.runs == 1
                else f"{profile.runs} fresh processes",
                "sentences": blocks.sentences(profile),
                "chart": blocks.chart(profile),
            }
            for profile in profiles
        ],
        "table": blocks.table(profiles),
    }
