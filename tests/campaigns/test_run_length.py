"""Few long rounds or many short ones, at equal time, where noise lasts for seconds.

Planted: 20 splits (two equal devices), timed batch by batch on a machine whose speed is a
stationary Gaussian process: 10 % standard deviation, correlated over 1, 3 or 10 seconds (AR(1)),
the same for both hosts, and 3 % of each batch's own. A run starts its processes in 0.31 s (median
of 360 runs of `make demo` on an unshaped network), then come warm-up, latency and throughput
batches. As many whole rounds as fit.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from tests.campaigns.conftest import Findings
from tests.made import worlds
from tests.statistics import characteristics

SWEEPS = 100
START_S = 0.31
SD, OWN = 0.10, 0.03
#: By experiment: the rounds of the first, then warm-up, latency and throughput batches of a run.
DESIGNS = {
    "full": (5, ((2, 5, 16), (1, 3, 10), (1, 2, 8), (1, 1, 6))),
    "demo": (3, ((1, 3, 8), (1, 1, 8), (1, 1, 6))),
}

Floats = NDArray[np.float64]


def measured(
    rng: np.random.Generator,
    true: Floats,
    lengths: tuple[int, int, int],
    rounds: int,
    last_s: float,
) -> Floats:
    """Measure a sweep in random order by round; return logarithms as ``worlds.runs`` does."""
    warmup, latency, throughput = lengths
    batch_s = np.column_stack([np.exp(true[:, 0]), 8 / np.exp(true[:, 1])])
    order = np.concatenate([rng.permutation(len(true)) for _ in range(rounds)])
    alone = np.repeat(batch_s[order, :1], warmup + latency, axis=1)
    full = np.repeat(batch_s[order, 1:], throughput, axis=1)
    took = np.hstack([np.full((len(order), 1), START_S), alone, full])
    ends = np.cumsum(took.ravel()).reshape(took.shape)
    noise = _mean(rng, ends - took, ends, last_s) + OWN * rng.standard_normal(took.shape)
    timed = took * np.exp(noise)
    lone = np.median(timed[:, 1 + warmup : 1 + warmup + latency], axis=1)
    # Between completions a window apart: the first ones only begin.
    pace = timed[:, -throughput + 1 :].mean(axis=1)
    table = np.empty((len(true), rounds, 2))
    place = np.repeat(np.arange(rounds), len(true))
    table[order, place] = np.log(np.column_stack([lone, 8 / pace]))
    return table


def _mean(rng: np.random.Generator, starts: Floats, ends: Floats, last_s: float) -> Floats:
    """Return the process's mean over each interval."""
    step = min(last_s / 20, float((ends - starts).min()) / 2)
    keeps = np.exp(-step / last_s)
    count = int(ends.max() / step) + 2
    shocks = SD * np.sqrt(1 - keeps**2) * rng.standard_normal(count)
    shocks[0] = SD * rng.standard_normal()
    summed = np.concatenate([[0.0], np.cumsum(lfilter([1.0], [1.0, -keeps], shocks)) * step])
    times = step * np.arange(count + 1)
    return np.asarray(
        (np.interp(ends, times, summed) - np.interp(starts, times, summed)) / (ends - starts)
    )


def run_s(true: Floats, lengths: tuple[int, int, int]) -> float:
    """Return what a run takes on average, in seconds."""
    lone, pace = np.exp(true[:, 0]).mean(), (8 / np.exp(true[:, 1])).mean()
    return float(START_S + sum(lengths[:2]) * lone + lengths[2] * pace)


@pytest.mark.parametrize("last_s", [1.0, 3.0, 10.0])
@pytest.mark.parametrize(("name", "model_s"), [("demo", 0.07), ("full", 0.5), ("full", 3.0)])
def test_few_long_or_many_short(
    name: str, model_s: float, last_s: float, findings: Findings
) -> None:
    asked, designs = DESIGNS[name]
    for lengths in designs:
        said, errors, inside, counts = [], [], [], []
        for number in range(SWEEPS):
            rng = np.random.default_rng([number, 9])
            true = worlds.truth(rng, worlds.PAIRINGS["Pi to Pi"])
            true += np.log(model_s) * np.array([1.0, -1.0])
            rounds = int(asked * run_s(true, designs[0]) / run_s(true, lengths) + 1e-9)
            logs = measured(rng, true, lengths, rounds, last_s)
            said.append(characteristics.of(true, logs))
            errors.append(np.median(logs, axis=1) - true)
            inside.append((logs.min(axis=1) <= true) & (logs.max(axis=1) >= true))
            counts.append(rounds)
        means, rounds = characteristics.mean(said), float(np.mean(counts))
        scatter = np.sqrt(np.square(errors).mean(axis=(0, 1)))
        findings.add(
            f"{name}, {model_s:4.2f} s a model, noise of {last_s:2.0f} s, {rounds:4.1f} rounds of "
            f"{'+'.join(map(str, lengths)):6} batches: of 20 splits wrong {means.wrong:.2f}, "
            f"undecided {means.undecided:4.1f}, Brier {means.brier:.3f}; medians off by "
            f"{scatter[0]:.1%} (latency), {scatter[1]:.1%}; [min, max] holds {np.mean(inside):.1%} "
            f"of {1 - 2 ** (1 - rounds):.1%}"
        )
