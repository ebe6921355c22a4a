"""The code for a GPU on a host without one: the order of its steps, its buffers, its records.

A stand-in for ``torch.cuda`` says when it is called; copies, kernels and the wire are real, on the
processor. What only a GPU can show is in test_on_a_gpu.py.
"""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import profile_blocks, record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import expand
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import DTYPE_CODES, FrameType, Header, Tensor
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker import stage
from paretopipe_runtime.worker.backends import socket as socket_backend
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.devices.cuda import OUTPUTS, exact_float32, uses_tf32
from paretopipe_runtime.worker.devices.device import Cpu
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder
from tests.runtime.cluster import Cluster
from tests.runtime.threads import Copies, FakeCuda, Log, LoggedCuda, in_threads
from tests.wire.pairs import tcp_pair

STEPS = ["copy in", "kernels", "copy out", "synchronize"]


class Watch:
    """Stands for NVML: one of these a stage."""

    def start(self) -> None:
        self.started = True

    def stop(self) -> dict[str, Any]:
        assert self.started
        return {"percent": 40.0, "samples": 3, "used_bytes": 5, "others": 1, "others_bytes": 7}


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """A plan whose second host has a GPU."""
    plan = Cluster(tmp_path, b"", 1).plan(splits=[[3]], repeats=1)
    plan["workers"][1]["device"] = "cuda"
    for worker in plan["workers"]:
        worker["allocator"] = "default"  # the stages are threads here: leave the test's malloc be
    return plan


def devices(watch: Any = None) -> dict[str, Any]:
    return {"cpu": lambda _: Cpu(), "cuda": lambda log: LoggedCuda(log, watch)}


@pytest.mark.parametrize("engine", ["eager", "channels_last"])
def test_a_run_proves_itself_and_says_what_ran_where(
    tmp_path: Path, document: dict[str, Any], engine: str
) -> None:
    plan = read_plan({**document, "engine": engine})
    prepared = prepare(plan.workload, tmp_path)
    (run,) = expand(plan, prepared.hop_bytes)
    with in_threads(tmp_path, devices(Watch())) as logs:
        seen = drive(plan, run, prepared, Keys(b""), "run")
    row = record.success(plan, run, prepared, seen)
    assert row["status"] == "ok"
    first, second = row["stages"]
    assert (first["device"], second["device"]) == ("cpu", "cuda")
    assert not [key for key in first if key.startswith("gpu")]
    assert run.factors["devices"] == ["cpu", "cuda"]
    assert row["hosts"]["pi2"]["gpu"] == "Fake GPU"
    assert "gpu" not in row["hosts"]["pi1"]

    batches = 1 + 3 + 6
    assert logs[0] == ["send"] * batches
    assert logs[1] == [*STEPS, "send"] * batches

    known = {key: second[f"gpu_{key}"] for key in ("percent", "used_bytes", "others", "open_s")}
    assert known == {"percent": 40.0, "used_bytes": 5, "others": 1, "open_s": 0.5}
    assert second["gpu_peak_allocated_bytes"] == 4096
    for step in ("copy_in", "kernels", "copy_out"):
        seconds = second[f"gpu_{step}_s"]
        assert {phase: len(of) for phase, of in seconds.items()} == {
            "warmup": 1,
            "latency": 3,
            "throughput": 6,
        }
        assert set(seconds["latency"]) == {1.0}  # the fake's events are a second apart
    slowest = [s for phase in second["compute_s"].values() for s in phase]
    assert min(slowest) >= FakeCuda.WAIT_S  # the timer stops after the device has


def test_blocks_are_timed_to_their_end_and_the_copies_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, document: dict[str, Any]
) -> None:
    monkeypatch.setattr(profile_blocks, "deploy", lambda *_: 0)
    work = profile_blocks.work_of(
        {**document, "batches": 2, "workers": [document["workers"][1]]}, tmp_path
    )
    (run,) = work.runs
    with in_threads(tmp_path, devices()) as logs:
        row = work.measure(run, Keys(b""), "run")
    assert row["status"] == "ok"
    assert (row["device"], run.factors["device"]) == ("cuda", "cuda")
    assert row["gpu"]["peak_allocated_bytes"] == 4096
    blocks = len(row["blocks"])
    one_by_one = ["copy in", "synchronize", *["kernels", "synchronize"] * blocks]
    whole = ["copy in", "synchronize", "kernels", "synchronize"]
    back = ["copy out", "synchronize", "send"]
    assert logs[0] == [*one_by_one, *back] * 3 + [*whole, *back] * 3
    timed = [*row["whole_s"], *(s for block in row["blocks"] for s in block["compute_s"])]
    assert min(timed) >= FakeCuda.WAIT_S


