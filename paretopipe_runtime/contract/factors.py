"""The options that tell cells apart: how a model is computed and moved, and on what. One row each.

Planning checks what was typed against these rows, plans and run keys name what they say, and the
report names, orders, groups and compares cells by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paretopipe_runtime.errors import ParetoPipeError

#: How the elements of an image-like tensor (batch, channels, height, width) lie in memory.
Layout = Literal["contiguous", "channels_last"]


@dataclass(frozen=True)
class Factor:
    """An option of a run, a list over its stages where it is `per_host`.

    `key` is its name in a run's factors; `option` the name that users type, and that plans, workers
    and profiles have. `values` are the names it can have, the default first, with a reader's words
    for each; a `numbered` one can be followed by ``:N``. `title` heads it in the report.

    `always`: named in keys where it is the default too. What came later is not, so that older runs
    keep their keys. Where `typed`, users choose it with ``-e``, else it is the inventory's.
    `suffix` follows it in the name of a cell. `computes`, `moves`: whether a profile, or a link,
    depends on it. `exceptional`: the report names it only where it is not the default. `of_hosts`:
    it says what the hosts are, not how they work. `compared`: the stages'
    figures it is compared by; `OBJECTIVES` stands for those of the whole run.
    """

    key: str
    option: str
    title: str
    values: Mapping[str, str]
    always: bool = False
    per_host: bool = False
    typed: bool = True
    suffix: str = ""
    numbered: bool = False
    computes: bool = False
    moves: bool = False
    exceptional: bool = False
    of_hosts: bool = False
    compared: tuple[str, ...] = ()

    @property
    def default(self) -> str:
        """The value where nothing is said."""
        return next(iter(self.values))

    def tags(self, values: Iterable[str]) -> list[str]:
        """Return what these values add to the name of a cell: the default nothing."""
        other = dict.fromkeys(value for value in values if value != self.default)
        return [f"{value.replace(':', '')}{self.suffix}" for value in other]

    def knows(self, value: object) -> bool:
        """Whether a value is one of this factor's."""
        if not isinstance(value, str) or value in self.values:
            return isinstance(value, str)
        name, _, number = value.partition(":")
        return self.numbered and name in self.values and bool(re.fullmatch("[0-9]{1,2}", number))

    def check(self, value: object) -> str:
        """Return a value of this factor.

        Raises
        ------
        ParetoPipeError
            ``E_BACKEND``, ``E_ENGINE``, …: which names are known.
        """
        if self.knows(value):
            return str(value)
        known = ", ".join(name for name in self.values if name)
        raise ParetoPipeError(
            f"E_{self.option.upper()}",
            f"unknown {self.option} {value!r}: known are {known} — choose one with "
            f"-e {self.option}=…",
        )

    def word(self, value: str) -> str:
        """Return what a reader calls a value, or its name with the underscores opened."""
        if value in self.values:
            return self.values[value]
        name, _, number = value.partition(":")
        if number and name in self.values:
            return f"{self.values[name]} {number}"
        return value.replace("_", " ")

    def rank(self, value: str | Sequence[str]) -> tuple[tuple[int, str], ...]:
        """Sort values as they are listed, unknown ones last."""
        order = [*self.values]
        values = [value] if isinstance(value, str) else value
        return tuple((order.index(v) if v in order else len(order), v) for v in values)


@dataclass(frozen=True)
class Engine:
    """What computes a stage, and what holds for it everywhere.

    `tolerance` is the largest relative error of its logits against the unsplit eager model's that
    still counts as the same answer. `layout` is how its stages take and give tensors, and so how
    they travel. `cuda`: whether its stages can be moved to a GPU; the others are made for the
    processor.
    """

    name: str
    words: str
    tolerance: float
    layout: Layout = "contiguous"
    cuda: bool = False


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("eager", "PyTorch eager", 5e-5, cuda=True),
        Engine(
            "channels_last",
            *("channels-last PyTorch with folded batch norms", 1e-4, "channels_last"),
            cuda=True,
        ),
        Engine("onnxruntime", "ONNX Runtime", 1e-4),
        Engine("compile", "torch.compile", 1e-4, "channels_last"),
    )
}
CUDA_ENGINES = tuple(engine.name for engine in ENGINES.values() if engine.cuda)

