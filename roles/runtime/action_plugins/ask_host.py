"""Run a read-only command over the connection, in check mode too, without sending a module."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """``ask_host: {argv: [words], stdin: text}``; results as ansible.builtin.command."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        words = [str(word) for word in self._task.args["argv"]]
        # Input keeps the command off a terminal, where systemd and others would colour their
        # output, and errors would mix with it.
        said = str(self._task.args.get("stdin", "")) + "\n"
        done = self._low_level_execute_command(
            f"LC_ALL=C {shlex.join(words)}", in_data=said.encode(), sudoable=True
        )
        lines = done["stdout"].splitlines()
        answer = {"rc": done["rc"], "stdout": "\n".join(lines), "stdout_lines": lines}
        failed = {"failed": True, "msg": f"{words[0]} ended with {done['rc']}: {done['stderr']}"}
        stderr = {"stderr": done["stderr"], "changed": False}
        return {**result, **answer, **stderr, **(failed if done["rc"] else {})}
