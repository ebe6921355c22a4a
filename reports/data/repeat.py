"""Commands to repeat a measurement, from the plans' options."""

from __future__ import annotations

from collections.abc import Sequence

from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.commands import command, stated
from paretopipe_runtime.contract.commands import to_profile as profiling
from paretopipe_runtime.contract.models import file_name
from paretopipe_runtime.contract.splits import codec_of
from reports.data.cells import Cell, Cuts
from reports.words import slug

#: Of a sweep of what is in doubt: one split alone is none.
_DOUBTFUL = {"strategy", "budget", "audit", "within", "sentinel", "drift_limit"}


def commands(cells: Sequence[Cell]) -> list[str]:
    """Return the distinct commands of the plans, in order."""
    found = (
        command(options, emulation=cell.variant["emulation"])
        for cell in cells
        if (options := stated(cell.plan, cell.model))
    )
    return [*dict.fromkeys(found)]


def of_split(cell: Cell, name: str, cuts: Cuts) -> str:
    """Return the command that measures one split of a cell again, as a sweep of its own."""
    asked = stated(cell.plan, cell.model) or {"model": cell.model}
    if asked.get("strategy") == "doubtful":
        asked = {key: value for key, value in asked.items() if key not in _DOUBTFUL}
    own = asked.get("pairings")  # a mapping, if its hosts were typed
    pairing = {cell.pairing: [*cell.hosts]} if isinstance(own, dict) else cell.pairing
    options = {**asked, "scenarios": cell.scenario, "pairings": pairing}
    sweep = f"{asked.get('sweep') or file_name(cell.model)}-{slug(name)}"
    if (codec := codec_of(cuts)) != asked.get("codec", NONE):
        options["codec"] = codec
    return command(
        {**options, "splits": [list(cuts)], "sweep": sweep}, emulation=cell.variant["emulation"]
    )


def of_all(cell: Cell) -> str:
    """Return the command that measures every split of a doubtful sweep, its runs reused."""
    asked = stated(cell.plan, cell.model) or {"model": cell.model}
    left = {key: value for key, value in asked.items() if key not in ("budget", "audit", "within")}
    return command({**left, "strategy": "exhaustive"}, emulation=cell.variant["emulation"])


def to_profile(cell: Cell) -> str:
    """Return the command that profiles a cell's model and hosts."""
    return profiling(cell.plan, cell.model, cell.variant)
