"""Check all hosts' reachability and host keys in parallel, before anything slow starts.

paramiko connects without logging in, where OpenSSH would. What it cannot do or finds wrong is asked
of OpenSSH, which does the rest of the work; hosts of other connections are left to Ansible.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import paramiko
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from paretopipe_runtime.contract import addresses as contract
from roles.preflight import openssh


def ask(name: str, options: Mapping[str, Any], timeout_s: float) -> str:
    """Return why a host cannot be used, in a sentence, or ``""``.

    `options` are those of Ansible's connection plugin `ssh`.
    """
    there = openssh.way(name, options)
    try:
        if not there.trouble and not there.proxy and greets(there, timeout_s):
            return ""
    except TimeoutError:
        return f"{there.where} {openssh.reason(['timed out'], there, timeout_s)}"
    return openssh.attempt(there, timeout_s)


def greets(there: openssh.Way, timeout_s: float) -> bool:
    """Tell whether a host surely shows a key that is known.

    Raises
    ------
    TimeoutError
        If nothing answers.
    """
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for path in there.known_hosts:
        if path.is_file():
            client.load_host_keys(str(path))
    try:
        client.connect(
            there.hostname,
            there.port,
            username="-",
            timeout=timeout_s,
            banner_timeout=timeout_s,
            allow_agent=False,
            look_for_keys=False,
        )
    except paramiko.BadHostKeyException:
        return False
    except paramiko.SSHException as error:
        # A failure after the key exchange, such as our missing login, shows that the host is fine.
        return "authentication" in str(error).lower()
    except TimeoutError:
        raise
    except (OSError, EOFError):
        return False
    finally:
        client.close()
    return True


def addresses(names: Iterable[str], task_vars: Any, templar: Any) -> dict[str, str]:
    """Return `experiment_ip` of the hosts that have one or need one."""
    groups = task_vars["groups"]
    needed = [*groups.get("orchestrator", []), *groups.get("workers", [])]
    said = {name: task_vars["hostvars"][name].get("experiment_ip", "") for name in names}
    return {
        name: str(templar.template(address))
        for name, address in said.items()
        if address or name in needed
    }


class ActionModule(ActionBase):  # type: ignore[misc]
    """``check_hosts: {hosts: [names], timeout_s: 10}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `answer_s` by host, or fail with a sentence for each unusable host."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        names = self._task.args["hosts"]
        timeout_s = float(self._task.args.get("timeout_s", 10))
        hosts = openssh.connections(names, (task_vars or {})["hostvars"], self._templar)
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)

        def timed(name: str) -> tuple[str, float]:
            began = time.monotonic()
            return ask(name, hosts[name], timeout_s), time.monotonic() - began

        answers = openssh.together(timed, hosts)
        said = addresses(names, task_vars, self._templar)
        problems = contract.problems(said, away=hosts)
        problems += [problem for problem, _ in answers.values() if problem]
        if problems:
            hint = str(self._task.args.get("hint", ""))
            raise AnsibleActionFail("; ".join(problems) + (f" — {hint}" if hint else ""))
        local = dict.fromkeys(set(names) - set(hosts), 0.0)
        answer_s = {**local, **{name: seconds for name, (_, seconds) in answers.items()}}
        return {**result, "changed": False, "answer_s": answer_s}
