"""The form of a tensor that the plan lets cross one boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.frames import DTYPES, FrameType, Header


@dataclass(frozen=True)
class Tensor:
    """Shape (batch first), element type (numpy's name) and size in bytes."""

    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    @classmethod
    def checked(cls, shape: list[Any], dtype: str, nbytes: int) -> Self:
        """Return the form that a peer's order names, once it is one that a frame can have.

        Raises
        ------
        ValueError
            For a size that is not the shape's.
        """
        sizes = all(type(size) is int and 0 <= size < 2**32 for size in shape)
        if not sizes or len(shape) > frames.MAX_DIMS or dtype not in frames.DTYPE_CODES:
            raise ValueError(f"{str(dtype)[:20]} of {len(shape)} dimensions is no tensor's form")
        if nbytes != math.prod(shape) * frames.ITEMSIZE[frames.DTYPE_CODES[dtype]]:
            raise ValueError(f"a tensor of {nbytes} B that its shape does not make")
        return cls(tuple(shape), dtype, nbytes)

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
