"""What the transport benchmark moves in a round. The process that measures reads it: no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from paretopipe_runtime.wire.frames import Tensor

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Form:
    """What both sides of a connection do in each round, and how they get their memory."""

    method: str
    allocator: str
    nbytes: int
    pings: int
    streams: int

    def to_message(self) -> dict[str, Any]:
        """Return the JSON object that carries it."""
        return asdict(self)

    @property
    def name(self) -> str:
        """All of it in one word, for a peer that is told nothing but a name."""
        return f"{self.method}-{self.allocator}-{self.nbytes}-{self.pings}-{self.streams}"

    @classmethod
    def parse(cls, name: str) -> Form:
        """Return the form of that name."""
        method, setting, nbytes, pings, streams = name.split("-")
        return cls(method, setting, int(nbytes), int(pings), int(streams))

    @property
    def transport(self) -> str:
        """``tls`` where the connection is encrypted, ``plain`` where it is not."""
        return "tls" if self.method == "tls" else "plain"

    @property
    def tensor(self) -> Tensor:
        """The float32 tensor that travels."""
        return Tensor((self.nbytes // 4,), "float32", self.nbytes)
