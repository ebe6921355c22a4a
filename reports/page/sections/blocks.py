"""Each block's time on each host (the paper's Fig. 2), per engine and allocator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from paretopipe_runtime.contract.factors import FACTORS
from paretopipe_runtime.prediction.coding import Coding
from paretopipe_runtime.prediction.profiles import Block, Profile
from reports import paper
from reports.data.repeat import to_profile
from reports.page.draw import bars
from reports.page.figures import mebibytes, spread
from reports.page.sheet import Section, Sheet
from reports.page.tables import NOTHING, Column, Entry, Row, Table, plain
from reports.words import count, listing, number, percent, slug

_MS = 1000
_SHARED = [factor for factor in FACTORS if factor.computes and not factor.exceptional]
HALF = 0.5


def build(sheet: Sheet) -> list[Section]:
    groups: dict[tuple[Any, ...], list[Profile]] = {}
    for profile in sheet.profiles:
        # Other sizes are other work: never in one table.
        how = (profile.variant[factor.option] for factor in _SHARED)
        key = (*how, profile.image_px, profile.batch_size)
        if profile.blocks:
            groups.setdefault((*key, profile.classes), []).append(profile)
    return [
        {
            "id": "blocks",
            "title": "Blocks",
            "commands": [*dict.fromkeys(map(to_profile, sheet.cells))],
            "name": paper.model_name(sheet.model),
            "groups": [_group(profiles, len(groups) > 1) for profiles in groups.values()],
        }
    ]


def _group(profiles: list[Profile], several: bool) -> dict[str, Any]:
    first = profiles[0]
    kind = ", ".join(factor.word(first.variant[factor.option]) for factor in _SHARED)
    sizes = f"batches of {first.batch_size} images of {first.image_px}×{first.image_px}"
    return {
        "title": f"{kind}, {sizes}" if several else "",
        "measured": f"{kind}, {sizes}",
        "hosts": [
            {
                "name": label(profile),
                "runs": "1 fresh process"
                if profile.runs == 1
                else f"{profile.runs} fresh processes",
                "sentences": sentences(profile),
                "chart": chart(profile),
            }
            for profile in profiles
        ],
        "table": table(profiles),
    }


def label(profile: Profile) -> str:
    """Return the host, and its device unless it is the processor."""
    what = _other(profile)
    return f"{profile.host} ({', '.join(what)})" if what else profile.host


def sentences(profile: Profile) -> list[Markup]:
    """Say where time goes, and the cost of cutting and of the first batch."""
    warm = [block.compute_s.median for block in profile.blocks]
    total = sum(warm)
    ordered = sorted(profile.blocks, key=lambda block: (-block.compute_s.median, block.index))
    heavy: list[Block] = []
    while sum(block.compute_s.median for block in heavy) < HALF * total:
        heavy.append(ordered[len(heavy)])
    named = listing([block.name for block in sorted(heavy, key=lambda block: block.index)])
    lines = [
        Markup("{} of {} take half of the time: {}.").format(
            len(heavy), count(len(profile.blocks), "block"), named
        )
    ]
    if profile.whole_s is not None:
        whole = profile.whole_s.median
        more = (total - whole) / whole
        lines.append(
            Markup("The model in one piece takes {}; its blocks one by one add up to {}{}.").format(
                spread(profile.whole_s, "s"),
                f"{number(total)}\N{NO-BREAK SPACE}s",
                f", {percent(more)} {'more' if more > 0 else 'less'}" if abs(more) > 5e-4 else "",
            )
        )
    cold = sum(block.first_s.median for block in profile.blocks)
    lines.append(
        Markup("The first batch of a fresh process takes {}, {} times the warm ones.").format(
            f"{number(cold)}\N{NO-BREAK SPACE}s", number(cold / total, 2)
        )
    )
    return lines


def chart(profile: Profile) -> Markup:
    return bars.medians(
        f"blocks-{_name(profile)}",
        [block.name for block in profile.blocks],
        [block.compute_s.scaled(_MS) for block in profile.blocks],
        "time of a batch, warm (ms)",
    )


def table(profiles: Sequence[Profile]) -> Table:
    columns = [
        Column("Block", ""),
        Column("Parameters", ""),
        Column("Arithmetic", "GFLOP a batch"),
        Column("Output", "MB a batch"),
        Column("Output shape", "", numeric=False),
    ]
    for profile in profiles:
        host = label(profile)
        columns += [
            Column("Warm", f"ms, {host}"),
            Column("Share of the model", f"%, {host}"),
            Column("Cold", f"ms, {host}"),
            Column("Peak memory", f"MiB, {host}"),
            *(Column(f"Output to {name} and back", f"ms, {host}") for name in profile.codings),
        ]
    longest = max((profile.blocks for profile in profiles), key=len)
    rows = [
        Row(
            id=f"block-{_name(profiles[0])}-{block.index + 1}",
            name=f"{block.index + 1}. {block.name}",
            entries=(*_facts(block), *(e for p in profiles for e in _times(p, block.index))),
        )
        for block in longest
    ]
    return Table(tuple(columns), tuple(rows))


def _facts(block: Block) -> tuple[Entry, ...]:
    shape = "×".join(map(str, block.output_shape))
    return (
        plain(f"{block.parameters:,}"),
        plain(number(block.flops / 1e9)),
        plain(number(block.output_bytes / 1e6)),
        Entry(shape, str(block.output_bytes)),
    )


def _times(profile: Profile, index: int) -> tuple[Entry, ...]:
    if index >= len(profile.blocks):
        return (NOTHING,) * (4 + len(profile.codings))
    block = profile.blocks[index]
    total = sum(other.compute_s.median for other in profile.blocks)
    warm, cold, peak = block.compute_s, block.first_s, block.peak_rss_bytes
    share = 100 * warm.median / total if total else 0.0
    return (
        Entry(spread(warm.scaled(_MS)), f"{warm.median * _MS:.6g}"),
        plain(f"{share:.1f}"),
        plain(number(cold.median * _MS)),
        plain(mebibytes(peak.median)) if peak else NOTHING,
        *(_coding(boundaries[index + 1 :]) for boundaries in profile.codings.values()),
    )


def _coding(boundaries: Sequence[Coding]) -> Entry:
    """Return the milliseconds to write and to read the first of them; predictions are not coded."""
    if not boundaries:
        return NOTHING
    ms = [_MS * boundaries[0].encode_s.median, _MS * boundaries[0].decode_s.median]
    return Entry(" + ".join(map(number, ms)), f"{sum(ms):.6g}")


def _name(profile: Profile) -> str:
    sizes = f"{profile.image_px}-{profile.batch_size}-{profile.classes}"
    how = [*_other(profile), *(profile.variant[factor.option] for factor in _SHARED)]
    return slug("-".join([profile.host, *how, sizes]))


def _other(profile: Profile) -> list[str]:
    """Return device and kind of host where unusual."""
    found = ((f, profile.variant[f.option]) for f in FACTORS if f.computes and f.exceptional)
    return [value for factor, value in found if value not in ("", factor.default)]
