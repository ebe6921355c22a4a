"""Ask hosts that are not known yet for their SSH keys, and remember these.

OpenSSH itself shows them, through jump hosts too and under the names that it will look up.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.preflight import openssh

Stranger = dict[str, Any]  # {keys, prints, file}


def meet(there: openssh.Way, timeout_s: float) -> tuple[Stranger, str]:
    """Return an unknown host's key with its fingerprint, or why it shows none; both empty if known.

    It is the key that OpenSSH prefers, which asks for the others once logged in.
    """
    problem = openssh.attempt(there, timeout_s)
    if not problem.endswith(openssh.UNKNOWN):
        return {}, problem
    with tempfile.TemporaryDirectory(prefix="paretopipe-") as folder:
        shown = Path(folder) / "known_hosts"
        asked = (f"UserKnownHostsFile={shown}", "StrictHostKeyChecking=accept-new")
        problem = openssh.attempt(there, timeout_s, *asked, "HashKnownHosts=no")
        if problem or not shown.exists():
            return {}, problem or f"{there.where} shows no key: try `{there.by_hand}`"
        fingerprints = subprocess.run(  # nosec B607 # wherever OpenSSH is
            ["ssh-keygen", "-lf", str(shown)], capture_output=True, text=True, check=True
        )
        prints = [f"{there.name}: {line}" for line in fingerprints.stdout.splitlines()]
        file = str(there.known_hosts[0])
        return {"keys": shown.read_text(), "prints": prints, "file": file}, ""


def remember(stranger: Stranger) -> None:
    """Append a host's keys to its file, which OpenSSH reads line by line."""
    file = Path(stranger["file"])
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = file.read_bytes() if file.exists() else b""
        with file.open("ab") as known:
            if stranger["keys"].encode() not in before:  # two names may lead to one host
                known.write(b"\n" if before and not before.endswith(b"\n") else b"")
                known.write(stranger["keys"].encode())
    except OSError as error:
        raise AnsibleActionFail(
            f"{file} cannot be written ({error.strerror}), so the keys are not remembered: let "
            "your user write it, or set UserKnownHostsFile to another in ~/.ssh/config"
        ) from None


class ActionModule(ActionBase):  # type: ignore[misc]
    """``meet_hosts: {hosts: [names], timeout_s: 10}``, then ``{remember: strangers}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `strangers` with their keys and fingerprints, and `problems` of the others."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        if "remember" in args:
            for stranger in [] if self._task.check_mode else args["remember"]:
                remember(stranger)
            return {**result, "changed": bool(args["remember"])}
        hosts = openssh.connections(args["hosts"], (task_vars or {})["hostvars"], self._templar)
        timeout_s = float(args.get("timeout_s", 10))
        met = openssh.together(
            lambda name: meet(openssh.way(name, hosts[name]), timeout_s), hosts
        ).values()
        return {
            **result,
            "changed": False,
            "strangers": [stranger for stranger, _ in met if stranger],
            "problems": [problem for _, problem in met if problem],
        }
