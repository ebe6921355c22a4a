"""The form of a tensor that the plan lets cross one boundary."""

from __future__ import annotations

from dataclasses import dataclass

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.frames import DTYPES, FrameType, Header


@dataclass(frozen=True)
class Tensor:
    """Shape (batch first), element type (numpy's name) and size in bytes."""

    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    def check(self, header: Header, peer: str) -> None:
        """Refuse a frame that is not exactly this tensor, before anything is read or allocated.

        Raises
        ------
        ParetoPipeError
            ``E_ORDER`` for another kind of frame, ``E_SHAPE`` for another tensor.
        """
        if header.type is not FrameType.TENSOR:
            raise ParetoPipeError("E_ORDER", f"{peer}: {header.type.name} came, expected TENSOR")
        came = (header.shape, DTYPES[header.dtype], header.payload_nbytes)
        if came != (self.shape, self.dtype, self.nbytes):
            raise ParetoPipeError(
                "E_SHAPE",
                f"batch {header.batch_id} from {peer}: got {came[1]}{list(came[0])}, plan says "
                f"{self.dtype}{list(self.shape)} — the nodes disagree; run playbooks/provision.yml",
            )
