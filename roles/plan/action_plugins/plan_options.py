"""Turn the options of finetune.yml or report.yml into a plan, or fail with a sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.plan.planning import report, training
from roles.plan.planning.values import OptionError

PLANNERS = {
    "report": (report.OPTIONS, report.plan_report),
    "trainings": (training.OPTIONS, training.plan_trainings),
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """``plan_options: {of: report or trainings}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        typed = task_vars or {}
        names, planner = PLANNERS[self._task.args["of"]]
        options = {name: self._templar.template(typed[name]) for name in names if name in typed}
        try:
            planned = planner(options)
        except OptionError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, **planned, "changed": False}
