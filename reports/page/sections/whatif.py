"""Predicted fronts at any network, prediction errors, ranges of best splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any

from paretopipe_runtime.contract.chain import INPUT_BATCHES, LEAST_PACE_S
from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.splits import codec_of, listed, split_name
from paretopipe_runtime.contract.units import SEGMENT_BYTES, WIRE_PER_PAYLOAD
from paretopipe_runtime.prediction import transport
from paretopipe_runtime.prediction.predictor import Network, Prediction, Predictor
from reports.data.cells import Cell, Cuts
from reports.page.sheet import Section, Sheet
from reports.prediction.best import PREDICTED, Range, best_by_rate, best_by_rtt
from reports.prediction.errors import Error, Errors, Summary, errors, said_network
from reports.statistics.regret import balanced
from reports.words import count, number, percent, slug

# Ranges of the dials, in ms and Mbit/s: as in whatif.js.
RTT_MS, RATE_MBIT = (0.1, 500.0), (0.5, 10_000.0)
_GRID = 48  # points a dial; borders between two are bisected
_FIRST_HOP = (
    "Ranges are of the first hop; the later ones stay as measured in the same scenario. One that "
    "is shaped both ways counts with half its round trip: tensors pass it one way."
)
_RANGES = 6  # ranges listed; the rest is counted
# Coefficients by their names in whatif.js.
_TCP = {
    "SEGMENT": SEGMENT_BYTES,
    "FRAME": WIRE_PER_PAYLOAD,
    "INITIAL": transport.INITIAL_WINDOW,
    "RTO_MIN": transport.RTO_MIN_S,
    "INPUTS": INPUT_BATCHES,
    "LEAST_PACE": LEAST_PACE_S,
    "WINDOW": transport.WINDOW_BYTES,
}


def build(sheet: Sheet) -> list[Section]:
    """Return charts with dials, or how to profile blocks for them."""
    found = [(group, sheet.predictors[group[0].id]) for group in sheet.groups]
    known = [(group, made) for group, made in found if isinstance(made, Predictor)]
    groups = [_group(sheet, group, predictor) for group, predictor in known]
    presets = _presets(known)
    return [
        {
            "id": "whatif",
            "title": "What if the network changes",
            "groups": groups,
            "missing": list(dict.fromkeys(made for _, made in found if isinstance(made, str))),
            "presets": presets,
            "codecs": _codecs([predictor for _, predictor in known]),
            "later": range(2, max((len(made.hosts) for _, made in known), default=2)),
            "data": {"groups": [group.pop("data") for group in groups], "tcp": _TCP},
        }
    ]


def _presets(known: Sequence[tuple[Sequence[Cell], Predictor]]) -> list[dict[str, Any]]:
    """Return measured networks by scenario, the longest chain's of later hops; unshaped if none."""
    found: dict[str, dict[str, Any]] = {}
    unshaped = False
    for group, predictor in known:
        for cell in group:
            network, under = predictor.network(cell.plan), predictor.under(cell.plan)
            unshaped |= cell.asked is None
            label = f"{cell.scenario}, unshaped" if cell.asked is None else cell.scenario
            preset = found.setdefault(cell.scenario, _preset(cell.scenario, label, network))
            later = under.networks[1:] if under is not predictor else ()
            preset["later"] = max(preset["later"], [astuple(hop) for hop in later], key=len)
    if known and not unshaped:
        found["unshaped"] = _preset("unshaped", "unshaped", known[0][1].networks[0])
    return [*found.values()]


def _codecs(predictors: Sequence[Predictor]) -> list[tuple[str, str]]:
    """Return names and words of the codecs to choose from; none without a profiled one."""
    profiled = {name for predictor in predictors for name in predictor.codings}
    offered = {NONE, *profiled} if profiled else ()
    return [(name, codec.words) for name, codec in CODECS.items() if name in offered]


