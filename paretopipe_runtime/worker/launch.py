"""The order that tells a fresh stage process what to be: sent by the orchestrator, checked here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.tensor import Tensor


@dataclass(frozen=True)
class Launch:
    """One stage of one run.

    `takes` and `gives` are the tensors at its two ends, known on both sides of every link from the
    plan: a frame that differs is an error, whatever it says of itself. `next_stage` is
    ``(host, address, port)``, None for the last stage, which answers the orchestrator.
    `backend`, `engine` and `allocator` are the plan's factors.
    `input_batches` and `input_seed` make stage 1's resident input. `io_timeout_s` bounds one
    transfer, `idle_timeout_s` the wait for the next batch.
    """

    run_id: str
    stage: int
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

    def to_message(self) -> dict[str, Any]:
        """Return the JSON object that carries this order."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Launch:
        """Rebuild the order from its JSON object.

        Raises
        ------
        ParetoPipeError
            ``E_LAUNCH`` where a field is missing, unknown or malformed.
        """
        try:
            fields = dict(message)
            for name in ("takes", "gives"):
                tensor = fields[name]
                fields[name] = Tensor(tuple(tensor["shape"]), tensor["dtype"], tensor["nbytes"])
            if fields["next_stage"] is not None:
                host, address, port = fields["next_stage"]
                fields["next_stage"] = (str(host), str(address), int(port))
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ParetoPipeError(
                "E_LAUNCH",
                f"the orchestrator's order is malformed: {error!r} — do both ends run "
                "the same version? playbooks/provision.yml installs it",
            ) from error
