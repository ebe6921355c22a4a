"""The orchestrator's order to a fresh stage process, checked here."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from paretopipe_runtime.contract.chain import Onward
from paretopipe_runtime.contract.codecs import NONE, check_codec
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
    """One stage of a run, or its hub. Without blocks it uses the processor."""

    run_id: str
    stage: int
    stages: int  # without the hub
    backend: str
    engine: str
    allocator: str
    model: str
    classes: int
    manifest: dict[str, Any]
    # Blocks [first, end). Without any a stage hands on what it takes, or its first elements.
    first: int
    end: int
    # The tensors at its ends, known on both sides of every link from the plan.
    takes: Tensor
    gives: Tensor
    # The next stage's hosts; none for the last stage, which answers the orchestrator or the hub.
    onward: tuple[Onward, ...]
    # Stage 1's resident input: images of `image_px`, or just numbers where that is 0.
    input_batches: int
    input_seed: int
    image_px: int
    io_timeout_s: float  # for one transfer
    idle_timeout_s: float  # for the next batch to come
    # So many batches go through the blocks one by one, then, if there are codecs, as many that time
    # these too, then as many through all in one piece.
    profile_batches: int = 0
    profile_codecs: tuple[str, ...] = ()
    profile_takes: tuple[Tensor, ...] = ()  # of every block
    noise_s: float = 0.0  # times the same work for so long, and does nothing else
    device: str = "cpu"
    transport: str = "plain"
    codec: str = NONE  # of tensors between stages
    proof_batches: int = 0  # so many first ones are proved to be decoded as they were encoded
    # This host's place among those that take the stage's batches in turn.
    replica: int = 0
    replicas: int = 1
    previous: tuple[str, ...] = ()  # the hosts of the stage before

    @property
    def arrives(self) -> Tensor:
        """The form in which `takes` comes from the stage before."""
        return self.takes.written(self.codec) if self.stage > 0 else self.takes

    @property
    def leaves(self) -> Tensor:
        """The form in which `gives` goes to the next stage; predictions go as they are."""
        between = 0 <= self.stage < self.stages - 1
        return self.gives.written(self.codec) if between else self.gives

    @property
    def is_hub(self) -> bool:
        return self.stage == HUB

    @property
    def is_entry(self) -> bool:
        """Tell whether the orchestrator's requests come here."""
        return self.stage == (HUB if self.backend == "rpc_hub" else 0)

    @property
    def senders(self) -> int:
        """The connections from the stage before."""
        return max(1, len(self.previous))

    def turns(self, sender: int = 0) -> Iterator[int]:
        """Return the numbers of the batches that come here from a host of the stage before.

        Not more than one of the two stages has several hosts.
        """
        return itertools.count(self.replica + sender, self.replicas * self.senders)

    def link_digest(self, *, after: bool, other: int = 0) -> str:
        """Hash what both ends of a link must share: the next stage's host `other`, or the previous.

        Replicas share their stage's but for the two places, which tell their links apart.
        """
        facts = {
            "run_id": self.run_id,
            "stages": self.stages,
            "backend": self.backend,
            "transport": self.transport,
            "engine": self.engine,
            "codec": self.codec,
            "model": self.model,
            "classes": self.classes,
            "manifest": self.manifest,
        }
        if self.backend != "rpc_hub":  # its links only arrange a meeting
            facts["block"] = self.end if after else self.first
            facts["tensor"] = asdict(self.gives if after else self.takes)
        if max(self.replicas, len(self.onward) if after else self.senders) > 1:
            facts["replicas"] = [self.replica, other] if after else [other, self.replica]
        return hashlib.sha256(canonical(facts)).hexdigest()

    def to_message(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> StageOrder:
        """Parse an order; ``E_LAUNCH`` for a missing or malformed field."""
        try:
            given = dict(message)
            _check_kinds(given)
            for name in ("takes", "gives"):
                given[name] = _tensor(given[name])
            given["profile_takes"] = tuple(map(_tensor, given.get("profile_takes", ())))
            check_codec(given.get("codec", NONE))
            given["onward"] = tuple(_onward(*to) for to in given["onward"])
            given["previous"] = tuple(map(str, given.get("previous", ())))
            given["profile_codecs"] = tuple(map(check_codec, given.get("profile_codecs", ())))
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise ParetoPipeError(
                "E_LAUNCH",
                f"the orchestrator's order is malformed: {error!r} — do both ends run "
                "the same version? playbooks/provision.yml installs it",
            ) from error


def _tensor(given: Any) -> Tensor:
    return Tensor.checked(given["shape"], given["dtype"], given["nbytes"])


def _onward(host: Any, address: Any, port: Any, via: Any) -> Onward:
    relay = None
    if via is not None:
        at, number = via
        relay = (str(at), int(number))
    return Onward(str(host), str(address), int(port), relay)


def _check_kinds(message: dict[str, Any]) -> None:
    """Refuse values of another type than the field's, or out of range."""
    for field in fields(StageOrder):
        kinds, value = _KINDS.get(str(field.type)), message.get(field.name, field.default)
        if kinds and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise TypeError(f"{field.name} is {type(value).__name__}")
    for factor in (ENGINE, ALLOCATOR, TRANSPORT):
        if not factor.knows(message.get(factor.option, factor.default)):
            raise ValueError(f"no such {factor.option}")
    if not HUB <= message["stage"] < message["stages"]:
        raise ValueError("no such stage")
    if not 0 <= message.get("replica", 0) < message.get("replicas", 1):
        raise ValueError("no such replica")
    if not 0 <= message["first"] <= message["end"]:
        raise ValueError("blocks out of order")
    if min(message["io_timeout_s"], message["idle_timeout_s"]) <= 0:
        raise ValueError("no time to do anything")