def _preset(scenario: str, label: str, network: Network) -> dict[str, Any]:
    return {
        **{"scenario": scenario, "label": label, "rtt_ms": round(network.rtt_ms, 3)},
        **{"rate_mbit": round(network.rate_mbit or RATE_MBIT[1], 3), "later": []},
    }


def _group(sheet: Sheet, group: Sequence[Cell], predictor: Predictor) -> dict[str, Any]:
    known = {split.cuts: split.name for cell in group for split in cell.splits}
    names = {cuts: known.get(cuts, split_name(cuts)) for cuts in predictor.splits}
    first, *last = predictor.end_points
    ends = {first: f"all on {predictor.hosts[0]}"}
    ends |= {cuts: _suffixed(f"all on {predictor.hosts[-1]}", cuts) for cuts in last}
    compared = [(cell, errors(cell, predictor)) for cell in group]
    place = f"whatif-{slug(group[0].id)}"
    return {
        **sheet.heading(group),
        "id": place,
        "notes": (*((_FIRST_HOP,) if len(predictor.hosts) > 2 else ()), *predictor.notes),
        "ends": [*ends.values()],
        "rows": [_row(cell, found, names, ends) for cell, found in compared],
        "bars": [sentence for cell, found in compared if (sentence := bar(cell, found))],
        "ranges": _range_lines(group, predictor, names),
        "scenarios": [cell.scenario for cell, found in compared if found.splits],
        "errors": _error_rows([found for _, found in compared if found.splits]),
        "data": {
            "id": place,
            "model": coefficients(predictor),
            "splits": _uncoded(names),
            "ends": _uncoded(ends),
            "measured": [
                {
                    "scenario": cell.scenario,
                    "points": [
                        [
                            split.name,
                            *(_short(split.own.median(one)) for one in PREDICTED),
                            *listed(split.cuts)[len(split.cuts) :],
                        ]
                        for split in (*cell.measured, *cell.end_points)
                        if split.runs
                    ],
                }
                for cell in group
            ],
        },
    }


def _suffixed(name: str, cuts: Cuts) -> str:
    return name if codec_of(cuts) == NONE else f"{name} {codec_of(cuts)}"


def _uncoded(names: Mapping[Cuts, str]) -> list[tuple[str, Cuts]]:
    """Return names and cut points without codecs, which the page's switch adds."""
    found = {tuple(cuts): name.removesuffix(f" {codec_of(cuts)}") for cuts, name in names.items()}
    return [(name, cuts) for cuts, name in found.items()]


def coefficients(predictor: Predictor) -> dict[str, Any]:
    codings = {
        name: {"bytes": one.boundary_bytes, "encode": one.encode_s, "decode": one.decode_s}
        for name, one in predictor.codings.items()
    }
    return {
        **({"codecs": codings} if codings else {}),
        **({"replicas": predictor.replicas} if max(predictor.replicas) > 1 else {}),
        "compute": predictor.compute_s,
        "bytes": predictor.boundary_bytes,
        "transports": [asdict(hop) for hop in predictor.transports],
        "networks": [asdict(network) for network in predictor.networks],
        "back_mbit": predictor.back_mbit,
        "batch_size": predictor.batch_size,
        "window": predictor.window,
        "saturate": predictor.saturate,
        "slow_start": predictor.slow_start,
    }


def _row(
    cell: Cell,
    found: Errors,
    names: dict[Cuts, str],
    ends: dict[Cuts, str],
) -> dict[str, Any]:
    network, predictor = found.network, found.predictor
    at = {
        cuts: predictor.predict(cuts, network.rtt_ms, network.rate_mbit) for cuts in (*names, *ends)
    }
    fast = min(names, key=lambda cuts: at[cuts].latency_s)
    busy = min(names, key=lambda cuts: -at[cuts].throughput_img_s)
    lower = [objective.lower for objective in PREDICTED]
    even, _ = balanced({cuts: astuple(at[cuts]) for cuts in names}, lower)
    return {
        "scenario": cell.scenario,
        "network": ", then ".join(map(said_network, (network, *predictor.networks[1:]))),
        "choices": [f"{names[cuts]}: {_said(at[cuts])}" for cuts in (fast, busy, even)],
        "ends": [_said(at[cuts]) for cuts in ends],
    }


