"""Shape an interface, or put it back; where nothing of ours is there, one shell line sees that.

What does it is the module of the same name (roles/netem/library/tc_netem.py). A sweep puts back
again and again what nobody has shaped, and on a small host a module takes seconds to start.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from ansible.plugins.action import ActionBase

CLEAR = "clear"


def clear_command(interface: str) -> str:
    """Return the shell line that prints `CLEAR` where there is no shaping of ours and no lease.

    Where something cannot be found out it prints nothing, and the module will say what it is.
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
    """``tc_netem: {…what the module takes}``."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return what the module does."""
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