def test_everything_on_one_host_leaves_the_gpu_of_the_other_alone(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    """A stage without blocks hands on what it takes, and needs no GPU for it."""
    document["workers"].reverse()  # the GPU is the first host's
    plan = read_plan({**document, "end_points": True})
    prepared = prepare(plan.workload, tmp_path)
    runs = {run.cuts: run for run in expand(plan, prepared.hop_bytes)}
    for cuts, on in (((0,), ["cpu", "cpu"]), ((), ["cuda"])):
        run = runs[cuts]
        with in_threads(tmp_path, devices()) as logs:
            row = record.success(plan, run, prepared, drive(plan, run, prepared, Keys(b""), "run"))
        assert row["status"] == "ok"
        assert [part["device"] for part in row["stages"]] == on
        assert ("kernels" in logs[0]) == (on[0] == "cuda")
    assert runs[()].factors["devices"] == ["cuda"]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_an_output_comes_back_laid_out_as_it_travels_and_is_nobody_else_s(layout: Any) -> None:
    log: Log = []
    made: list[bool] = []
    device = LoggedCuda(log)
    gives = Tensor((2, 4, 6, 6), "float32", 2 * 4 * 36 * 4)
    wrong = torch.channels_last if layout == "contiguous" else torch.contiguous_format
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode(), Copies(log):
        real = memory.allocate

        def allocate(*args: Any, pinned: bool) -> torch.Tensor:
            made.append(pinned)
            return real(*args, pinned=False)

        patch.setattr(memory, "allocate", allocate)
        device.pinned = True
        compute = device.from_host(
            lambda tensor: (tensor + 1).contiguous(memory_format=wrong), gives, layout
        )
        assert made == [True] * OUTPUTS
        outputs = [compute(torch.full(gives.shape, float(number))) for number in range(4)]
    assert made == [True] * (OUTPUTS + 4)
    assert log == ["copy in", "copy out", "synchronize"] * 4
    for number, output in enumerate(outputs):
        assert torch.equal(output, torch.full(gives.shape, number + 1.0))
        assert output.is_contiguous(memory_format=memory.format_of(4, layout))
    assert len({output.data_ptr() for output in outputs}) == 4
    assert not any(map(memory.shares_memory, outputs, outputs[1:]))


def test_what_arrives_lands_in_the_same_page_locked_buffers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[torch.Tensor] = []
    real = memory.allocate

    def allocate(*args: Any, pinned: bool) -> torch.Tensor:
        assert pinned
        made.append(real(*args, pinned=False))
        return made[-1]

    monkeypatch.setattr(memory, "allocate", allocate)

    class Link:
        """A link on which zeros arrive."""

        peer = "previous"
        sock = None

        def receive_header(self, _timeout: float) -> Any:
            return Header(FrameType.TENSOR, 0, 480, 0, DTYPE_CODES["float32"], (2, 3, 5, 4))

        def receive_payload(self, _header: Any, buffer: memoryview, _timeout: float) -> float:
            buffer[:] = bytes(len(buffer))
            return 0.0

    monkeypatch.setattr(socket_backend, "kernel_holds", lambda *_: True)
    source = socket_backend.TensorSource(
        Link(),  # type: ignore[arg-type]
        Tensor((2, 3, 5, 4), "float32", 480),
        itertools.repeat(0),
        layout="contiguous",
        io_timeout_s=1,
        idle_timeout_s=1,
        fail=lambda error: pytest.fail(str(error)),
        pinned=True,
    )
    arriving = iter(source)
    seen = set()
    for _ in range(6):
        batch = next(arriving)
        seen.add(batch.tensor.data_ptr())
        batch.release()
    assert len(made) == socket_backend.BUFFERS
    assert seen == {tensor.data_ptr() for tensor in made}


def test_float32_is_computed_as_float32() -> None:
    """By this torch's interface, and by that before 2.9, which must not be mixed with it."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    places: tuple[Any, ...] = (cuda.matmul, cudnn, cudnn.conv, cudnn.rnn)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32"
        assert uses_tf32()
        exact_float32()
        assert not uses_tf32()
        assert [place.fp32_precision for place in places] == ["ieee"] * 4
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
    older = SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)),
        cudnn=SimpleNamespace(allow_tf32=True, benchmark=True),
    )
    assert uses_tf32(older)
    exact_float32(older)
    assert not uses_tf32(older)
    assert not older.cuda.matmul.allow_tf32
    assert vars(older.cudnn) == {"allow_tf32": False, "benchmark": False}


def test_a_full_gpu_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_name: str) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1024.00 GiB.")

    def ended(status: int) -> NoReturn:
        raise SystemExit(status)

    monkeypatch.setattr(stage, "open_device", full)
    monkeypatch.setattr(stage.os, "_exit", ended)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    ours, theirs = tcp_pair()
    form = Tensor((1, 1), "float32", 4)
    order = StageOrder(
        **{"run_id": "run", "stage": 0, "stages": 1, "backend": "socket", "engine": "eager"},
        **{"allocator": "default", "model": "", "classes": 1, "manifest": {}, "first": 0, "end": 1},
        **{"takes": form, "gives": form, "onward": (), "input_batches": 1, "input_seed": 0},
        **{"image_px": 1, "io_timeout_s": 5.0, "idle_timeout_s": 5.0, "device": "cuda"},
    )
    control = Channel(ours, "server")
    control.send_message(order.to_message(), timeout=5)
    with pytest.raises(SystemExit), socket.socket() as links:
        stage.main(Node("server", "127.0.0.1", Keys(b""), tmp_path), theirs, links)
    with pytest.raises(ParetoPipeError, match=r"E_MEMORY: server: the GPU is out of memory — end"):
        control.receive_message(5)
    control.close()
    theirs.close()