OBJECTIVES = "objectives"
BACKEND = Factor(
    *("backend", "backend", "Backend"),
    {
        "socket": "TCP sockets",
        "rpc": "PyTorch RPC",
        "rpc_hub": "PyTorch RPC through the orchestrator",
    },
    always=True,
    moves=True,
    compared=(OBJECTIVES,),
)
TRANSPORT = Factor(
    *("transport", "transport", "Transport"),
    {"plain": "plain TCP", "tls": "TLS 1.3"},
    moves=True,
    compared=(OBJECTIVES,),
)
ENGINE = Factor(
    *("engine", "engine", "Engine"),
    {engine.name: engine.words for engine in ENGINES.values()},
    always=True,
    computes=True,
    compared=("compute_s",),
)
ALLOCATOR = Factor(
    *("allocators", "allocator", "Memory allocator"),
    {"tuned": "tuned malloc", "default": "default malloc"},
    always=True,
    per_host=True,
    suffix="_malloc",
    computes=True,
    moves=True,
    compared=("compute_s", "peak_rss_bytes"),
)
DEVICE = Factor(
    *("devices", "device", "Computed on"),
    {"cpu": "CPU", "cuda": "GPU"},  # by the names that PyTorch has; ``cuda`` is ``cuda:0``
    per_host=True,
    typed=False,
    numbered=True,
    computes=True,
    exceptional=True,
    compared=(OBJECTIVES, "compute_s"),
)
EMULATION = Factor(
    *("emulation", "emulation", "Hosts"),
    {"": "hosts", "processes": "processes on one machine, link emulated in user space"},
    typed=False,
    computes=True,
    moves=True,
    exceptional=True,
    of_hosts=True,
)
FACTORS = (BACKEND, TRANSPORT, ENGINE, ALLOCATOR, DEVICE, EMULATION)
#: In the order of names and pages: what the hosts are comes before how they work.
BY_HOSTS = tuple(sorted(FACTORS, key=lambda factor: not factor.of_hosts))
#: Those that a plan, a link and a cell have one value of, and those of each worker.
OF_CELL = tuple(factor for factor in FACTORS if not factor.per_host)
OF_WORKER = tuple(factor for factor in FACTORS if factor.per_host)

#: What an experiment can vary from cell to cell; what computes changes slowest.
VARIED = tuple(sorted((f for f in OF_CELL if f.typed), key=lambda factor: not factor.computes))


class Variant(dict[str, Any]):
    """Values by factor, hashable: what cells that differ in nothing but model and place share."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))


def stated(factors: Iterable[Factor], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values to be named under their options: the defaults only where always."""
    return {
        factor.option: values[factor.option]
        for factor in factors
        if factor.always or values[factor.option] != factor.default
    }


def in_key(
    of_cell: Mapping[str, str],
    workers: Sequence[Mapping[str, str]],
    stages: int,
    only: Callable[[Factor], bool] = lambda _: True,
) -> dict[str, Any]:
    """Return what a run's factors say of how it is computed and moved, as part of its key.

    A factor by host that is not always named is where any of the cell's hosts differs, also if the
    run has fewer `stages` than the cell.
    """
    found: dict[str, Any] = {}
    for factor in filter(only, FACTORS):
        if not factor.per_host:
            found |= stated([factor], of_cell)
        elif factor.always or any(w[factor.option] != factor.default for w in workers):
            found[factor.key] = [worker[factor.option] for worker in workers[:stages]]
    return found


def check_device(engine: str, device: str, host: str) -> None:
    """Refuse an engine on a device that it does not compute on.

    Raises
    ------
    ParetoPipeError
        ``E_ENGINE``, which names the engines that do.
    """
    if device != DEVICE.default and engine not in CUDA_ENGINES:
        able = " or ".join(f"-e engine={name}" for name in CUDA_ENGINES)
        raise ParetoPipeError(
            "E_ENGINE",
            f"engine {engine} computes on processors only, and {host} is to compute on {device} — "
            f"choose {able}, or set worker_device: cpu for {host} in the inventory",
        )
