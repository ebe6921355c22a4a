"""From records of blocks and links to what a prediction is made of."""

from __future__ import annotations

from typing import Any

import pytest

from paretopipe_runtime.prediction.matching import links_of
from paretopipe_runtime.prediction.predictor import Predictor
from paretopipe_runtime.prediction.profiles import Transfer, links, profiles
from reports.prediction.cells import conditions, notes, predictor_of
from tests.made import figures as made

SETTINGS = {"model": "mobilenetv2", "classes": 10, "image_px": 224, "batch_size": 8}


def sample(kind: str, host: str, **seen: Any) -> dict[str, Any]:
    """Return a valid record of one fresh process."""
    return {
        **{"kind": kind, "run_key": f"{host}1", "attempt": 1, "status": "ok", "cell_id": kind},
        **{"factors": {**SETTINGS, "host": host, "hosts": ["pi1", "pi2"]}, **seen},
    }


def profiled(host: str, blocks_s: list[list[float]], whole_s: list[float]) -> dict[str, Any]:
    """Return the profile of blocks with these batches."""
    blocks = [
        {
            **{"index": index, "name": f"block.{index}", "parameters": 0, "weight_bytes": 0},
            **{"flops": 0, "output_shape": [1], "output_bytes": 320, "first_s": 0.1},
            **{"compute_s": batches},
        }
        for index, batches in enumerate(blocks_s)
    ]
    seen = {"input_bytes": 320, "blocks": blocks, "whole_s": whole_s, "device": "cpu"}
    return sample("profile", host, **seen, cpu_percent=50.0)


def coded(host: str, **changed: Any) -> dict[str, Any]:
    """Return the profile of two blocks of which int8 was timed at both boundaries."""
    seen = {"encode_s": [0.01, 0.03], "decode_s": [0.004]}
    row = profiled(host, [[0.1], [0.1]], [0.2])
    row["factors"] |= {"image_px": 2, "codecs": ["int8"]}
    row |= {"input_bytes": 8 * 3 * 2 * 2 * 4, "codecs": {"int8": seen}}
    row["blocks"][0] |= {"output_shape": [8, 10], "codecs": {"int8": {**seen, **changed}}}
    return row


def linked(*cpu_s: Any) -> tuple[Transfer, ...]:
    """Return what is read of a link with one record for each of these processor times."""
    transfer = {"payload_bytes": 4096, "latency_s": [0.001], "pace_s": 0.001}
    rows = [
        sample("link", f"repeat{n}", transfers=[{**transfer, "cpu_s": seen}])
        for n, seen in enumerate(cpu_s)
    ]
    [link] = links(rows)
    return link.transfers


def test_pauses_that_a_median_of_a_short_block_hides_are_spread_where_they_fell() -> None:
    # Each of the four short blocks pauses 40 ms in two of its eight batches, which its median
    # does not show. The long one pauses in every batch.
    paused = [[0.01] * 6 + [0.05] * 2 for _ in range(4)]
    rows = [profiled(host, [*paused, [0.08] * 8], [0.16] * 8) for host in ("pi1", "pi2")]
    found = profiles(rows)
    first = found[0].blocks[0]
    assert (first.compute_s.median, first.mean_s.median) == pytest.approx((0.01, 0.02))
    assert found[0].cpu_percent is not None
    assert found[0].cpu_percent.median == 50
    predictor = predictor_of(made.cell(), found, [])
    assert isinstance(predictor, Predictor)
    # Medians would have said 4 x 10 of 120 ms, a third of the model, where it is half.
    assert predictor.compute_s[0] == pytest.approx((0, 0.02, 0.04, 0.06, 0.08, 0.16))


def test_a_codec_s_times_are_means_of_the_processes_that_have_them() -> None:
    again = {**coded("pi1", encode_s=[0.08]), "run_key": "again"}
    without = {**coded("pi1"), "run_key": "without", "codecs": None}
    del without["blocks"][0]["codecs"]
    (found,) = profiles([coded("pi1"), again, without])
    assert list(found.codings) == ["int8"]
    first, second = found.codings["int8"]
    assert (first.nbytes, second.nbytes) == (8 * 8 + 96, 8 * 8 + 80)  # a range for each image
    assert (first.encode_s.median, first.decode_s.median) == pytest.approx((0.02, 0.004))
    assert (second.encode_s.median, second.encode_s.n) == pytest.approx((0.05, 2))


@pytest.mark.parametrize("damaged", [None, 0.1, [], {}, "0.1", [None], [0.1, -1], [float("inf")]])
def test_codecs_that_were_not_timed_at_every_boundary_are_none(damaged: Any) -> None:
    (found,) = profiles([coded("pi1", decode_s=damaged)])
    assert found.codings == {}
    for place in ("codecs", "output_shape"):
        row = coded("pi1")
        row["blocks"][0][place] = [] if place == "output_shape" else damaged
        assert profiles([row])[0].codings == {}


def test_a_link_s_processor_seconds_are_medians_over_its_processes() -> None:
    [transfer] = linked([0.001, 0.004], [0.002, 0.006], [0.009, 0.005])
    assert [stage.median for stage in transfer.cpu_s] == [0.002, 0.005]
    assert {stage.n for stage in transfer.cpu_s} == {3}


def test_a_link_over_tls_is_a_link_of_its_own() -> None:
    transfers = [{"payload_bytes": 4096, "latency_s": [0.001]}]
    plain = sample("link", "plain", transfers=transfers)
    slower = sample("link", "tls", transfers=[{**transfers[0], "latency_s": [0.003]}])
    slower["factors"]["transport"] = "tls"
    found = links([slower, plain])
    assert {link.variant["transport"]: link.transfers[0].latency_s.median for link in found} == {
        "plain": 0.001,
        "tls": 0.003,
    }
    for transport in ("plain", "tls"):
        (chosen,) = links_of(conditions(made.cell(transport=transport)), found)
        assert chosen is not None
        assert chosen.variant["transport"] == transport
    tls = made.cell(transport="tls")
    [plain_link] = [link for link in found if link.variant["transport"] == "plain"]
    assert links_of(conditions(tls), [plain_link]) == (None,)
    (said,) = notes(tls, [], [None])
    assert "over TCP sockets with TLS 1.3 was not measured" in said


@pytest.mark.parametrize(
    "damaged", [None, 0.1, [], [0.001], [0.1, 0.1, 0.1], [0.1, -1], [0.1, "2"], [None, 0.1]]
)
def test_processor_seconds_that_are_none_are_left_aside(damaged: Any) -> None:
    [transfer] = linked(damaged)
    assert transfer.cpu_s == ()
    [transfer] = linked(damaged, [0.001, 0.004])
    assert [(stage.median, stage.n) for stage in transfer.cpu_s] == [(0.001, 1), (0.004, 1)]
