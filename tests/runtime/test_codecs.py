"""Codecs: what is read back, how large it is, and what is refused."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from paretopipe_runtime import codecs
from paretopipe_runtime.contract.codecs import CODECS, NONE, OWN_RANGE, count_ranges
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.contract.models import MODEL_NAMES
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.contract.splits import Coded, coded
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import run_of
from tests.effort import THOROUGH, trials
from tests.runtime import payloads
from tests.runtime.cluster import Cluster

ROOT = Path(__file__).parents[2]
LOSSY = [codec for codec in CODECS if codec != NONE]
#: Of images with and without a range per channel, of tokens, and of features; odd sizes, too.
SHAPES = [(2, 3, 8, 9), (2, 5, 3, 3), (2, 65, 7), (2, 7, 13), (3, 11), (1, 1)]
LAYOUTS: list[Layout] = ["contiguous", "channels_last"]


def random(shape: tuple[int, ...], layout: Layout = "contiguous") -> torch.Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3 + 1
    if layout == "channels_last" and made.dim() == 4:
        return made.contiguous(memory_format=torch.channels_last)
    return made


@pytest.mark.parametrize("codec", LOSSY)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_come_back_within_half_a_step_whatever_the_layout(
    codec: str, shape: tuple[int, ...]
) -> None:
    seen = []
    for layout in LAYOUTS:
        tensor = random(shape, layout)
        payload = codecs.encode(codec, tensor, layout)
        assert payload.shape == (CODECS[codec].nbytes(shape),)
        read = codecs.decode(codec, payload, shape, layout)
        assert (read.shape, read.dtype) == (tensor.shape, torch.float32)
        assert read.is_contiguous(
            memory_format=torch.channels_last
            if (layout, len(shape)) == ("channels_last", 4)
            else torch.contiguous_format
        )
        step = tensor.abs().max() * 2**-10
        if CODECS[codec].ranges:
            step = (tensor.max() - tensor.min()) / CODECS[codec].levels
        assert (read - tensor).abs().max() <= step / 2 + 1e-6
        seen.append(read)
    assert torch.equal(*seen)


@pytest.mark.parametrize("codec", ["int8", "int4"])
def test_an_outlier_in_one_channel_of_one_image_costs_no_other(codec: str) -> None:
    tensor = random((2, 3, 8, 8))
    calm = codecs.decode(
        codec, codecs.encode(codec, tensor, "contiguous"), (2, 3, 8, 8), "contiguous"
    )
    tensor[0, 1, 0, 0] = 1e6
    read = codecs.decode(
        codec, codecs.encode(codec, tensor, "contiguous"), (2, 3, 8, 8), "contiguous"
    )
    assert torch.equal(read[1], calm[1])
    assert torch.equal(read[0, [0, 2]], calm[0, [0, 2]])
    assert read[0, 1, 0, 0] == pytest.approx(1e6)


def test_ranges_are_a_small_part_of_what_is_sent() -> None:
    for shape in [(8, 160, 7, 7), (8, 32, 8, 8), (8, 197, 768), (8, 1280), (8, 1, 8, 8)]:
        nbytes = 4 * torch.Size(shape).numel()
        assert 8 * count_ranges(shape) <= nbytes * 2 / OWN_RANGE
        assert CODECS["int8"].nbytes(shape) <= 0.29 * nbytes


def test_all_equal_values_come_back_exactly() -> None:
    for codec in ("int8", "int4"):
        tensor = torch.full((2, 3, 8, 8), -1.7)
        payload = codecs.encode(codec, tensor, "contiguous")
        assert torch.equal(codecs.decode(codec, payload, (2, 3, 8, 8), "contiguous"), tensor)


@pytest.mark.parametrize("codec", LOSSY)
def test_payloads_of_another_size_are_refused(codec: str) -> None:
    payload = codecs.encode(codec, random((2, 3, 8, 8)), "contiguous")
    for wrong in (payload[:-1], torch.cat((payload, payload[:1]))):
        with pytest.raises(ParetoPipeError, match="expected") as caught:
            codecs.decode(codec, wrong, (2, 3, 8, 8), "contiguous")
        assert caught.value.code == "E_SIZE"


@pytest.mark.parametrize("codec", ["int8", "int4"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_what_is_not_finite_is_refused(codec: str, value: float) -> None:
    tensor = random((2, 3, 8, 8))
    tensor[1, 2, 3, 4] = value
    tensor[1, 2, 3, 5] = -value
    payload = codecs.encode(codec, tensor, "contiguous")
    with pytest.raises(ParetoPipeError, match="not finite") as caught:
        codecs.decode(codec, payload, (2, 3, 8, 8), "contiguous")
    assert caught.value.code == "E_CODEC"


@pytest.mark.parametrize("codec", LOSSY)
def test_hostile_payloads_are_refused_or_read_as_planned(codec: str) -> None:
    ends = {"read", *payloads.REFUSED}
    assert {*payloads.decoded(1, codec, trials(300, 10_000))} <= ends
    assert {*payloads.received(1, codec, trials(150, 3_000))} <= ends | payloads.ON_THE_WIRE


def test_tolerances_are_twice_the_largest_error_that_the_campaign_found() -> None:
    found = (ROOT / "docs/campaigns/codecs.txt").read_text()
    for codec in LOSSY:
        errors = [float(error) for error in re.findall(rf"px: .*{codec} ([\d.]+) \(P", found)]
        assert len(errors) == len(MODEL_NAMES)
        assert 1.9 < CODECS[codec].tolerance / max(errors) < 3


def measured(cluster: Cluster, codec: str, **changes: Any) -> dict[str, Any]:
    document = cluster.plan(image_px=64, splits=[[3]], repeats=1, **changes)
    prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    plan = read_plan(document)
    prepared = prepare(plan.workload, cluster.state_dir)
    run = run_of(plan, prepared.hop_bytes, coded((3,), codec), 1)
    seen = drive(plan, run, prepared, cluster.keys, f"run-{codec}")
    return record.success(plan, run, prepared, seen)


@pytest.mark.parametrize(
    ("codec", "engine"),
    # The other codecs' layouts are above.
    [*product(LOSSY, ["eager"]), *product(LOSSY if THOROUGH else ["int8"], ["channels_last"])],
)
def test_an_encoded_run_proves_itself(cluster: Cluster, codec: str, engine: str) -> None:
    row = measured(cluster, codec, engine=engine)
    assert row["status"] == "ok"
    hop, back = row["hops"]
    assert hop["codec"] == codec
    assert hop["bytes_per_batch"] == CODECS[codec].nbytes(hop["shape"])
    assert hop["bytes_planned"] == hop["bytes_sent"] == hop["bytes_received"]
    assert hop["decoded_equal"]
    assert "codec" not in back
    for part in ("encode_s", "decode_s"):
        assert {phase: len(times) for phase, times in hop[part].items()} == {
            phase: len(times) for phase, times in row["stages"][0]["compute_s"].items()
        }
    assert row["proof"]["nearest"] or CODECS[codec].coarse
    assert row["proof"]["own_distance"] < 1
    assert 0 < row["proof"]["max_rel_err"] <= row["proof"]["tolerance"]
    assert row["proof"]["repeat_rel_err"] < 1e-5


def test_a_split_with_a_codec_is_another_split() -> None:
    assert Coded((3,), "int8") != (3,)
    assert Coded((3,), "int8") != (3,)
    assert len({(3,), Coded((3,), "int8"), Coded((3,), "int8")}) == 2
    assert sorted([(4,), Coded((3,), "int4"), Coded((3,), "int8"), (3,)]) == [
        (3,),
        Coded((3,), "int8"),
        Coded((3,), "int4"),
        (4,),
    ]
