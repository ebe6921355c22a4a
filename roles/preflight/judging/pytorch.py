"""Checks of PyTorch: release, convolution, and differences between workers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .findings import Asked, Host, Verdict, grouped, listed, note, ok, stop

#: Releases whose 64-bit ARM builds need more than ARMv8.0 (Cortex-A72 of a Pi 4, A53 of a Pi 3),
#: and releases that ran there.
NEEDS_NEWER_ARM = ("2.4.0", "2.10.0")
RUNS_ON_A72 = ("2.3.1", "2.8.0", "2.9.1")
#: Feature of every ARM processor newer than ARMv8.0.
NEWER_ARM = "atomics"
#: CUDA releases of the ordinary index's builds, from a release of PyTorch on; for 64-bit ARM the
#: first alone. Wheels of 2.13 for CUDA 13 and what is in them, summed over what the index has.
CUDA_SINCE = {(2, 11): (13, 0), (2, 8): (12, 8), (2, 1): (12, 0)}
FIRST_CUDA_ARM = (2, 11)
CUDA_WHEELS_MIB, CUDA_MIB = 2644, 4639
ILLEGAL_INSTRUCTION = (-4, 132)
ADVICE = (
    f"on a Cortex-A72 (Pi 4) {', '.join(RUNS_ON_A72)} run, {' and '.join(NEEDS_NEWER_ARM)} do not; "
    "set runtime_versions: {torch: 2.9.1, torchvision: 0.24.1} for it in the inventory"
)
OTHER_ADVICE = "set runtime_versions to a release for it in the inventory"


def convolution(host: Host, _: Asked) -> Verdict:
    """Judge a convolution's result; before installation, release and processor."""
    wanted, seen = host.duty["torch"], host.facts["convolution"]
    cpu = host.facts["cpu"] or host.facts["machine"]
    if seen is None or not installed(host):
        if _release(wanted) in NEEDS_NEWER_ARM and _is_first_arm64(host):
            return stop(
                f"torch {wanted} is to be installed and would die with an illegal instruction on "
                f"this processor ({cpu}): {ADVICE}"
            )
        return ok(f"torch {wanted} to be tried after provisioning")
    if seen["status"] in ILLEGAL_INSTRUCTION:
        return stop(
            f"torch {wanted} dies with an illegal instruction in a convolution on this processor "
            f"({cpu}): {ADVICE if host.facts['machine'] == 'aarch64' else OTHER_ADVICE}"
        )
    if seen["status"] != 0:
        return stop(
            f"torch {wanted} computes no convolution ({seen['said'] or _end(seen['status'])}): "
            f"remove {host.facts['home']['path']}/venv there and run playbooks/provision.yml, or "
            "set another release in runtime_versions"
        )
    when = "runs" if seen["now"] else "ran when provisioned"
    return ok(f"torch {wanted} {when}")


def release(host: Host, _: Asked) -> Verdict | None:
    """Refuse mismatched releases; note an unneeded CUDA build."""
    torch, vision = host.duty["torch"], host.duty["torchvision"]
    if _numbers(torch)[0] == 2 and _numbers(vision)[1] != _numbers(torch)[1] + 15:
        return stop(
            f"torchvision {vision} is not made for torch {torch}, expected 0."
            f"{_numbers(torch)[1] + 15}.…: correct runtime_versions in the inventory"
        )
    cuda = installs_cuda(host)
    if cuda and host.duty["device"] == "cpu":
        arm = host.facts["machine"] == "aarch64"
        older = "runtime_versions: {torch: 2.9.1, torchvision: 0.24.1}, or " if arm else ""
        return note(
            f"torch {torch} from the ordinary index is a build for CUDA {cuda[0]}.{cuda[1]}, "
            f"about {CUDA_WHEELS_MIB / 1024:.1f} GiB to load and {CUDA_MIB / 1024:.1f} on disk: "
            f"without an NVIDIA GPU set {older}runtime_pip_index_url to an index of CPU builds"
        )
    return None


def together(hosts: Sequence[Host], asked: Asked) -> Verdict | None:
    """Note workers' releases that differ; PyTorch RPC refuses them."""
    workers = [host for host in hosts if host.duty["worker"]]
    torch = grouped(workers, lambda host: f"PyTorch {_release(host.duty['torch'])}")
    rpc = [backend for backend in asked.backends if backend.startswith("rpc")]
    if rpc and len(torch) > 1:
        return stop(
            f"backend {rpc[0]} needs the same PyTorch release on all workers, and the inventory "
            f"has {listed(torch)}: set runtime_versions alike, or use backend=socket"
        )
    both = grouped(
        workers,
        lambda host: f"PyTorch {host.duty['torch']} with Python {host.facts['python']['version']}",
    )
    if len(both) > 1:
        return note(
            f"{listed(both)}: allowed, recorded with every run, and every run is proven equal to "
            "the unsplit model"
        )
    return None


def installed(host: Host) -> bool:
    """Return whether the wanted release is there, and the build if one is named."""
    wanted, there = host.duty["torch"], host.facts["torch"] or ""
    return wanted in (there, _release(there))


def cuda_of(torch: str, *, plain: bool) -> tuple[int, int] | None:
    """Return the CUDA release of a build, by its tag or the ordinary index; None if unknown."""
    tag = re.fullmatch(r"[^+]*\+cu(\d+)(\d)", torch)
    if tag:
        return int(tag[1]), int(tag[2])
    if "+" in torch or not plain:
        return None
    return next((cuda for since, cuda in CUDA_SINCE.items() if _numbers(torch) >= since), None)


def installs_cuda(host: Host) -> tuple[int, int] | None:
    """Return the CUDA release of the build that is to be installed; None for a CPU build."""
    torch = host.duty["torch"]
    if installed(host) or (host.facts["machine"] == "aarch64" and _numbers(torch) < FIRST_CUDA_ARM):
        return None
    return cuda_of(torch, plain=host.duty["plain_index"])


def _release(version: str) -> str:
    return version.split("+")[0]


def _is_first_arm64(host: Host) -> bool:
    features = host.facts["cpu_features"]
    return host.facts["machine"] == "aarch64" and bool(features) and NEWER_ARM not in features


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _release(version).split(".")[:2])


def _end(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
