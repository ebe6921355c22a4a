"""Backends, transports, engines, allocators, devices in a reader's words and a reader's order."""

from __future__ import annotations

from collections.abc import Sequence

from reports.words import known_first

_BACKENDS = {
    "socket": "TCP sockets",
    "rpc": "PyTorch RPC",
    "rpc_hub": "PyTorch RPC through the orchestrator",
}
_ENGINES = {
    "eager": "PyTorch eager",
    "channels_last": "channels-last PyTorch with folded batch norms",
    "onnxruntime": "ONNX Runtime",
    "compile": "torch.compile",
}
# As what follows "with".
_TRANSPORTS = {"plain": "plain TCP", "tls": "TLS 1.3"}
# In full, as a headline has it, and in a word, as what follows a name.
_EMULATIONS = {
    "processes": ("processes on one machine, link emulated in user space", "processes"),
}
_ALLOCATORS = {"tuned": "tuned malloc", "default": "default malloc"}
UNKNOWN_ALLOCATOR = "allocator not recorded"


def backend_name(backend: str) -> str:
    """Return what practitioners call a backend, or the name with its underscores opened."""
    return _BACKENDS.get(backend, backend.replace("_", " "))


def transport_name(transport: str) -> str:
    """Return what practitioners call a transport, or the name with its underscores opened."""
    return _TRANSPORTS.get(transport, transport.replace("_", " "))


def emulation_name(emulation: str, *, brief: bool = False) -> str:
    """Return what the hosts of a cell are where they are none, in full or in a word."""
    full, word = _EMULATIONS.get(emulation, (emulation.replace("_", " "),) * 2)
    return word if brief else full


def engine_name(engine: str) -> str:
    """Return what practitioners call an engine, or the name with its underscores opened."""
    return _ENGINES.get(engine, engine.replace("_", " "))


def allocator_name(allocator: str) -> str:
    """Return what a stage's allocator setting means, the empty name being an unknown one."""
    return _ALLOCATORS.get(allocator, allocator) if allocator else UNKNOWN_ALLOCATOR


def allocators_name(allocators: Sequence[str], hosts: Sequence[str]) -> str:
    """Return the allocator setting of all stages, or which host has which."""
    if len(set(allocators)) < 2:
        return allocator_name(allocators[0] if allocators else "")
    return ", ".join(
        f"{allocator_name(allocator)} on {host}"
        for allocator, host in zip(allocators, hosts, strict=False)
    )


def device_name(device: str) -> str:
    """Return what a reader calls a device: CPU, GPU, and GPU 1 for a second one."""
    kind, _, number = device.partition(":")
    named = {"cpu": "CPU", "cuda": "GPU"}.get(kind, device)
    return f"{named} {number}" if number and named != device else named


def devices_name(devices: Sequence[str], hosts: Sequence[str]) -> str:
    """Return which host computed on something else than its CPU; CPU where none did."""
    other = [
        f"{device_name(device)} on {host}"
        for device, host in zip(devices, hosts, strict=False)
        if device != "cpu"
    ]
    return ", ".join(dict.fromkeys(other)) or device_name("cpu")


def variant_rank(
    backend: str, transport: str, engine: str, allocators: Sequence[str]
) -> tuple[tuple[int, str], ...]:
    """Sort the defaults first: sockets, plain, eager, tuned."""
    settings = "-".join(sorted(set(allocators), reverse=True))
    return (
        known_first(list(_BACKENDS), backend),
        known_first(list(_TRANSPORTS), transport),
        known_first(list(_ENGINES), engine),
        known_first(["", *_ALLOCATORS], settings),
    )
