"""Measure the benchmark's parts, each within its time budget.

The order of cases rotates between rounds, so that drift of the machine does not pass for a
difference.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from benchmarks.form import TIMEOUT_S, Form
from benchmarks.node import peer_port
from benchmarks.runs import Case, Laboratory
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel

MOST_FAILURES = 2
Item = TypeVar("Item")
Row = dict[str, Any]
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
        for group in groups:
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
    return [
        [
            Case(
                part,
                case["model"],
                int(case["cut"]),
                variant,
                engine,
                int(case.get("warmup", 1)),
                int(case.get("latency", 3)),
                int(case.get("throughput", 8)),
            )
            for engine in engines(case.get("engines") or settings.get("engines") or ["eager"])
            for variant in case["variants"]
        ]
        for case in settings["cases"]
    ]


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
    failures: dict[tuple[str, str, str], list[str]] = {}
    groups = cases(part, settings)
    for round_, case in interleaved(groups, int(settings["rounds"]), float(settings["budget_s"])):
        failed = failures.setdefault((case.model, case.variant, case.engine), [])
        if len(failed) >= MOST_FAILURES:
            continue
        if not step(case.label):
            break
        row = laboratory.measure(case, round_)
        rows.append(row)
        if row["status"] != "ok":
            weight = MOST_FAILURES if row["status"] == "failed:E_ENGINE" else 1
            failed += weight * [row.get("message") or row["status"]]
    reached = {(row["model"], row["split"], row["variant"], row["engine"]) for row in rows}
    notes = [
        f"{case.label} was not reached in {settings['budget_s']} s"
        for case in (case for group in groups for case in group)
        if (case.model, f"P{case.cut}", case.variant, case.engine) not in reached
    ]
    notes += [
        f"{part}: {model} {variant} {engine}: {reasons[-1]}"
        for (model, variant, engine), reasons in failures.items()
        if reasons
    ]
    return rows, notes


def measure_transport(
    document: dict[str, Any], key: bytes, step: Step
) -> tuple[list[Row], list[str]]:
    """Measure the transport methods between the two workers."""
    settings = document["transport"]
    rows: list[Row] = []
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        groups: list[list[tuple[Form, Channel]]] = []
        for size in settings["sizes"]:
            group = []
            for method in settings["methods"]:
                name, _, setting = method.partition("/")
                form = Form(name, setting or "tuned", **{k: int(v) for k, v in size.items()})
                try:
                    channel = _open(document["workers"], form, key)
                except ParetoPipeError as error:
                    notes.append(f"transport: {method}, {form.nbytes} B: {error}")
                    continue
                stack.callback(channel.close)
                group.append((form, channel))
            groups.append(group)
        rounds, budget_s = int(settings["rounds"]), float(settings["budget_s"])
        for form, channel in (pair for group in groups for pair in group):
            _round(channel, form)  # warms up connections, buffers and congestion windows
        for round_, (form, channel) in interleaved(groups, rounds, budget_s):
            if not step(f"transport: {form.method}/{form.allocator} {form.nbytes} B"):
                break
            times = _round(channel, form)
            rows.append(
                {
                    "network": document["network"]["name"],
                    "part": "transport",
                    "method": f"{form.method}/{form.allocator}",
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


def _open(workers: list[dict[str, Any]], form: Form, key: bytes) -> Channel:
    sender, receiver = workers
    hello = {
        "role": "send",
        "form": form.to_message(),
        "to": [receiver["host"], receiver["address"], peer_port(int(receiver["port"]))],
    }
    address = (sender["address"], peer_port(int(sender["port"])))
    sock, _ = handshake.connect(address, key, hello, timeout=TIMEOUT_S)
    channel = Channel(sock, sender["host"])
    try:
        channel.receive_message(TIMEOUT_S)
    except ParetoPipeError:
        channel.close()
        raise
    return channel


def _round(channel: Channel, form: Form) -> dict[str, Any]:
    channel.send_message({"nbytes": form.nbytes}, timeout=TIMEOUT_S)
    return channel.receive_message(TIMEOUT_S)