def bar(cell: Cell, found: Errors) -> str:
    """State a cell's prediction errors: median, and worst with its split."""
    latency, throughput = found.latency, found.throughput
    if latency is None or throughput is None:
        return ""
    ends = len({error.cuts for error in found.splits} & {end.cuts for end in cell.end_points})
    return (
        f"{cell.scenario}: latency off by {_off(latency)}; throughput by {_off(throughput)} "
        f"({count(latency.n - ends, 'split')}, {count(ends, 'end point')})."
    )


def _off(summary: Summary) -> str:
    return (
        f"{percent(summary.median)} in the median, {signed(summary.worst)} at {summary.worst_name}"
    )


def signed(ratio: float) -> str:
    """Return a signed percentage: +4.1 %, −12 %."""
    return ("−" if ratio < 0 else "+") + percent(ratio)


def _error_rows(compared: Sequence[Errors]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each split's predictions and errors, by scenario."""
    known = [{error.name: _error(error) for error in found.splits} for found in compared]
    names = dict.fromkeys(name for errors in known for name in errors)
    return [(name, [errors.get(name, ("–", "–")) for errors in known]) for name in names]


def _error(error: Error) -> tuple[str, str]:
    return (
        f"{number(error.predicted.latency_s)} s, {signed(error.latency)}",
        f"{number(error.predicted.throughput_img_s)} images/s, {signed(error.throughput)}",
    )


def _range_lines(group: Sequence[Cell], predictor: Predictor, names: dict[Cuts, str]) -> list[str]:
    """Give each split's predicted range of round-trip times and rates."""
    lines = []
    rtts, rates = _grid(*RTT_MS), _grid(*RATE_MBIT)
    for cell in group:
        rate, under = predictor.network(cell.plan).rate_mbit, predictor.under(cell.plan)
        lines += [
            f"{one.title} at the rate of {cell.scenario}: "
            + _changes(best_by_rtt(under, rate, rtts, one), names, _ms)
            for one in PREDICTED
        ]
    rtt_ms, under = predictor.network(group[0].plan).rtt_ms, predictor.under(group[0].plan)
    lines += [
        f"{one.title} at the round-trip time of {group[0].scenario}: "
        + _changes(best_by_rate(under, rtt_ms, rates, one), names, _mbit)
        for one in PREDICTED
    ]
    return lines


def _changes(ranges: Sequence[Range], names: dict[Cuts, str], unit: Callable[[float], str]) -> str:
    """Return 'P17 up to 12.0 Mbit/s, then P3.'"""
    if len(ranges) == 1:
        low, high, cuts = ranges[0]
        return f"{names[cuts]} everywhere from {unit(low)} to {unit(high)}."
    shown = ranges[:_RANGES]
    parts = [f"{names[cuts]} up to {unit(high)}" for _, high, cuts in shown[:-1]]
    _, high, cuts = shown[-1]
    if len(shown) < len(ranges):
        left = count(len(ranges) - len(shown), "more change")
        return f"{', then '.join(parts)}, then {names[cuts]} up to {unit(high)}, then {left}."
    return f"{', then '.join(parts)}, then {names[cuts]}."


def _grid(low: float, high: float) -> list[float]:
    return [low * (high / low) ** (step / _GRID) for step in range(_GRID + 1)]


def _ms(value: float) -> str:
    return f"{number(value)} ms"


def _mbit(value: float) -> str:
    return f"{number(value)} Mbit/s" if value < 1000 else f"{number(value / 1000)} Gbit/s"


def _said(prediction: Prediction) -> str:
    return f"{number(prediction.latency_s)} s, {number(prediction.throughput_img_s)} images/s"


def _short(value: float) -> float:
    return float(f"{value:.5g}")
