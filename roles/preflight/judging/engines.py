"""Check of what an engine's packages are made for."""

from __future__ import annotations

from .findings import Asked, Host, Verdict, ok, stop

#: What ExecuTorch 1.5.1 has wheels for, and the first release of PyTorch that its runtime ran with.
MACHINES = ("x86_64", "aarch64")
PYTHONS = ((3, 10), (3, 13))
FIRST_TORCH = (2, 13)


def engine(host: Host, asked: Asked) -> Verdict | None:
    """Refuse engine xnnpack where ExecuTorch has no wheel, or PyTorch is too old for it."""
    if all(load.engine != "xnnpack" for load in asked.loads.get(host.name, ())):
        return None
    machine, python = host.facts["machine"], host.facts["python"]["version"] or "3.11"
    torch = host.duty["torch"]
    first, last = (".".join(map(str, version)) for version in PYTHONS)
    for seen, fits, expected in (
        (machine, machine in MACHINES, " or ".join(MACHINES)),
        (f"Python {python}", PYTHONS[0] <= _numbers(python) <= PYTHONS[1], f"{first} to {last}"),
        (
            f"torch {torch}",
            _numbers(torch) >= FIRST_TORCH,
            f"{'.'.join(map(str, FIRST_TORCH))} or newer",
        ),
    ):
        if not fits:
            return stop(
                f"engine xnnpack has no ExecuTorch for {seen}, expected {expected}: choose another "
                "with -e engine=…, or leave this host out"
            )
    return ok("ExecuTorch is made for it")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2])
