"""Check the options of `playbooks/report.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paretopipe_runtime.contract.accuracy import MARGIN

from .choice import checked_goal
from .models import sweep_name
from .values import OptionError, flag, folder, fraction, points, text

OPTIONS = ("sweep", "model", "against", "dominance", "accuracy_margin", "paper", "goal")


def plan_report(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, with defaults, and the name of the sweep.

    Raises
    ------
    OptionError
        For a missing or unknown name, or a number out of range.
    """
    if not {"sweep", "model"} & options.keys():
        raise OptionError("no sweep named: say -e model=… or -e sweep=…, as it was measured")
    against = text("against", options.get("against", ""))
    return {
        "sweep": sweep_name(options),
        "against": folder("against", against) if against else "",
        "dominance": fraction("dominance", options.get("dominance", 0.02)),
        "accuracy_margin": points("accuracy_margin", options.get("accuracy_margin", MARGIN)),
        "paper": flag("paper", options.get("paper", False)),
        "goal": checked_goal(text("goal", options.get("goal", ""))),
    }
