"""What only a GPU can show. Run it first on a host that has one: see "A GPU" in docs/lab.md.

No such host could be had while this was written, so that these tests themselves have never run.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from paretopipe_runtime import engines, golden
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.weights import make_seeded_weights
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.devices.cuda import Cuda, open_gpu
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import runs, sweep
from tests.runtime.test_profile import plan_of, profile, samples

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs an NVIDIA GPU and a CUDA build of torch in .venv: run it on such a host",
)
CUDA_ENGINES = [engine.name for engine in ENGINES.values() if engine.cuda]
BATCH = 2


@functools.cache
def device() -> Cuda:
    return open_gpu("cuda")


@functools.cache
def forms(name: str) -> list[Tensor]:
    """The tensors at every boundary of a model with small images."""
    px = 96 if name == "inceptionv3" else 64
    return boundary_shapes(name, 10, BATCH, px)


def stage(name: str, first: int, end: int, folder: Path) -> StageToLoad:
    manifest = make_seeded_weights(name, 10, 0, folder / "weights")
    takes = forms(name)[first]
    return StageToLoad(name, 10, manifest, folder / "weights", first, end, takes, folder / "cache")


def on_gpu(engine: str, described: StageToLoad) -> Any:
    compute = device().place(engines.load(engine, described))
    gives = forms(described.model)[described.end]
    return device().from_host(compute, gives, ENGINES[engine].layout)


def received(tensor: torch.Tensor, form: Tensor, engine: str) -> torch.Tensor:
    """Return a tensor as it would arrive at the next stage: through its bytes."""
    layout = ENGINES[engine].layout
    landed, buffer = memory.empty(form, layout, pinned=True)
    buffer[:] = memory.as_bytes(tensor, layout)
    return landed


@pytest.mark.parametrize("engine", CUDA_ENGINES)
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_stage_on_the_gpu_gives_the_processor_s_answer(
    name: str, engine: str, tmp_path: Path
) -> None:
    blocks, tolerance = model_info(name).blocks, ENGINES[engine].tolerance
    px = forms(name)[0].shape[2]
    (batch,) = golden.input_batches(BATCH, px, 1, 0)
    whole = stage(name, 0, blocks, tmp_path)
    (reference,) = golden.reference_logits(name, 10, whole.manifest, whole.store, [batch])
    for split in (1, blocks // 2, blocks - 2):
        with torch.inference_mode():
            first = on_gpu(engine, stage(name, 0, split, tmp_path))
            given = received(torch.from_numpy(batch), forms(name)[0], engine)
            crossing = received(first(given), forms(name)[split], engine)
            logits = on_gpu(engine, stage(name, split, blocks, tmp_path))(crossing)
        proof = golden.compare(logits.numpy(), reference, tolerance)
        print(f"{name} P{split}, {engine}: {proof.max_rel_err:.1e}, allowed {tolerance:.0e}")
        assert proof.max_rel_err <= tolerance, split
        assert proof.argmax_equal, split


@pytest.mark.parametrize("engine", CUDA_ENGINES)
def test_an_output_is_page_locked_and_stays_while_it_is_held(engine: str, tmp_path: Path) -> None:
    compute = on_gpu(engine, stage("alexnet", 0, 5, tmp_path))
    px = forms("alexnet")[0].shape[2]
    batches = [
        received(torch.from_numpy(batch), forms("alexnet")[0], engine)
        for batch in golden.input_batches(BATCH, px, 6, 0)
    ]
    with torch.inference_mode():
        held = [compute(batch) for batch in batches]
        kept = [output.clone() for output in held]
        for batch in batches:
            compute(batch)
    assert all(output.is_pinned() for output in held)
    assert all(map(torch.equal, held, kept))
    assert not torch.equal(held[0], held[1])
    del held
    with torch.inference_mode():
        places = {compute(batch).data_ptr() for batch in batches * 5}
    assert len(places) <= 6 + 3, "page-locked memory is not used again"


def test_the_steps_are_part_of_the_time_that_a_timer_sees(tmp_path: Path) -> None:
    import time

    compute = on_gpu("eager", stage("vgg16", 0, 5, tmp_path))
    (batch,) = golden.input_batches(BATCH, forms("vgg16")[0].shape[2], 1, 0)
    given = received(torch.from_numpy(batch), forms("vgg16")[0], "eager")
    with torch.inference_mode():
        compute(given)
        start = time.perf_counter()
        compute(given)
        seen = time.perf_counter() - start
    steps = {name: seconds[-1] for name, seconds in compute.seconds.items()}
    assert min(steps.values()) > 0
    assert sum(steps.values()) <= seen * 1.01


def test_the_gpu_is_described_and_float32_is_exact() -> None:
    facts = device().facts
    assert facts["gpu"] == torch.cuda.get_device_name(0)
    assert facts["gpu_memory_bytes"] > 2**30
    assert (facts["cuda"], facts["tf32"]) == (torch.version.cuda, "off")
    if hasattr(torch.backends, "fp32_precision"):
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    else:
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert "gpu_driver" in facts or facts["nvml"]


def test_one_gpu_more_than_there_are_is_told() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(
        ParetoPipeError, match=rf"E_DEVICE: .*it finds {count}, counted from cuda:0"
    ):
        open_gpu(f"cuda:{count}")


@pytest.mark.parametrize("engine", CUDA_ENGINES)
def test_a_cell_with_a_gpu_proves_itself(cluster: Cluster, tmp_path: Path, engine: str) -> None:
    plan = cluster.plan(cell_id=f"mobilenetv2.{engine}.cuda", engine=engine, repeats=1)
    plan["workers"][1]["device"] = "cuda"
    prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
    done = sweep(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    for row in runs(tmp_path):
        assert row["status"] == "ok"
        assert [part["device"] for part in row["stages"]] == ["cpu", "cuda"]
        second = row["stages"][1]
        assert second["gpu_peak_allocated_bytes"] > 0
        assert len(second["gpu_copy_in_s"]["latency"]) == 3
        assert row["hosts"]["pi2"]["gpu"]


def test_blocks_are_profiled_on_the_gpu(cluster: Cluster, tmp_path: Path) -> None:
    plan = plan_of(cluster)
    plan["workers"] = [{**plan["workers"][1], "device": "cuda"}]
    done = profile(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    for row in samples(tmp_path):
        assert (row["status"], row["device"]) == ("ok", "cuda")
        assert all(min(block["compute_s"]) > 0 for block in row["blocks"])
