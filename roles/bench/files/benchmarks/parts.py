"""Measure the benchmark's parts, each within its time budget.

The order of cases rotates between rounds, so that drift of the machine does not pass for a
difference.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from benchmarks.limits import Row, allocator_of, backend_of
from benchmarks.node import TIMEOUT_S, Form, peer_port
from benchmarks.runs import Case, Laboratory
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.keys import Keys

MOST_FAILURES = 2
Item = TypeVar("Item")
#: Reports the next measurement; False when the benchmark must stop.
Step = Callable[[str], bool]


def interleaved(
    groups: Sequence[Sequence[Item]], rounds: int, budget_s: float
) -> Iterator[tuple[int, Item]]:
    """Yield (round, item) for as many rounds as fit into the budget.

    Each round starts a group at another item; the last may exceed the budget by a quarter.
    """
    began = time.monotonic()
    for round_ in range(1, rounds + 1):
        round_began = time.monotonic()
        for group in filter(None, groups):
            turn = (round_ - 1) % len(group)
            for item in (*group[turn:], *group[:turn]):
                if time.monotonic() - began > 1.25 * budget_s:
                    return
                yield round_, item
        now = time.monotonic()
        if now - began + (now - round_began) > budget_s:
            return


def cases(part: str, settings: dict[str, Any]) -> list[list[Case]]:
    """Return a part's groups of cases."""
    groups = []
    for case in settings["cases"]:
        wanted = engines(case.get("engines") or settings.get("engines") or ["eager"])
        own = {name: value for name, value in case.items() if name not in ("engines", "variants")}
        groups.append(
            [
                Case(part=part, engine=engine, variant=variant, **own)
                for engine in wanted
                for variant in case["variants"]
            ]
        )
    return groups


def engines(wanted: list[str]) -> list[str]:
    """Expand ``[all]``."""
    return list(ENGINES) if wanted == ["all"] else wanted


def steps(part: str, settings: dict[str, Any]) -> int:
    """Return the maximum number of measurements."""
    if part == "transport":
        items = len(settings["sizes"]) * len(settings["methods"])
    else:
        items = sum(map(len, cases(part, settings)))
    return items * int(settings["rounds"])


def measure_cases(
    laboratory: Laboratory, part: str, settings: dict[str, Any], step: Step
) -> tuple[list[Row], list[str]]:
    """Measure a part's cases; return rows, and sentences about failures and cases not reached.

    A variant and engine that cannot run or failed twice is not tried again.
    """
    rows: list[Row] = []
    reached: set[Case] = set()
    failures: dict[tuple[str, str, str], list[str]] = {}
    groups = cases(part, settings)
    for round_, case in interleaved(groups, settings["rounds"], settings["budget_s"]):
        failed = failures.setdefault((case.model, case.variant, case.engine), [])
        if len(failed) >= MOST_FAILURES:
            continue
        if not step(case.label):
            break
        row = laboratory.measure(case, round_)
        rows.append(row)
        reached.add(case)
        if row["status"] != "ok":
            weight = MOST_FAILURES if row["status"] == "failed:E_ENGINE" else 1
            failed += weight * [row.get("message") or row["status"]]
    notes = [
        f"{case.label} was not reached in {settings['budget_s']} s"
        for group in groups
        for case in group
        if case not in reached
    ]
    notes += [
        f"{part}: {model} {variant} {engine}: {reasons[-1]}"
        for (model, variant, engine), reasons in failures.items()
        if reasons
    ]
    return rows, notes


def measure_transport(
    document: dict[str, Any], keys: Keys, step: Step
) -> tuple[list[Row], list[str]]:
    """Measure the transport methods between the two workers."""
    settings = document["transport"]
    rows: list[Row] = []
    notes: list[str] = []
    groups: list[list[tuple[Form, Channel]]] = []
    with contextlib.ExitStack() as stack:
        for size in settings["sizes"]:
            groups.append([])
            for method in settings["methods"]:
                form = Form(backend_of(method), allocator_of(method), **size)
                try:
                    channel = _open(document["workers"], form, keys, stack)
                except ParetoPipeError as error:
                    notes.append(f"transport: {method}, {form.nbytes} B: {error}")
                    continue
                groups[-1].append((form, channel))
        for form, channel in (pair for group in groups for pair in group):
            _round(channel, form)  # warms up connections, buffers and congestion windows
        rounds = interleaved(groups, settings["rounds"], settings["budget_s"])
        for round_, (form, channel) in rounds:
            method = f"{form.method}/{form.allocator}"
            if not step(f"transport: {method} {form.nbytes} B"):
                break
            times = _round(channel, form)
            rows.append(
                {
                    "network": document["network"]["name"],
                    "part": "transport",
                    "method": method,
                    "nbytes": form.nbytes,
                    "round": round_,
                    "one_way_s": round(statistics.median(times["one_way_s"]), 7),
                    "stream_s": round(times["stream_s"], 7),
                    "bytes_s": round(form.nbytes * form.streams / times["stream_s"]),
                    "processor_s": [round(spent, 7) for spent in times["processor_s"]],
                    **({"cipher": times["cipher"]} if times["cipher"] else {}),
                }
            )
    return rows, notes


def _open(
    workers: list[dict[str, Any]], form: Form, keys: Keys, stack: contextlib.ExitStack
) -> Channel:
    """Connect to the sender until `stack` ends, and wait until it has reached the receiver."""
    sender, receiver = workers
    hello = {
        "role": "send",
        "form": asdict(form),
        "to": [receiver["host"], receiver["address"], peer_port(receiver["port"])],
    }
    address = (sender["address"], peer_port(sender["port"]))
    sock, _ = handshake.connect(address, keys.towards(sender["host"]), hello, timeout=TIMEOUT_S)
    channel = Channel(sock, sender["host"])
    stack.callback(channel.close)
    channel.receive_message(TIMEOUT_S)
    return channel


def _round(channel: Channel, form: Form) -> dict[str, Any]:
    channel.send_message({"nbytes": form.nbytes}, timeout=TIMEOUT_S)
    return channel.receive_message(TIMEOUT_S)
