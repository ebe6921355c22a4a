"""A stage on an NVIDIA GPU: weights stay there, batches go and come back.

One stream orders a batch's copies and kernels. The host waits once, at the end; only then may a
timer stop or a byte be sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.usage import nvml

# The rules, from https://docs.pytorch.org/docs/stable/notes/:
# - Calls return before kernels and copies have run: time is taken by synchronising, or with events
#   (cuda.html, "Asynchronous execution"). A stage has one stream: an event is after all before it.
# - Only copies from and to page-locked memory are asynchronous; one to the host must be waited for
#   (cuda.html, "Use pinned memory buffers").
# - PyTorch's cache of page-locked memory keeps a block while a tensor or a copy uses it: an output
#   may be on its way to the next host for long.
# - A process that has used CUDA cannot fork one that does (multiprocessing.html).
Compute = Callable[[torch.Tensor], torch.Tensor]
#: Outputs in page-locked memory at a time: one that is sent, one that waits, one that is made.
OUTPUTS = 3


class Cuda:
    """This process's GPU.

    `gpu` reads its load, None without NVML; `open_s` is CUDA's start, part of a launch; `api`
    is ``torch.cuda``, or a test's.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        facts: dict[str, Any],
        gpu: nvml.Gpu | None,
        *,
        open_s: float,
        api: Any = torch.cuda,
    ) -> None:
        self.name = name
        self.facts = facts
        self.pinned = device.type == "cuda"
        self._device = device
        self._gpu = gpu
        self._open_s = open_s
        self._api = api
        self._done = api.Event(blocking=True)  # else a core would wait busily
        self._stage: _FromHost | None = None

    def place(self, compute: Compute) -> Compute:
        """Move an engine's modules, weights and all; see `factors.check_device`."""
        assert isinstance(compute, nn.Module)
        return compute.to(self._device)

    def from_host(self, compute: Compute, gives: Tensor, layout: Layout) -> Compute:
        """Add copies before and after `compute`, and a final wait."""
        # The first batches would otherwise lock the memory of their outputs, which is slow. What is
        # let go of here stays in PyTorch's cache.
        kept = [memory.empty(gives, layout, pinned=self.pinned) for _ in range(OUTPUTS)]
        del kept
        self._stage = _FromHost(self, compute, layout, self._device, self._api)
        return self._stage

    def synchronize(self) -> None:
        self._done.record()
        self._done.synchronize()

    def start(self) -> None:
        if self._gpu is not None:
            self._gpu.start()

    def report(self) -> dict[str, Any]:
        """Return its load, its memory, and each batch's steps."""
        used = self._gpu.stop() if self._gpu is not None else {}
        allocated = self._api.max_memory_allocated(self._device)
        return {
            "gpu": {**used, "peak_allocated_bytes": allocated, "open_s": self._open_s},
            "gpu_s": self._stage.seconds if self._stage is not None else {},
        }


class _FromHost:
    """A stage's computation between tensors in host memory.

    `seconds` has each batch's steps by the GPU's clock, ``kernels`` with gaps. They exclude the
    host's work before and after.
    """

    def __init__(
        self, cuda: Cuda, compute: Compute, layout: Layout, device: torch.device, api: Any
    ) -> None:
        self._cuda = cuda
        self._compute = compute
        self._layout = layout
        self._device = device
        self._marks = [api.Event(enable_timing=True) for _ in range(4)]
        self.seconds: dict[str, list[float]] = {"copy_in": [], "kernels": [], "copy_out": []}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        start, there, computed, back = self._marks
        start.record()
        given = tensor.to(self._device, non_blocking=True)
        there.record()
        output = self._compute(given)
        del given  # its memory may be reused from here on
        # Laid out as it travels while it is still on the GPU: then the copy is one transfer.
        output = output.contiguous(memory_format=memory.format_of(output.dim(), self._layout))
        computed.record()
        host = memory.allocate(output.shape, output.dtype, self._layout, pinned=self._cuda.pinned)
        host.copy_(output, non_blocking=True)
        back.record()
        self._cuda.synchronize()
        for step, (begin, end) in zip(
            self.seconds.values(),
            ((start, there), (there, computed), (computed, back)),
            strict=True,
        ):
            step.append(begin.elapsed_time(end) / 1000)
        return host


