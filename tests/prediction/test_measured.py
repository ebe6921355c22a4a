"""The model held against real runs: the benchmark's pipelines, stage by stage measured alone."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from paretopipe_runtime.contract.factors import Variant
from reports.data.profiles import Link, Transfer
from reports.prediction.predictor import Network, Prediction, Predictor
from reports.prediction.transport import Transport
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


def predicted(network: str, case: tuple[str, str], rtt_ms: float, rate: float) -> Prediction:
    """Predict a case from its stages alone: runs whose stages sent nothing but headers."""
    wanted = {"model": case[0], "split": case[1]}
    alone = rows(network, "pipeline", variant="alone", **wanted)
    first, second = (median(row["compute_s"][k]["latency"] for row in alone) for k in (0, 1))
    run = rows(network, "pipeline", variant="socket", **wanted)[0]
    predictor = Predictor(
        hosts=("one", "two"),
        compute_s=((0.0, first, first + second),) * 2,
        boundary_bytes=(0, run["hop_bytes"], 320),
        transports=(transport(),),
        networks=(Network(0.0, None),),
        batch_size=8,
        batches=run["batches"],
        window=RESULTS[network]["window"],
        slow_start=False,
    )
    return predictor.predict((1,), rtt_ms, rate)


def seen(network: str, case: tuple[str, str], name: str) -> float:
    """Return the median of a figure over a case's runs."""
    runs = rows(network, "pipeline", variant="socket", model=case[0], split=case[1])
    return float(median(row[name] for row in runs))


@pytest.mark.parametrize("case", splits("wan"))
def test_a_slow_long_link_is_predicted_within_five_percent(case: tuple[str, str]) -> None:
    found = predicted("wan", case, 200, 5)
    assert found.latency_s == pytest.approx(seen("wan", case, "latency_s"), rel=0.05)
    assert found.throughput_img_s == pytest.approx(seen("wan", case, "img_s"), rel=0.05)


@pytest.mark.parametrize("case", splits("gigabit"))
def test_a_fast_link_is_predicted_within_what_the_docs_admit(case: tuple[str, str]) -> None:
    found = predicted("gigabit", case, 0, 1000)
    assert found.latency_s == pytest.approx(seen("gigabit", case, "latency_s"), rel=0.1)
    # Receiving on a host of one processor takes more from a stage than a link can show.
    assert found.throughput_img_s == pytest.approx(seen("gigabit", case, "img_s"), rel=0.25)
