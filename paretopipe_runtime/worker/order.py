"""The order that tells a fresh stage process what to be: sent by the orchestrator, checked here."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any

from paretopipe_runtime.contract.factors import ALLOCATOR, ENGINE, TRANSPORT
from paretopipe_runtime.contract.lines import canonical
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.frames import Tensor

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "dict[str, Any]": (dict,),
}
HUB = -1  # the hub's stage number: it comes before the first stage


@dataclass(frozen=True)
class StageOrder:
    """One stage of one run, or its hub.

    `takes` and `gives` are the tensors at its two ends, known on both sides of every link from the
    plan: a frame that differs is an error, whatever it says of itself. `next_stage` is
    ``(host, address, port)``, None for the last stage, which answers the orchestrator unless there
    is a hub; `via` is where to connect for it, None for its own address. `stages` counts them,
    without the hub.
    `backend`, `engine`, `allocator`, `device` and `transport` are the plan's factors; what has no
    block computes on the processor.
    A stage without blocks, `first` equal to `end`, hands on what it takes: all of it, or its first
    elements where it gives less.
    `input_batches` and `input_seed` make stage 1's resident input: images of `image_px`, or just
    numbers where that is 0. `io_timeout_s` bounds one transfer, `idle_timeout_s` the wait for the
    next batch. With `profile_batches` the blocks are profiled: so many batches go through them one
    by one, and then as many through all in one piece.
    """

    run_id: str
    stage: int
    stages: int
    backend: str
    engine: str
    allocator: str
    model: str
    classes: int
    manifest: dict[str, Any]
    first: int
    end: int
    takes: Tensor
    gives: Tensor
    next_stage: tuple[str, str, int] | None
    input_batches: int
    input_seed: int
    image_px: int
    io_timeout_s: float
    idle_timeout_s: float
    profile_batches: int = 0
    device: str = "cpu"
    transport: str = "plain"
    via: tuple[str, int] | None = None

    @property
    def is_hub(self) -> bool:
        """Whether this is the hub, which computes nothing."""
        return self.stage == HUB

    @property
    def is_entry(self) -> bool:
        """Whether the orchestrator's requests come here."""
        return self.stage == (HUB if self.backend == "rpc_hub" else 0)

    def link_digest(self, *, after: bool) -> str:
        """Return the SHA-256 of what both stages of a link must have been told alike.

        `after` is the link to the next stage, else the one from the stage before.
        """
        facts = {
            "run_id": self.run_id,
            "stages": self.stages,
            "backend": self.backend,
            "transport": self.transport,
            "engine": self.engine,
            "model": self.model,
            "classes": self.classes,
            "manifest": self.manifest,
        }
        if self.backend != "rpc_hub":  # its links only arrange a meeting
            facts["block"] = self.end if after else self.first
            facts["tensor"] = asdict(self.gives if after else self.takes)
        return hashlib.sha256(canonical(facts)).hexdigest()

    def to_message(self) -> dict[str, Any]:
        """Return the JSON object that carries this order."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> StageOrder:
        """Rebuild the order from its JSON object.

        Raises
        ------
        ParetoPipeError
            ``E_LAUNCH`` where a field is missing, unknown or malformed.
        """
        try:
            given = dict(message)
            _check_kinds(given)
            for name in ("takes", "gives"):
                tensor = given[name]
                given[name] = Tensor.checked(tensor["shape"], tensor["dtype"], tensor["nbytes"])
            if given["next_stage"] is not None:
                host, address, port = given["next_stage"]
                given["next_stage"] = (str(host), str(address), int(port))
            if given.get("via") is not None:
                address, port = given["via"]
                given["via"] = (str(address), int(port))
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise ParetoPipeError(
                "E_LAUNCH",
                f"the orchestrator's order is malformed: {error!r} — do both ends run "
                "the same version? playbooks/provision.yml installs it",
            ) from error


def _check_kinds(message: dict[str, Any]) -> None:
    """Refuse an order whose values are not of the kind that `StageOrder` says, or out of range."""
    for field in fields(StageOrder):
        kinds, value = _KINDS.get(str(field.type)), message.get(field.name, field.default)
        if kinds and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise TypeError(f"{field.name} is {type(value).__name__}")
    for factor in (ENGINE, ALLOCATOR, TRANSPORT):
        if not factor.knows(message.get(factor.option, factor.default)):
            raise ValueError(f"no such {factor.option}")
    if not HUB <= message["stage"] < message["stages"]:
        raise ValueError("no such stage")
    if not 0 <= message["first"] <= message["end"]:
        raise ValueError("blocks out of order")
    if min(message["io_timeout_s"], message["idle_timeout_s"]) <= 0:
        raise ValueError("no time to do anything")