def open_gpu(name: str) -> Cuda:
    """Start CUDA on the GPU called ``cuda`` or ``cuda:N``.

    Raises ``E_DEVICE``: no CUDA in torch, no such GPU, or no kernels for it.
    """
    began = time.perf_counter()
    device = torch.device("cuda", int(name.partition(":")[2] or 0))
    if torch.version.cuda is None:
        raise _absent(
            name,
            "it was built without CUDA",
            "name a CUDA build for this host in the inventory, runtime_versions with torch's +cu… "
            "and runtime_pip_index_url, and run playbooks/provision.yml",
        )
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except (AssertionError, RuntimeError) as error:
        raise _absent(
            name,
            f"it finds no GPU ({_first_line(error)})",
            "see that `nvidia-smi` works on this host, and run playbooks/provision.yml with "
            "worker_device: cuda there, so that the agent may use the GPU",
        ) from error
    if device.index >= count:
        raise _absent(
            name, f"it finds {count}, counted from cuda:0", "set worker_device to one of them"
        )
    exact_float32()
    try:
        torch.cuda.set_device(device)
        torch.ones(1, device=device).add_(1)
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        if "out of memory" in str(error):  # as an OutOfMemoryError, and without being one
            raise torch.cuda.OutOfMemoryError(_first_line(error)) from error
        raise _absent(
            name,
            f"a first sum on the GPU fails ({_first_line(error)})",
            "name a build of torch for this GPU and its driver in runtime_versions",
        ) from error
    properties = torch.cuda.get_device_properties(device)
    gpu, told = nvml.find(str(properties.uuid))
    facts = {
        "gpu": properties.name,
        "gpu_capability": f"{properties.major}.{properties.minor}",
        "gpu_memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "tf32": _said(uses_tf32()),
        "cudnn_benchmark": _said(torch.backends.cudnn.benchmark),
        **told,
    }
    return Cuda(name, device, facts, gpu, open_s=time.perf_counter() - began)


def exact_float32(backends: Any = torch.backends) -> None:
    """Compute exact float32, with the same algorithms in every launch.

    cuDNN's convolutions default to TF32, whose 10-bit mantissa differs from the CPU's result;
    `cudnn.benchmark` chooses by the clock. Since torch 2.9 TF32 has another interface
    (https://docs.pytorch.org/docs/stable/notes/cuda.html): mixed, reading the older one raises.
    """
    for place in _float32(backends):
        if hasattr(backends, "fp32_precision"):
            place.fp32_precision = "ieee"
        else:
            place.allow_tf32 = False
    backends.cudnn.benchmark = False


def uses_tf32(backends: Any = torch.backends) -> bool:
    if hasattr(backends, "fp32_precision"):
        return any(place.fp32_precision != "ieee" for place in _float32(backends))
    return any(place.allow_tf32 for place in _float32(backends))


def _float32(backends: Any) -> list[Any]:
    """Return what has a float32 precision of its own."""
    cudnn = backends.cudnn
    own = [cudnn.conv, cudnn.rnn] if hasattr(backends, "fp32_precision") else []
    return [backends.cuda.matmul, cudnn, *own]


def _said(setting: bool) -> str:
    return "on" if setting else "off"


def _absent(name: str, why: str, remedy: str) -> ParetoPipeError:
    return ParetoPipeError(
        "E_DEVICE",
        f"asked for {name}, and torch {torch.__version__} has none here: {why} — {remedy}; or set "
        "worker_device: cpu",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
