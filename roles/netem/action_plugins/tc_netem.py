"""Shape an interface or restore it; one shell line suffices where nothing is shaped.

roles/netem/library/tc_netem.py does the work. A sweep restores often, and on a small host a module
takes seconds to start.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from ansible.plugins.action import ActionBase

CLEAR = "clear"


def clear_command(interface: str) -> str:
    """Return a shell line that prints `CLEAR` where there is neither shaping nor lease.

    Where it cannot tell it prints nothing, and the module reports why.
    """
    device = shlex.quote(interface)
    unit = "paretopipe-netem-revert-" + re.sub(r"[^A-Za-z0-9:_.-]", "_", interface)
    steps = (
        f"index=$(ip -j link show dev {device} | sed -n 's/.*\"ifindex\": *\\([0-9]*\\).*/\\1/p')",
        'test -n "$index"',
        f"qdisc=$(tc qdisc show dev {device} root)",
        "! echo \"$qdisc\" | grep -q '^qdisc [a-z]* 5a5a: '",
        '! ip link show dev "ppifb$index" >/dev/null 2>&1',
        f"timer=$(systemctl show --property=ActiveState {shlex.quote(unit)}.timer)",
        '! echo "$timer" | grep -qx ActiveState=active',
        f"echo {CLEAR}",
    )
    return "PATH=$PATH:/usr/sbin:/sbin; " + " && ".join(steps)


class ActionModule(ActionBase):  # type: ignore[misc]
    """``tc_netem: {…the module's parameters}``."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("state") == "absent":
            command = clear_command(str(arguments["interface"]))
            said = self._low_level_execute_command(command, in_data=b"\n", sudoable=True)
            if said["stdout"].split() == [CLEAR]:
                return {**result, "changed": False}
        done = self._execute_module(
            module_name="tc_netem", module_args=arguments, task_vars=task_vars
        )
        return {**result, **done}
