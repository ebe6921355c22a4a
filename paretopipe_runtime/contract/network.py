"""The network of one hop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract import units


@dataclass(frozen=True)
class Network:
    """One hop's network: as set, and as measured; unshaped without either."""

    netem: dict[str, Any] | None = None
    measured: dict[str, Any] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        return {"asked": self.netem, "measured": self.measured}

    @property
    def asked_rate_mbit(self) -> float | None:
        return units.mbit((self.netem or {}).get("rate"))

    @property
    def asked_delay_s(self) -> float:
        """The scenario's one-way delay."""
        return units.seconds((self.netem or {}).get("delay")) or 0.0

    @property
    def least_delay_s(self) -> float:
        """A lower bound of every packet's delay: 0 with jitter."""
        varies = units.seconds((self.netem or {}).get("jitter"))
        return 0.0 if varies else self.asked_delay_s

    @property
    def rate_mbit(self) -> float | None:
        """The rate as measured, else as asked, else None."""
        measured = self.measured and self.measured.get("rate_mbit")
        return float(measured) if measured else self.asked_rate_mbit

    @property
    def rtt_s(self) -> float:
        """The round-trip time as measured, else as asked, else 0."""
        if self.measured and self.measured.get("rtt_ms"):
            return float(self.measured["rtt_ms"]) / 1000
        return self.asked_rtt_s

    @property
    def asked_rtt_s(self) -> float:
        return self.asked_delay_s * (2 if (self.netem or {}).get("direction") == "symmetric" else 1)

    def transfer_s(self, nbytes: int) -> float:
        """Return the seconds of a payload at the asked rate; 0 without one."""
        return units.transfer_s(nbytes, self.asked_rate_mbit)
