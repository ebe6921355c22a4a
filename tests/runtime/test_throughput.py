"""The sustained rate, against pipelines whose rate is known, and the window that fills a link."""

from __future__ import annotations

import itertools
import random
from statistics import fmean

import pytest

from paretopipe_runtime.contract.chain import INPUT_BATCHES
from paretopipe_runtime.contract.measures import pace_s, sustained_img_s
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.orchestrator.record import _throughput
from paretopipe_runtime.orchestrator.runs import expand, run_of
from tests.runtime.test_plan import document

Stations = list[tuple[float, float]]  # seconds that a batch occupies one, and of delay behind it


def completions(
    stations: Stations, batches: int, window: int, scatter: float = 0.0, seed: int = 0
) -> list[float]:
    """When batches leave a line of stations, each of which takes one at a time, in order."""
    source = random.Random(seed)
    free = [0.0] * len(stations)
    done: list[float] = []
    for batch in range(batches):
        now = done[batch - window] if batch >= window else 0.0
        for place, (busy_s, delay_s) in enumerate(stations):
            free[place] = max(now, free[place]) + busy_s * source.lognormvariate(0, scatter)
            now = free[place] + delay_s
        done.append(now)
    return done


# Latency of one to three paces, at any place of the slowest station, with a delay or without.
LINES = [
    [((1.0 if place == slowest else other), delay if place == 1 else 0.0) for place in range(3)]
    for slowest, other, delay in itertools.product(range(3), (0.0, 0.2, 0.5, 1.0), (0.0, 0.7))
]


@pytest.mark.parametrize("batches", [8, 12, 16, 33, 64])
@pytest.mark.parametrize("window", [1, 2, 3, 4, 6, 7])
def test_the_pace_is_the_pipeline_s_however_long_it_takes_to_fill(
    batches: int, window: int
) -> None:
    for stations in LINES:
        latency = sum(busy_s + delay_s for busy_s, delay_s in stations)
        truth = max(1.0, latency / window)  # of the slowest station, or of the window
        found = pace_s(completions(stations, batches, window), window)
        assert found == pytest.approx(truth, rel=1e-9), (stations, latency)


def test_the_pace_is_unbiased_where_times_scatter() -> None:
    stations = [(0.6, 0.0), (1.0, 0.0), (0.5, 0.0)]
    long = completions(stations, 20_000, 4, scatter=0.1)
    truth = (long[-1] - long[1000]) / (len(long) - 1001)
    paces = [pace_s(completions(stations, 16, 4, 0.1, seed), 4) for seed in range(600)]
    assert fmean(paces) == pytest.approx(truth, rel=0.005)


def test_older_records_have_their_rate_from_their_completions() -> None:
    done = completions([(0.5, 0.0), (1.0, 0.0)], 16, 4)
    old = {"completion_s": done, "window": 4, "img_s": 16 * 8 / done[-1], "steady_img_s": 8.0}
    assert old["img_s"] == pytest.approx(8 * 16 / 16.5)  # it pays for filling
    assert sustained_img_s(old) == pytest.approx(8)
    assert sustained_img_s({**old, "sustained_img_s": 7.5}) == 7.5
    assert pace_s([2.0], 4) == 2.0
    assert pace_s([2.0, 3.0], 4) == 1.0
    with pytest.raises(ValueError, match="does not increase"):
        pace_s([1.0, 1.0], 4)


def test_the_window_fills_a_long_link_and_stays_where_it_is_full_already() -> None:
    far = {"delay": "200ms", "rate": "5mbit", "direction": "egress"}
    scenario = {"name": "far", "netem": far, "measured": None}
    sizes = {(1,): [6_422_528, 320], (9,): [131_072, 320], (17,): [20_480, 320]}

    def runs(**changes: object) -> dict[tuple[int, ...], tuple[int, int]]:
        plan = read_plan(
            document(**{"scenario": scenario, "splits": [*map(list, sizes)], **changes})
        )
        return {run.cuts: (run.window, run.throughput_batches) for run in expand(plan, sizes.get)}  # type: ignore[arg-type]

    # 20 kB take 34 ms, so 6 of them are under way, and one is at each stage and hop.
    assert runs(saturate=True) == {(1,): (4, 6), (9,): (4, 16), (17,): (9, 9 + 17)}
    assert runs() == {(1,): (4, 6), (9,): (4, 16), (17,): (4, 16)}
    assert runs(saturate=True, scenario=document()["scenario"]) == dict.fromkeys(sizes, (4, 16))
    both = {**scenario, "netem": {**far, "direction": "symmetric"}}
    window, _ = runs(saturate=True, scenario=both)[(17,)]
    assert window > 9
    assert window % INPUT_BATCHES
    # The rule's own promise, on a line with the stages as slow as the link.
    busy_s = 20_480 * 8 * 1514 / 1448 / 5e6
    line = [(busy_s, 0.0), (busy_s, 0.2), (busy_s, 0.0)]
    assert pace_s(completions(line, 17, 9), 9) == pytest.approx(busy_s)
    assert pace_s(completions(line, 16, 4), 4) > 1.9 * busy_s


def test_the_pace_is_that_of_a_link_tcp_has_filled() -> None:
    far = {"name": "far", "netem": {"delay": "200ms", "rate": "5mbit"}, "measured": None}
    plan = read_plan(document(scenario=far, splits=[[17]], saturate=True))
    run = run_of(plan, lambda _cuts: [5_120, 320], (17,), repeat=1)
    assert run.ramp_batches == run.window > 20
    done: list[float] = []
    sent, burst = 0, 10 * 1448  # ten segments in the first round trip, then twice as many
    for round_trip in range(1, 9):
        sent, burst = sent + burst, min(2 * burst, run.window * 5_120)
        done += [0.2 * round_trip + 1e-3 * n for n in range(sent // 5_120 - len(done))]
    phase = {"completion_s": done[: run.throughput_batches], "window": run.window}
    found = _throughput(plan, run.ramp_batches, phase)["sustained_img_s"]
    truth = plan.workload.batch_size * run.window / 0.2
    assert found == pytest.approx(truth, rel=0.02)
    assert _throughput(plan, 0, phase)["sustained_img_s"] < 0.8 * truth
