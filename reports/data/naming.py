"""What a cell is called; backend, transport, engine and allocator only where they tell cells apart.

A GPU is always named: a reader must know what ran where. That hosts are none, where some are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.data.cells import Cell
from reports.data.kinds import (
    UNKNOWN_ALLOCATOR,
    allocator_name,
    allocators_name,
    backend_name,
    devices_name,
    emulation_name,
    engine_name,
    transport_name,
)
from reports.words import pairing_name


@dataclass(frozen=True)
class Naming:
    """Which of these a report has to name; a plain report names none."""

    backends: bool
    engines: bool
    allocators: bool
    transports: bool = False
    devices: bool = True
    emulations: bool = False

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Naming:
        """Find out what these cells differ in, or have other than the default."""
        allocators = {allocators_name(cell.allocators, cell.hosts) for cell in cells}
        return cls(
            backends={cell.backend for cell in cells} != {"socket"},
            transports={cell.transport for cell in cells} != {"plain"},
            engines={cell.engine for cell in cells} != {"eager"},
            emulations=len({cell.emulation for cell in cells}) > 1,
            allocators=allocators not in ({allocator_name("tuned")}, {UNKNOWN_ALLOCATOR}),
        )

    def over(self, cell: Cell) -> str:
        """Return 'over PyTorch RPC, ONNX Runtime, default malloc', or nothing."""
        named = [f"over {backend_name(cell.backend)}"] if self.backends else []
        named += [transport_name(cell.transport)] if self.transports else []
        named += [engine_name(cell.engine)] if self.engines else []
        named += [allocators_name(cell.allocators, cell.hosts)] if self.allocators else []
        named += [devices_name(cell.devices, cell.hosts)] if self.devices and cell.devices else []
        if self.emulations and cell.emulation:
            named += [emulation_name(cell.emulation)]
        return ", ".join(named)

    def place(self, cell: Cell) -> str:
        """Return 'Pi-to-Pi, baseline, over PyTorch RPC': where a cell was measured, and how."""
        parts = (pairing_name(cell.pairing), cell.scenario, self.over(cell))
        return ", ".join(part for part in parts if part)
