"""Latency and throughput as goals: how to say them, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports.data.cells import Cell, Split
from reports.page.figures import busiest, fastest, latency, throughput
from reports.statistics.within import Goal


@dataclass(frozen=True)
class Measure:
    """One goal in words: 'P3 answers in 0.21 s, 1.8 times as fast as P9'."""

    goal: Goal
    best: Callable[[Cell], Split]
    say: Callable[[Split], str]
    does: str
    than: str
    gain: Callable[[Split, Split], float]  # how many times as good the first is


LATENCY = Measure(
    "latency",
    fastest,
    latency,
    "answers in",
    "as fast as",
    lambda one, other: other.latency / one.latency,
)
THROUGHPUT = Measure(
    "throughput",
    busiest,
    throughput,
    "moves",
    "as many as",
    lambda one, other: one.throughput / other.throughput,
)
BOTH = (LATENCY, THROUGHPUT)
