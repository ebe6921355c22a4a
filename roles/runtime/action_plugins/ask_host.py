"""Run a command over the connection itself: no module is sent to the host and started for it.

For questions, and for what leaves nothing behind. Runs in check mode too, and is no change.
"""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """``ask_host: {argv: [words], stdin: text}``, with the results of ansible.builtin.command."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `rc`, `stdout` without its last newline, and `stderr`; fail unless `rc` is 0."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        words = [str(word) for word in self._task.args["argv"]]
        # With something on its standard input a command gets no terminal, where systemd and others
        # would colour their words and errors would be mixed with answers.
        said = str(self._task.args.get("stdin", "")) + "\n"
        done = self._low_level_execute_command(
            f"LC_ALL=C {shlex.join(words)}", in_data=said.encode(), sudoable=True
        )
        lines = done["stdout"].splitlines()
        answer = {"rc": done["rc"], "stdout": "\n".join(lines), "stdout_lines": lines}
        failed = {"failed": True, "msg": f"{words[0]} ended with {done['rc']}: {done['stderr']}"}
        stderr = {"stderr": done["stderr"], "changed": False}
        return {**result, **answer, **stderr, **(failed if done["rc"] else {})}
