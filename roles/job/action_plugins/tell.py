"""Show a message, or something brief where its playbook is a part of another."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """``tell: {msg: text, brief: text}``; callback_plugins/console.py chooses."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("msg", "brief"))
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        return {**result, **self._task.args, "changed": False, "_ansible_verbose_always": True}
