"""Check of what an engine's packages are made for."""

from __future__ import annotations

from .findings import Asked, Host, Verdict, ok, stop

#: What ExecuTorch 1.5.1 has wheels for, and the release of PyTorch that its runtime was tried with.
MACHINES = ("x86_64", "aarch64")
PYTHONS = ((3, 10), (3, 13))
FIRST_TORCH = (2, 13)
#: Another that runs the same programs, and its PyTorch.
OLDER, OLDER_TORCH = "1.0.1", (2, 9)


def engine(host: Host, asked: Asked) -> Verdict | None:
    """Refuse engine xnnpack where ExecuTorch has no wheel, or PyTorch is too old for it."""
    if all(load.engine != "xnnpack" for load in asked.loads.get(host.name, ())):
        return None
    machine, python = host.facts["machine"], host.facts["python"]["version"] or "3.11"
    torch = host.duty["torch"]
    other = "choose another with -e engine=…"
    if machine not in MACHINES:
        return stop(
            f"engine xnnpack has no ExecuTorch for {machine}, expected "
            f"{' or '.join(MACHINES)}: {other}"
        )
    if not PYTHONS[0] <= _numbers(python) <= PYTHONS[1]:
        first, last = (".".join(map(str, version)) for version in PYTHONS)
        return stop(
            f"engine xnnpack has no ExecuTorch for Python {python}, expected {first} to {last}: "
            f"set runtime_python to one, or {other}"
        )
    if _numbers(torch) < FIRST_TORCH and not host.duty["executorch"]:
        older = f"set runtime_versions: {{executorch: {OLDER}}}, or "
        return stop(
            f"engine xnnpack's ExecuTorch does not load with torch {torch}, expected "
            f"{'.'.join(map(str, FIRST_TORCH))} or newer: "
            f"{older if _numbers(torch) == OLDER_TORCH else ''}{other}"
        )
    return ok("ExecuTorch is made for it")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2])
