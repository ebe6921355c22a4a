"""Which PyTorch each host has or will get, whether it runs there, and whether they go together."""

from __future__ import annotations

from collections.abc import Sequence

from .findings import Asked, Finding, Host

#: Releases whose builds for 64-bit ARM use instructions that came after ARMv8.0, the Cortex-A72 of
#: a Pi 4 and the A53 of a Pi 3, and releases that were seen to run there.
NEEDS_NEWER_ARM = ("2.4.0", "2.10.0")
RUNS_ON_A72 = ("2.3.1", "2.8.0", "2.9.1")
#: What every ARM processor newer than that says it can do.
NEWER_ARM = "atomics"
#: From here on the ordinary index has a CUDA build for 64-bit ARM.
FIRST_CUDA_ARM = (2, 11)
ILLEGAL_INSTRUCTION = (-4, 132)
ADVICE = (
    f"on a Cortex-A72 (Pi 4) {', '.join(RUNS_ON_A72)} run, {' and '.join(NEEDS_NEWER_ARM)} do not; "
    "set runtime_versions: {torch: 2.9.1, torchvision: 0.24.1} for it in the inventory"
)
OTHER_ADVICE = "set runtime_versions to a release for it in the inventory"


def convolution(host: Host, _: Asked) -> Finding:
    """Whether torch computes: by doing where it is installed, else by what is known of it."""
    wanted, seen = host.duty["torch"], host.facts["convolution"]
    cpu = host.facts["cpu"] or host.facts["machine"]
    if seen is None or not installed(host):
        if _release(wanted) in NEEDS_NEWER_ARM and _is_first_arm64(host):
            return Finding.stop(
                "convolution",
                host,
                f"torch {wanted} is to be installed and would die with an illegal instruction on "
                f"this processor ({cpu}): {ADVICE}",
            )
        return Finding.ok("convolution", host, f"torch {wanted} to be tried after provisioning")
    if seen["status"] in ILLEGAL_INSTRUCTION:
        return Finding.stop(
            "convolution",
            host,
            f"torch {wanted} dies with an illegal instruction in a convolution on this processor "
            f"({cpu}): {ADVICE if host.facts['machine'] == 'aarch64' else OTHER_ADVICE}",
        )
    if seen["status"] != 0:
        return Finding.stop(
            "convolution",
            host,
            f"torch {wanted} computes no convolution ({seen['said'] or _end(seen['status'])}): "
            f"remove {host.facts['home']['path']}/venv there and run playbooks/provision.yml, or "
            "set another release in runtime_versions",
        )
    when = "runs" if seen["now"] else "ran when provisioned"
    return Finding.ok("convolution", host, f"torch {wanted} {when}")


def release(host: Host, _: Asked) -> Finding | None:
    """Whether what is to be installed can be, and is what one would want."""
    torch, vision = host.duty["torch"], host.duty["torchvision"]
    if _numbers(torch)[0] == 2 and _numbers(vision)[1] != _numbers(torch)[1] + 15:
        return Finding.stop(
            "torch release",
            host,
            f"torchvision {vision} is not made for torch {torch}, expected 0."
            f"{_numbers(torch)[1] + 15}.…: correct runtime_versions in the inventory",
        )
    arm = host.facts["machine"] == "aarch64" and not installed(host)
    named = not host.duty["plain_index"] or "+" in torch or host.duty["device"] != "cpu"
    if arm and not named and _numbers(torch) >= FIRST_CUDA_ARM:
        return Finding.note(
            "torch release",
            host,
            f"torch {torch} from the ordinary index is a CUDA build for 64-bit ARM, with gigabytes "
            "of packages behind it: without an NVIDIA GPU set runtime_versions: {torch: 2.9.1, "
            "torchvision: 0.24.1}, or runtime_pip_index_url to an index of CPU builds",
        )
    return None


def together(hosts: Sequence[Host], asked: Asked) -> Finding | None:
    """Whether the workers' releases differ: fine over sockets, refused by PyTorch RPC."""
    workers = [host for host in hosts if host.duty["worker"]]
    torch = _grouped([(f"PyTorch {_release(host.duty['torch'])}", host.name) for host in workers])
    rpc = [backend for backend in asked.backends if backend.startswith("rpc")]
    if rpc and len(torch) > 1:
        return Finding(
            "versions",
            "stop",
            "",
            f"backend {rpc[0]} needs the same PyTorch release on all workers, and the inventory "
            f"has {_listed(torch)}: set runtime_versions alike, or use backend=socket",
        )
    both = _grouped(
        [
            (
                f"PyTorch {host.duty['torch']} with Python {host.facts['python']['version']}",
                host.name,
            )
            for host in workers
        ]
    )
    if len(both) > 1:
        return Finding(
            "versions",
            "note",
            "",
            f"{_listed(both)}: allowed, recorded with every run, and every run is proven equal to "
            "the unsplit model",
        )
    return None


def installed(host: Host) -> bool:
    """Whether the host has what the inventory wants; a build counts where one is wanted."""
    wanted, there = host.duty["torch"], host.facts["torch"] or ""
    return wanted in (there, _release(there))


def _release(version: str) -> str:
    return version.split("+")[0]


def _is_first_arm64(host: Host) -> bool:
    features = host.facts["cpu_features"]
    return host.facts["machine"] == "aarch64" and bool(features) and NEWER_ARM not in features


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _release(version).split(".")[:2])


def _end(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for what, name in pairs:
        groups.setdefault(what, []).append(name)
    return groups


def _listed(groups: dict[str, list[str]]) -> str:
    return " and ".join(f"{what} on {', '.join(names)}" for what, names in groups.items())
