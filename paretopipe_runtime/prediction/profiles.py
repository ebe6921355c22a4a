"""Profiles of blocks and links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from paretopipe_runtime.contract.factors import DEVICE, FACTORS, Factor, Variant
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.values import (
    amount,
    attempt,
    clean,
    fits,
    flat,
    is_count,
    is_name,
    is_number,
)
from paretopipe_runtime.prediction.coding import Coding, codings
from paretopipe_runtime.prediction.spread import Spread

#: What a block's time depends on beside the factors.
SIZES = ("classes", "image_px", "batch_size")


@dataclass(frozen=True)
class Block:
    """One block on one host; spreads are over processes, of each one's median.

    `mean_s` because only means add up, and no median shows pauses in few batches, as under a quota.
    """

    index: int
    name: str
    parameters: int
    weight_bytes: int
    flops: int  # of a batch, two a multiply-add
    output_shape: tuple[int, ...]
    output_bytes: int
    compute_s: Spread  # a batch, warm
    mean_s: Spread  # the same batches, of each process's mean
    first_s: Spread  # the first batch, cold
    peak_rss_bytes: Spread | None  # of the process, around this block's first batch
    rss_before_bytes: Spread | None


@dataclass(frozen=True)
class Profile:
    """A model's blocks on one host's device.

    ``codings``: by codec that was timed at all of them, the input and every block's output but the
    last one's.
    """

    model: str
    host: str
    variant: Variant  # by the options of `contract.factors`; an unrecorded device is empty
    classes: int
    image_px: int
    batch_size: int
    input_bytes: int
    whole_s: Spread | None  # the unsplit model, a batch
    blocks: tuple[Block, ...]
    runs: int  # fresh processes that count
    attempts: int
    cpu_percent: Spread | None = None  # of the process, in percent of one core
    codings: Mapping[str, tuple[Coding, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Transfer:
    payload_bytes: int
    latency_s: Spread  # end to end at the orchestrator, one batch in flight
    pace_s: Spread | None  # between completions, a window of batches in flight
    cpu_s: tuple[Spread, ...] = ()  # processor seconds a batch, of each stage's process


@dataclass(frozen=True)
class Link:
    """A chain of hosts without computation; medians over its runs."""

    hosts: tuple[str, ...]
    variant: Variant  # by the options of `contract.factors`, per-host ones left out
    rtt_ms: float | None
    rate_mbit: float | None
    transfers: tuple[Transfer, ...]
    runs: int


def usable(record: Record) -> bool:
    """Tell whether a line is a profile's or a link's, valid or not."""
    return attempt(record) and fits(record["factors"], {})


def profiles(records: Sequence[Record]) -> tuple[Profile, ...]:
    """Return every valid profile of usable records, by all that computation depends on."""
    return tuple(
        _profile(runs, attempts) for runs, attempts in _latest(records, _setting, _whole_profile)
    )


def links(records: Sequence[Record]) -> tuple[Link, ...]:
    """Return every valid link of usable records, by hosts, variant and network."""
    return tuple(_link(runs) for runs, _ in _latest(records, _place, _whole_link))


def _setting(record: Record) -> tuple[Any, ...]:
    """Return all that a block's time depends on, the sizes last."""
    factors = record["factors"]
    places = (factors.get("model") or "", factors.get("host") or "")
    return (*places, *_computed(record).values(), *(factors.get(size) or 0 for size in SIZES))


def _place(record: Record) -> tuple[Any, ...]:
    network = record.get("network")
    asked = network.get("asked") if isinstance(network, dict) else None
    return record["factors"].get("hosts"), *_moved(record).values(), asked


def _computed(record: Record) -> Variant:
    return _variant(record, lambda factor: factor.computes)


def _moved(record: Record) -> Variant:
    return _variant(record, lambda factor: factor.moves and not factor.per_host)


def _variant(record: Record, depends: Callable[[Factor], bool]) -> Variant:
    stated = record["factors"]
    found = {f.option: stated.get(f.option) or f.default for f in FACTORS if depends(f)}
    return Variant({option: clean(value) for option, value in found.items()})


