"""Turn the options of playbooks/finetune.yml into trainings, or fail with a sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.plan.planning.training import OPTIONS, plan_trainings
from roles.plan.planning.values import OptionError, mistyped


class ActionModule(ActionBase):  # type: ignore[misc]
    """``plan_trainings:``, without arguments."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        typed = task_vars or {}
        options = {name: self._templar.template(typed[name]) for name in OPTIONS if name in typed}
        try:
            mistyped(list(load_extra_vars(self._loader)), OPTIONS)
            planned = plan_trainings(options)
        except OptionError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, **planned, "changed": False}
