"""Refuse a misspelt ``-e`` name, which Ansible would ignore."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.plan.planning.values import OptionError, mistyped


class ActionModule(ActionBase):  # type: ignore[misc]
    """``check_typed: {options: names that the playbook takes}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            mistyped(list(load_extra_vars(self._loader)), self._task.args["options"])
        except OptionError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, "changed": False}
