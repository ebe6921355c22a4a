"""What a report reads records into, made from numbers: profiles, links, splits, cells."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Any

from paretopipe_runtime.contract.codecs import CODECS
from paretopipe_runtime.contract.factors import Variant
from paretopipe_runtime.prediction.coding import Coding
from paretopipe_runtime.prediction.predictor import Predictor
from paretopipe_runtime.prediction.profiles import Block, Link, Profile, Transfer
from paretopipe_runtime.prediction.spread import Spread
from reports.data.cells import Cell, Cuts, Split
from reports.data.plans import variant
from reports.prediction.cells import predictor_of

MILLISECOND = 1e-3


def spread(value: float) -> Spread:
    """Return five runs that all saw the same."""
    return Spread(value, value, value, 5)


def profile(
    host: str,
    blocks_s: Sequence[float],
    output_bytes: Sequence[int],
    whole_s: float | None = None,
    **settings: Any,
) -> Profile:
    """Return a profile with these times and outputs of its blocks."""
    blocks = tuple(
        Block(
            **{"index": index, "name": f"block.{index}", "parameters": 0, "weight_bytes": 0},
            **{"flops": 0, "output_shape": (1,), "output_bytes": size},
            **{"compute_s": spread(seconds), "mean_s": spread(seconds)},
            **{"first_s": spread(seconds)},
            **{"peak_rss_bytes": None, "rss_before_bytes": None},
        )
        for index, (seconds, size) in enumerate(zip(blocks_s, output_bytes, strict=True))
    )
    known: dict[str, Any] = {
        **{"model": "mobilenetv2", "host": host},
        **{"classes": 10, "image_px": 224, "batch_size": 8, "input_bytes": 4_816_896},
        **{"whole_s": spread(whole_s) if whole_s else None, "blocks": blocks},
        **{"runs": 5, "attempts": 5},
    }
    how = {"engine": "eager", "allocator": "tuned", "device": "cpu", "emulation": ""}
    own = {key: settings.pop(key, value) for key, value in how.items()}
    return Profile(**{**known, **settings}, variant=Variant(own))


def codings(
    shapes: Sequence[Sequence[int]], encode_s: float, decode_s: float, *names: str
) -> dict[str, tuple[Coding, ...]]:
    """Return codecs (all, if none is named) at boundaries of these shapes; seconds an element."""
    return {
        name: tuple(
            Coding(
                CODECS[name].nbytes(shape),
                *(spread(each * math.prod(shape)) for each in (encode_s, decode_s)),
            )
            for shape in shapes
        )
        for name in names or [*CODECS][1:]
    }


def link(
    hosts: tuple[str, str] = ("pi1", "pi2"),
    fixed_s: float = MILLISECOND,
    byte_s: float = 1e-9,
    rtt_ms: float = 0.2,
    rate_mbit: float = 20_000.0,
    cpu: Sequence[tuple[float, float]] = (),
) -> Link:
    """Return a link whose transfers lie on one line, and so each stage's `cpu`: fixed, per byte."""
    sizes = (4_000, 100_000, 4_000_000)
    transfers = tuple(
        Transfer(
            size,
            spread(fixed_s + rtt_ms / 1e3 + size * byte_s),
            spread(1e-6 + size * byte_s),
            tuple(spread(fixed + size * each) for fixed, each in cpu),
        )
        for size in sizes
    )
    how = Variant(backend="socket", transport="plain", emulation="")
    return Link(hosts, how, rtt_ms, rate_mbit, transfers, 5)


def cell(splits: Sequence[Split] = (), end_points: Sequence[Split] = (), **changed: Any) -> Cell:
    """Return a cell of MobileNetV2 from pi1 to pi2, 20 ms and 50 Mbit/s measured."""
    scenario = {"name": "metro", "measured": {"rtt_ms": 20.0, "rate_mbit": 50.0}}
    known: dict[str, Any] = {
        **{"id": "made", "model": "mobilenetv2", "pairing": "pi_to_pi", "hosts": ("pi1", "pi2")},
        **{"scenario": "metro", "asked": {"delay": "20ms", "rate": "50mbit"}},
        "settings": {"batch_size": 8, "classes": 10, "image_px": 224},
        **{"unlocked": False, "splits": tuple(splits), "end_points": tuple(end_points)},
        "plan": {"scenario": scenario, "throughput_batches": 16, "window": 4},
        "planned": (),
    }
    how = {**variant({}, {}), "allocators": ("tuned", "tuned")}
    own = {key: changed.pop(key, value) for key, value in how.items()}
    return Cell(**{**known, **changed}, variant=Variant(own))


def split(name: str, cuts: Cuts, found: Mapping[str, Spread], **known: Any) -> Split:
    """Return a split with these figures."""
    fields: dict[str, Any] = {
        **{"name": name, "cuts": cuts, "row_id": name, "cut_blocks": (), "figures": found},
        **{"stages": (), "hops": ()},
        **{"phases": ("2", "5", "16"), "attempts": 5, "invalid": 0},
    }
    return Split(**{**fields, **known})


def measured(name: str, cuts: Cuts, latency_s: float, throughput_img_s: float) -> Split:
    """Return a split that was measured five times, always the same."""
    found = {"latency_s": spread(latency_s), "throughput_img_s": spread(throughput_img_s)}
    return split(name, cuts, found)


def predictor(**changed: Any) -> Predictor:
    """Return the predictor of three blocks of 30, 50 and 20 ms on pi1, half of that on pi2."""
    profiles = [
        profile("pi1", [0.03, 0.05, 0.02], [2_000_000, 250_000, 320], whole_s=0.1),
        profile("pi2", [0.015, 0.025, 0.01], [2_000_000, 250_000, 320], whole_s=0.05),
    ]
    found = predictor_of(cell(**changed), profiles, [link()])
    assert isinstance(found, Predictor)
    return found


def simulated(
    stages_s: Sequence[float], hops_s: Sequence[float], delay_s: float, batches: int, window: int
) -> tuple[float, float]:
    """Let batches pass stages and hops event by event; return one's latency and all's makespan.

    Written without the prediction's arithmetic: servers with queues, and a clock.
    """
    servers = [time for pair in zip(stages_s, [*hops_s, 0.0], strict=True) for time in pair][:-1]
    delays = [0.0] * len(servers)
    delays[1] = delay_s

    def last(count: int) -> float:
        events = [(0.0, batch, 0) for batch in range(min(window, count))]
        queues: list[list[int]] = [[] for _ in servers]
        idle, started, done, clock = [True] * len(servers), len(events), 0, 0.0
        while done < count:
            clock, batch, place = heapq.heappop(events)
            if place < 0:  # a server is free again, and what it worked on is on its way
                server = -place - 1
                idle[server] = True
                heapq.heappush(events, (clock + delays[server], batch, server + 1))
            elif place == len(servers):
                done += 1
                if started < count:
                    heapq.heappush(events, (clock, started, 0))
                    started += 1
            else:
                queues[place].append(batch)
            for server, waiting in enumerate(queues):
                if waiting and idle[server]:
                    idle[server] = False
                    heapq.heappush(events, (clock + servers[server], waiting.pop(0), -server - 1))
        return clock

    return last(1), last(batches)
