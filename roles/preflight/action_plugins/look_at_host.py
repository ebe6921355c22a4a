"""Log in to a host afresh, read its clock, and run the module of the same name.

An unreachable host is a fact, so that all hosts' troubles are shown together.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

CLOCK = "date +%s.%N; echo client $SSH_CONNECTION"
Run = Callable[[str], dict[str, Any]]


def words(error: object) -> str:
    """Return the last line of ssh's or sudo's output, but for ssh's farewell."""
    lines = [line.strip() for line in str(error or "").splitlines()]
    said = [line for line in lines if line and not line.startswith("Shared connection to")]
    return said[-1] if said else "no reason given"


def complaint(looked: Mapping[str, Any]) -> str:
    """Return why a module gave no facts.

    Where Ansible could not read its answer, Ansible's message is about JSON, whatever happened.
    """
    unread = not looked.get("_ansible_parsed", True)
    own = [looked.get(name) for name in ("module_stderr", "module_stdout") if unread]
    status = f"exit status {looked['rc']}" if looked.get("rc") else ""
    return words(next(filter(None, [*own, looked.get("msg"), status]), ""))


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
            return {**seen, "trouble": {"kind": "look", "said": words(error)}}
        if "facts" not in looked:
            return {**seen, "trouble": {"kind": "look", "said": complaint(looked)}}
        return {**seen, "facts": {**looked["facts"], **login}}
