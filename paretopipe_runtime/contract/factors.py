"""Options that tell cells apart, one row each.

Planning, plans, run keys and the report take their names, values and order from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paretopipe_runtime.errors import ParetoPipeError

#: Memory format of a tensor (batch, channels, height, width).
Layout = Literal["contiguous", "channels_last"]


@dataclass(frozen=True)
class Factor:
    """An option of a run, a list over its stages where `per_host`.

    `key`: its name in a run's factors. `option`: its name for users, plans and workers. `values`:
    the default first, with words for readers; a `numbered` one may be followed by ``:N``.

    `always`: in keys even as default; later factors are not, so that older runs keep their keys.
    `typed`: chosen with ``-e``, else in the inventory. `suffix`: ends its tag in a cell's name.
    `computes`, `moves`: matters to a profile, to a link. `exceptional`: reported unless default.
    `of_hosts`: describes hosts, not their work. `compared`: stages' figures to compare it by;
    `OBJECTIVES` stands for those of the whole run.
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
        return next(iter(self.values))

    def tags(self, values: Iterable[str]) -> list[str]:
        """Return the tags of non-default values for a cell's name."""
        other = dict.fromkeys(value for value in values if value != self.default)
        return [f"{value.replace(':', '')}{self.suffix}" for value in other]

    def knows(self, value: object) -> bool:
        if not isinstance(value, str) or value in self.values:
            return isinstance(value, str)
        name, _, number = value.partition(":")
        return self.numbered and name in self.values and bool(re.fullmatch("[0-9]{1,2}", number))

    def check(self, value: object) -> str:
        """Return a known value.

        Raises
        ------
        ParetoPipeError
            ``E_`` and the option's name, for an unknown one.
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
        """Return a value's words for readers."""
        if value in self.values:
            return self.values[value]
        name, _, number = value.partition(":")
        if number and name in self.values:
            return f"{self.values[name]} {number}"
        return value.replace("_", " ")

    def rank(self, value: str | Sequence[str]) -> tuple[tuple[int, str], ...]:
        """Return a sort key in order of `values`, unknown ones last."""
        order = [*self.values]
        values = [value] if isinstance(value, str) else value
        return tuple((order.index(v) if v in order else len(order), v) for v in values)


@dataclass(frozen=True)
class Engine:
    """An engine that computes stages.

    `tolerance`: largest relative error of its logits against the unsplit eager model's. `layout`:
    of its tensors, also on the wire. `cuda`: can compute on a GPU. `built`: takes minutes over the
    first load of a stage, so that `prepare` has it done.
    """

    name: str
    words: str
    tolerance: float
    layout: Layout = "contiguous"
    cuda: bool = False
    built: bool = False


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
        Engine("compile", "torch.compile", 1e-4, "channels_last", built=True),
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
#: In the order of names and pages.
BY_HOSTS = tuple(sorted(FACTORS, key=lambda factor: not factor.of_hosts))
#: One value per cell or link, and one per worker.
OF_CELL = tuple(factor for factor in FACTORS if not factor.per_host)
OF_WORKER = tuple(factor for factor in FACTORS if factor.per_host)

#: Varied by experiments; factors of computation change slowest.
VARIED = tuple(sorted((f for f in OF_CELL if f.typed), key=lambda factor: not factor.computes))


class Variant(dict[str, Any]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))


def stated(factors: Iterable[Factor], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by option, leaving out defaults that are not `always` named."""
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
    """Return the factors' part of a run's key.

    A per-host factor is in if any host of the cell differs, even one without a stage of this run.
    """
    found: dict[str, Any] = {}
    for factor in filter(only, FACTORS):
        if not factor.per_host:
            found |= stated([factor], of_cell)
        elif factor.always or any(w[factor.option] != factor.default for w in workers):
            found[factor.key] = [worker[factor.option] for worker in workers[:stages]]
    return found


def check_device(engine: str, device: str, host: str) -> None:
    """Refuse an engine on a device that it cannot use.

    Raises
    ------
    ParetoPipeError
        ``E_ENGINE``
    """
    if device != DEVICE.default and engine not in CUDA_ENGINES:
        able = " or ".join(f"-e engine={name}" for name in CUDA_ENGINES)
        raise ParetoPipeError(
            "E_ENGINE",
            f"engine {engine} computes on processors only, and {host} is to compute on {device} — "
            f"choose {able}, or set worker_device: cpu for {host} in the inventory",
        )
