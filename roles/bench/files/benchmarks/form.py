"""Parameters of a transport round. The measuring process imports it: no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from paretopipe_runtime.wire.frames import Tensor

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Form:
    """Tensors, acknowledgements and allocator that both ends of a connection agree on."""

    method: str
    allocator: str
    nbytes: int
    pings: int
    streams: int

    def to_message(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def name(self) -> str:
        """All fields in one word, for a peer that receives only a run's name."""
        return f"{self.method}-{self.allocator}-{self.nbytes}-{self.pings}-{self.streams}"

    @classmethod
    def parse(cls, name: str) -> Form:
        """Invert `name`."""
        method, setting, nbytes, pings, streams = name.split("-")
        return cls(method, setting, int(nbytes), int(pings), int(streams))

    @property
    def transport(self) -> str:
        return "tls" if self.method == "tls" else "plain"

    @property
    def tensor(self) -> Tensor:
        return Tensor((self.nbytes // 4,), "float32", self.nbytes)
