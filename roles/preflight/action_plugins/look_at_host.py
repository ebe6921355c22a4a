"""Log in to a host afresh, read its clock, and run the module of the same name.

An unreachable host is a fact, so that all hosts' troubles are shown together.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

CLOCK = "date +%s.%N; echo client $SSH_CONNECTION"
Run = Callable[[str], dict[str, Any]]


def words(error: object) -> str:
    """Return the last line of ssh's or sudo's output."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def log_in(run: Run) -> dict[str, Any]:
    """Return login time, clock offset and our address as the host sees it.

    The first command opens the connection; the second reads the clock, so that the offset is known
    to half its duration.
    """
    began = time.time()
    run("true")
    opened = time.time()
    answer = run(CLOCK)
    ended = time.time()
    said = str(answer.get("stdout", ""))
    stamp = re.search(r"(?m)^(\d+\.\d+)", said)
    client = re.search(r"(?m)^client (\S+)", said)
    offset_s = float(stamp[1]) - (opened + ended) / 2 if stamp else None
    return {
        "login_s": opened - began,
        "clock_offset_s": offset_s,
        "clock_slack_s": (ended - opened) / 2,
        "ssh_client": client[1] if client else "",
    }


class ActionModule(ActionBase):  # type: ignore[misc]
    """``look_at_host: {duty: anything, …the module's}``; `duty` is returned."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `facts`, or `trouble` with a kind and words."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        seen: dict[str, Any] = {**result, "changed": False, "duty": arguments.pop("duty", {})}
        remote = self._connection.transport != "local"
        if remote:
            with contextlib.suppress(AttributeError, AnsibleError):
                self._connection.reset()  # an open one would hide the login time
        try:
            login = log_in(lambda line: dict(self._low_level_execute_command(line, sudoable=False)))
        except AnsibleConnectionFailure as error:
            return {**seen, "trouble": {"kind": "login", "said": words(error)}}
        client = login.pop("ssh_client") if remote else ""
        try:
            looked = self._execute_module(
                module_name="look_at_host",
                module_args={**arguments, "ssh_client": client},
                task_vars=task_vars,
            )
        except AnsibleError as error:
            return {**seen, "trouble": {"kind": "sudo", "said": words(error)}}
        if "facts" not in looked:
            said = looked.get("msg") or looked.get("module_stderr")
            return {**seen, "trouble": {"kind": "look", "said": words(said)}}
        return {**seen, "facts": {**looked["facts"], **login}}