def _latest(
    records: Sequence[Record],
    setting: Callable[[Record], tuple[Any, ...]],
    whole: Callable[[Record], bool],
) -> list[tuple[list[Record], int]]:
    """Return the latest valid attempts of each setting that has any, and how many were made."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(repr(setting(record)), []).append(record)
    found = []
    for _, group in sorted(groups.items()):
        kept: dict[tuple[str, str], Record] = {}
        for record in sorted(group, key=lambda record: int(record["attempt"])):
            if record["status"] == "ok" and whole(record):
                kept[record["cell_id"], record["run_key"]] = record
        if kept:
            found.append(([kept[key] for key in sorted(kept)], len(group)))
    return found


def _profile(runs: Sequence[Record], attempts: int) -> Profile:
    newest = max(runs, key=lambda run: str(run.get("started_at") or ""))
    # Only runs with the newest one's blocks, if the model has changed.
    runs = [run for run in runs if _outline(run) == _outline(newest)]
    model, host, *_, classes, image_px, batch_size = _setting(newest)
    device = clean(newest.get("device") or newest["factors"].get(DEVICE.option) or "")
    return Profile(
        model=str(model),
        host=clean(host),
        variant=Variant(_computed(newest), device=device),
        classes=classes,
        image_px=image_px,
        batch_size=batch_size,
        input_bytes=newest["input_bytes"],
        whole_s=Spread.of(_median(run.get("whole_s")) for run in runs),
        blocks=tuple(
            _block(known, [run["blocks"][place] for run in runs])
            for place, known in enumerate(newest["blocks"])
        ),
        runs=len(runs),
        attempts=attempts,
        cpu_percent=Spread.of(amount(run.get("cpu_percent")) for run in runs),
        codings=codings(runs, (batch_size, 3, image_px, image_px)),
    )


def _block(known: Record, runs: Sequence[Record]) -> Block:
    compute_s = Spread.of(_median(run["compute_s"]) for run in runs)
    mean_s = Spread.of(fmean(run["compute_s"]) for run in runs)
    first_s = Spread.of(run["first_s"] for run in runs)
    if compute_s is None or mean_s is None or first_s is None:
        raise ValueError("a block of a valid profile has no time")
    return Block(
        index=known["index"],
        name=clean(known["name"]),
        parameters=known["parameters"],
        weight_bytes=known["weight_bytes"],
        flops=known["flops"],
        output_shape=tuple(known["output_shape"]),
        output_bytes=known["output_bytes"],
        compute_s=compute_s,
        mean_s=mean_s,
        first_s=first_s,
        peak_rss_bytes=Spread.of(amount(run.get("peak_rss_bytes")) for run in runs),
        rss_before_bytes=Spread.of(amount(run.get("rss_before_bytes")) for run in runs),
    )


def _link(runs: Sequence[Record]) -> Link:
    hosts = tuple(clean(host) for host in runs[0]["factors"].get("hosts") or ())
    sizes: dict[int, list[Record]] = {}
    for run in runs:
        for transfer in run["transfers"]:
            sizes.setdefault(transfer["payload_bytes"], []).append(transfer)
    transfers = []
    for size, group in sorted(sizes.items()):
        latency_s = Spread.of(_median(transfer["latency_s"]) for transfer in group)
        if latency_s:
            pace_s = Spread.of(amount(transfer.get("pace_s")) or None for transfer in group)
            transfers.append(Transfer(size, latency_s, pace_s, _cpu(group, len(hosts))))
    network = [(run.get("network") or {}).get("measured") or {} for run in runs]
    rtt, rate = (
        Spread.of(amount(measured.get(key)) for measured in network)
        for key in ("rtt_ms", "rate_mbit")
    )
    return Link(
        hosts=hosts,
        variant=_moved(runs[0]),
        rtt_ms=rtt.median if rtt else None,
        rate_mbit=rate.median if rate else None,
        transfers=tuple(transfers),
        runs=len(runs),
    )


def _cpu(transfers: Sequence[Record], stages: int) -> tuple[Spread, ...]:
    """Return processor seconds by stage, from complete transfers only."""
    known = [
        seen
        for transfer in transfers
        if isinstance(seen := transfer.get("cpu_s"), list)
        and len(seen) == stages
        and all(amount(seconds) is not None for seconds in seen)
    ]
    return tuple(spread for stage in zip(*known, strict=True) if (spread := Spread.of(stage)))


def _whole_profile(record: Record) -> bool:
    """Tell whether a profile has all that predictions and tables need."""
    blocks = record.get("blocks")
    return (
        all(map(is_name, _setting(record)[:2]))
        and all(map(is_count, _setting(record)[-len(SIZES) :]))
        and isinstance(blocks, list)
        and bool(blocks)
        and is_count(record.get("input_bytes"))
        and all(isinstance(block, dict) and _whole_block(block) for block in blocks)
        and [block["index"] for block in blocks] == [*range(len(blocks))]
    )


def _whole_block(block: Record) -> bool:
    sizes = ("index", "parameters", "weight_bytes", "flops", "output_bytes")
    return (
        all(is_count(block.get(key)) for key in sizes)
        and isinstance(block.get("name"), str)
        and isinstance(block.get("output_shape"), list)
        and all(map(is_count, block["output_shape"]))
        and _median(block.get("compute_s")) is not None
        and amount(block.get("first_s")) is not None
    )


def _whole_link(record: Record) -> bool:
    transfers, network = record.get("transfers"), record.get("network") or {}
    hosts = record["factors"].get("hosts")
    return (
        isinstance(hosts, list)
        and all(map(is_name, hosts))
        and isinstance(transfers, list)
        and bool(transfers)
        and isinstance(network, dict)
        and flat(network.get("measured"))
        and all(
            isinstance(transfer, dict)
            and is_count(transfer.get("payload_bytes"))
            and _median(transfer.get("latency_s")) is not None
            for transfer in transfers
        )
    )


def _outline(run: Record) -> list[tuple[Any, ...]]:
    keys = ("name", "parameters", "weight_bytes", "flops", "output_bytes", "output_shape")
    return [tuple(block[key] for key in keys) for block in run["blocks"]]


def _median(values: Any) -> float | None:
    """Return the median of a list of times, if it is one."""
    if not isinstance(values, list) or not values:
        return None
    if not all(is_number(value) and value >= 0 for value in values):
        return None
    return float(median(values))
