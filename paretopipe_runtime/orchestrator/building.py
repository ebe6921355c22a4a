"""Build stages before a sweep, for engines that take longer over the first load than a launch may.

Each is loaded alone on its worker, which keeps what was made: runs find it there.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.contract.factors import ENGINES, Variant
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import stage_ranges
from paretopipe_runtime.contract.units import duration
from paretopipe_runtime.orchestrator.drive import launched
from paretopipe_runtime.orchestrator.orders import Part, orders_of
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Expected
from paretopipe_runtime.orchestrator.prepared import Prepared
from paretopipe_runtime.orchestrator.runs import Run
from paretopipe_runtime.wire.keys import Keys

WORTH_SAYING_S = 5.0  # longer than loading what is there


def build(
    plan: Plan,
    worker: Worker,
    runs: Iterable[Run],
    prepared: Prepared,
    keys: Keys,
    built: set[Any],
    say: Callable[[str], None],
) -> None:
    """Build the stages that `worker` has in `runs`, and the whole model; note them in `built`.

    Raises
    ------
    ParetoPipeError
        As `launched`; what is built already stays.
    """
    workload, last = plan.workload, len(prepared.boundaries) - 1
    if not ENGINES[workload.engine].built:
        return
    ranges = {(0, last)}
    for run in runs:
        own = zip(run.workers, stage_ranges(run.cuts, last), strict=True)
        ranges |= {(first, end) for at, (first, end) in own if worker in at.each and first < end}
    for first, end in sorted(ranges):
        name = (worker.host, workload.engine, *workload.factors.items(), first, end)
        if name in built:
            continue
        built.add(name)
        seconds = _build(plan, worker, first, end, prepared, keys)
        if seconds > WORTH_SAYING_S:
            say(
                f"{worker.host}: blocks {first}…{end} of {workload.model} built for engine "
                f"{workload.engine} in {duration(seconds)}"
            )


def _build(
    plan: Plan, worker: Worker, first: int, end: int, prepared: Prepared, keys: Keys
) -> float:
    """Load one stage alone on `worker`, without a batch; return the seconds that took."""
    variant = Variant({**plan.chain.variant, "backend": "socket"})  # no hub that would wait for it
    chain = dataclasses.replace(plan.chain, workers=(worker,), hub=None, variant=variant)
    part = Part(first, end, prepared.boundaries[first], prepared.boundaries[end])
    deadlines = Deadlines.of(chain, [part.gives.nbytes])
    workload = dataclasses.replace(plan.workload, image_px=0)  # blocks may take other than images
    run_id = f"build-{secrets.token_hex(4)}"
    (order,) = orders_of(chain, [part], run_id, deadlines, workload, prepared.manifest)
    order = dataclasses.replace(order, input_batches=0)
    expected = Expected(part.gives, (), ENGINES[workload.engine].tolerance)

    def load() -> float:
        with launched([order], chain, keys, expected, deadlines) as driver:
            driver.finish()
        return float(driver.ready[0]["load_s"])

    return float(forked.call(load))
