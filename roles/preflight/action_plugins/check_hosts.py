"""Check all hosts' reachability and host keys in parallel, before anything slow starts.

paramiko connects without logging in. Local hosts and those behind a jump host are left to
Ansible's OpenSSH connection, which does the rest of the work.
"""

from __future__ import annotations

import itertools
import logging
import shlex
import socket
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

SSH_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")


def configured(address: str, host: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that OpenSSH has for a host, from its arguments and files."""
    words = shlex.split(" ".join(str(host.get(key, "")) for key in SSH_ARGUMENTS))
    asked = ["ssh", *words, "-G", address]
    done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def named(words: str) -> list[Path]:
    """Return the files that a line names; `ssh -G` puts no quotes around their spaces."""
    parts = words.split(" ")
    ends = itertools.combinations(range(len(parts) + 1), 2)
    files = [Path(" ".join(parts[start:end])).expanduser() for start, end in ends]
    return [file for file in files if file.is_file()]


def ask(name: str, host: Mapping[str, Any], timeout_s: float) -> str:
    """Return why `host` cannot be used, in a sentence, or ``""``."""
    if host.get("ansible_connection") == "local":
        return ""
    address = str(host.get("ansible_host", name))
    settings = configured(address, host)
    port = int(host.get("ansible_port", settings.get("port", 22)))
    if {"proxyjump", "proxycommand"} & settings.keys():
        return ""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    if settings.get("stricthostkeychecking") in {"accept-new", "false", "no"}:
        client.set_missing_host_key_policy(paramiko.MissingHostKeyPolicy())
    for file in named(settings.get("userknownhostsfile", "~/.ssh/known_hosts")):
        client.load_host_keys(str(file))
    where = f"{name} ({address}:{port})"
    try:
        client.connect(
            settings.get("hostname", address),
            port,
            username="-",
            timeout=timeout_s,
            banner_timeout=timeout_s,
            allow_agent=False,
            look_for_keys=False,
        )
    except paramiko.BadHostKeyException:
        return (
            f"{where} shows another host key than known_hosts has: if the host was reinstalled, "
            f"forget the old key with ssh-keygen -R {address}; otherwise do not connect"
        )
    except paramiko.SSHException as error:
        if "not found in known_hosts" in str(error):
            return (
                f"{where} is not in known_hosts yet: compare its key's fingerprint and remember "
                "it, with playbooks/bootstrap.yml"
            )
        # A failure after the key exchange, such as our missing login, shows that the host is fine.
        return "" if "authentication" in str(error).lower() else f"{where} {speechless(error)}"
    except (OSError, EOFError) as error:
        return f"{where} {unreached(error, timeout_s)}"
    finally:
        client.close()
    return ""


def unreached(error: Exception, timeout_s: float) -> str:
    errors = list(getattr(error, "errors", {}).values()) or [error]  # paramiko: one per address
    if any(isinstance(each, ConnectionRefusedError) for each in errors):
        return (
            "is up and refuses SSH at this port: start sshd there (sudo systemctl enable --now "
            "ssh), or set ansible_port"
        )
    if isinstance(error, socket.gaierror):
        return "has a name that this machine cannot look up: set ansible_host to its address"
    if isinstance(error, TimeoutError):
        return f"does not answer within {timeout_s:g} s: is it powered and on the network?"
    return f"does not answer ({errors[0]}): is it powered and on the network?"


def speechless(error: paramiko.SSHException) -> str:
    silent = any(words in str(error) for words in ("protocol banner", "No existing session"))
    why = "it says nothing" if silent else str(error)
    return f"answers, but not as an SSH server ({why}): set ansible_port to the port of its sshd"


class ActionModule(ActionBase):  # type: ignore[misc]
    """``check_hosts: {hosts: [names], timeout_s: 10}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `answer_s` by host, or fail with a sentence for each unusable host."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        names = list(dict.fromkeys(self._task.args["hosts"]))
        timeout_s = float(self._task.args.get("timeout_s", 10))
        keys = ("ansible_host", "ansible_port", "ansible_connection", *SSH_ARGUMENTS)
        hostvars = (task_vars or {}).get("hostvars", {})
        hosts = {
            name: {
                key: self._templar.template(hostvars[name][key])
                for key in keys
                if key in hostvars[name]
            }
            for name in names
        }
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)

        def timed(name: str) -> tuple[str, float]:
            began = time.monotonic()
            return ask(name, hosts[name], timeout_s), time.monotonic() - began

        with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
            answers = dict(zip(names, pool.map(timed, names), strict=True))
        if problems := [problem for problem, _ in answers.values() if problem]:
            hint = str(self._task.args.get("hint", ""))
            raise AnsibleActionFail("; ".join(problems) + (f" — {hint}" if hint else ""))
        answer_s = {name: seconds for name, (_, seconds) in answers.items()}
        return {**result, "changed": False, "answer_s": answer_s}
