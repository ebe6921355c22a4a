"""Checks before a CUDA build of PyTorch is installed: driver, GPU, and what the build is for."""

from __future__ import annotations

from dataclasses import dataclass

from .findings import Asked, Host, Verdict, ok, stop
from .pytorch import cuda_of

_NO_GPU = "or set worker_device: cpu"


@dataclass(frozen=True)
class Build:
    """Needs of a PyTorch build for a CUDA release: driver, and compute capability."""

    cuda: tuple[int, int]
    driver: int
    least: tuple[int, int]
    most: tuple[int, int]


#: Newest first. Drivers: docs.nvidia.com/deploy/cuda-compatibility, "Minor Version Compatibility".
#: Capabilities: PyTorch's CUDA support matrix, in its RELEASE.md.
BUILDS = (
    Build((13, 0), 580, (7, 5), (99, 0)),
    Build((12, 8), 525, (7, 0), (99, 0)),
    Build((12, 0), 525, (5, 0), (9, 0)),
    Build((11, 0), 450, (3, 7), (9, 0)),
)


def gpu(host: Host, _: Asked) -> Verdict | None:
    """Judge NVIDIA's driver and the GPU that stages are to compute on."""
    device = host.duty["device"]
    if device == "cpu":
        return None
    seen = host.facts["gpus"]
    index = int(device.partition(":")[2] or 0)
    if not seen["gpus"]:
        return stop(
            f"worker_device is {device}, and nvidia-smi finds no GPU ({seen['said']}): install "
            f"NVIDIA's driver there until `nvidia-smi` lists the GPU, {_NO_GPU}"
        )
    if index >= len(seen["gpus"]):
        return stop(
            f"worker_device is {device}, and nvidia-smi lists {len(seen['gpus'])}, counted from "
            f"cuda:0: set worker_device to one of them, {_NO_GPU}"
        )
    name, driver, capability = seen["gpus"][index]
    cuda = cuda_of(host.duty["torch"], plain=host.duty["plain_index"])
    build = next((build for build in BUILDS if cuda and build.cuda <= cuda), None)
    if build is None:
        return ok(f"{name}, driver {driver}")
    wanted = f"torch {host.duty['torch']} is a build for CUDA {cuda[0]}.{cuda[1]}" if cuda else ""
    other = (
        "name another in the inventory, runtime_versions with torch's +cu… and "
        f"runtime_pip_index_url, {_NO_GPU}"
    )
    if _numbers(driver)[0] < build.driver:
        return stop(
            f"{wanted}, which needs NVIDIA's driver {build.driver} or newer, and {name} has "
            f"{driver}: install a newer driver, {other}"
        )
    if not build.least <= _numbers(capability)[:2] <= build.most:
        most = f" to {build.most[0]}.{build.most[1]}" if build.most < (99, 0) else " or newer"
        return stop(
            f"{wanted}, with kernels for compute capability {build.least[0]}.{build.least[1]}"
            f"{most}, and {name} has {capability}: {other}"
        )
    return ok(f"{name}, driver {driver}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit()) or (0,)
