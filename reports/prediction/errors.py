"""Errors of predictions against measured splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from paretopipe_runtime.prediction.predictor import Network, Prediction, Predictor
from reports.data.cells import Cell, Cuts, Split
from reports.objectives import LATENCY, THROUGHPUT
from reports.words import number


@dataclass(frozen=True)
class Error:
    """One split's errors: predicted / measured median - 1."""

    name: str
    cuts: Cuts
    predicted: Prediction
    latency: float
    throughput: float


@dataclass(frozen=True)
class Errors:
    """A cell's errors, end points last, at its measured networks."""

    network: Network  # of the first hop
    predictor: Predictor  # with those of the later hops
    splits: tuple[Error, ...]

    @property
    def latency(self) -> Summary | None:
        return Summary.of([(error.name, error.latency) for error in self.splits])

    @property
    def throughput(self) -> Summary | None:
        return Summary.of([(error.name, error.throughput) for error in self.splits])


@dataclass(frozen=True)
class Summary:
    """The median absolute error, and the worst with its sign and split."""

    median: float
    worst: float
    worst_name: str
    n: int

    @classmethod
    def of(cls, errors: Sequence[tuple[str, float]]) -> Summary | None:
        if not errors:
            return None
        name, worst = max(errors, key=lambda pair: abs(pair[1]))
        return cls(median(abs(error) for _, error in errors), worst, name, len(errors))


def errors(cell: Cell, predictor: Predictor) -> Errors:
    network, predictor = predictor.network(cell.plan), predictor.under(cell.plan)
    known = {*predictor.splits, *predictor.end_points}
    measured = (*cell.splits, *cell.end_points)
    splits = [split for split in measured if split.runs and split.cuts in known]
    found = tuple(_error(split, predictor, network) for split in splits)
    return Errors(network, predictor, found)


def said_network(network: Network) -> str:
    """Return '200 ms, 5.00 Mbit/s'."""
    rate = f"{number(network.rate_mbit)} Mbit/s" if network.rate_mbit else "no limit to the rate"
    return f"{number(network.rtt_ms)} ms, {rate}"


def _error(split: Split, predictor: Predictor, network: Network) -> Error:
    predicted = predictor.predict(split.cuts, network.rtt_ms, network.rate_mbit)
    own = split.own  # what is believed is drawn towards the prediction
    return Error(
        split.name,
        split.cuts,
        predicted,
        predicted.latency_s / own.median(LATENCY) - 1,
        predicted.throughput_img_s / own.median(THROUGHPUT) - 1,
    )
