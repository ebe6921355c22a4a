"""The model held against real runs: the benchmark's pipelines, from their own stages' times.

Times of other runs would bring in how the machine scatters, by 10 % and more here.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from paretopipe_runtime.contract.factors import Variant
from paretopipe_runtime.prediction.predictor import Network, Prediction, Predictor
from paretopipe_runtime.prediction.profiles import Link, Transfer
from paretopipe_runtime.prediction.transport import Transport
from tests.made import figures as made

RESULTS = json.loads(
    (Path(__file__).parents[2] / "docs" / "benchmarks" / "results.json").read_text()
)
UNSHAPED_MBIT = 25_000.0


def rows(network: str, part: str, **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows of a benchmark that have these values."""
    found = (row for row in RESULTS[network]["rows"] if row["part"] == part)
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def splits(network: str) -> list[tuple[str, str]]:
    """Return model and split of every case of a network."""
    cases = rows(network, "pipeline", variant="socket")
    return list(dict.fromkeys((row["model"], row["split"]) for row in cases))


def transport() -> Transport:
    """Return the coefficients of the transport measured unshaped."""
    moved = rows("unshaped", "transport", method="ours/tuned")
    transfers = tuple(
        Transfer(
            size,
            made.spread(median(row["one_way_s"] for row in moved if row["nbytes"] == size)),
            made.spread(median(size / row["bytes_s"] for row in moved if row["nbytes"] == size)),
        )
        for size in sorted({row["nbytes"] for row in moved})
    )
    return Transport.of(
        Link(("one", "two"), Variant(backend="socket"), 0.0, UNSHAPED_MBIT, transfers, 5)
    )


def predicted(network: str, run: dict[str, Any], phase: str) -> Prediction:
    """Predict a run from its stages' times in one of its phases."""
    first, second = (stage[phase] for stage in run["compute_s"])
    predictor = Predictor(
        hosts=("one", "two"),
        compute_s=((0.0, first, first + second),) * 2,
        boundary_bytes=(0, run["hop_bytes"], 320),
        transports=(transport(),),
        networks=(Network(0.0, None),),
        batch_size=8,
        window=RESULTS[network]["window"],
        saturate=True,
        slow_start=False,
    )
    link = RESULTS[network]["link"]
    return predictor.predict((1,), 1000 * link["delay_s"], link["rate_mbit"])


@pytest.mark.parametrize(
    ("network", "case"), [(name, case) for name in ("wan", "gigabit") for case in splits(name)]
)
def test_measured_pipelines_are_predicted_within_five_percent(
    network: str, case: tuple[str, str]
) -> None:
    runs = rows(network, "pipeline", variant="socket", model=case[0], split=case[1])
    latency = [predicted(network, run, "latency").latency_s / run["latency_s"] for run in runs]
    throughput = [
        predicted(network, run, "throughput").throughput_img_s / run["steady_img_s"] for run in runs
    ]
    assert median(latency) == pytest.approx(1, abs=0.05)
    assert median(throughput) == pytest.approx(1, abs=0.05)
