"""Ask OpenSSH how Ansible's connection reaches a host, and why it does not.

Its files, tokens, certificates and jump hosts are not modelled here: `ssh -G` tells the settings,
and an attempt without a login tells the rest.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ansible import constants
from ansible.plugins.loader import connection_loader

Answer = TypeVar("Answer")
OVER_SSH = ("ssh", "ansible.builtin.ssh", "smart")
#: Never over a connection that is open already, never asking anyone, never logging in.
ALONE = ("ControlPath=none", "BatchMode=yes", "PreferredAuthentications=none")
UNKNOWN = (
    "is not in known_hosts yet: compare its key's fingerprint and remember it, with "
    "playbooks/bootstrap.yml"
)
#: What ssh says, and what to do. `said` is its own line, `known` the name in known_hosts.
REASONS = (
    ("REVOKED HOST KEY", "shows a host key that known_hosts calls revoked: do not connect to it"),
    (
        "IDENTIFICATION HAS CHANGED",
        "shows another host key than known_hosts has: if the host was reinstalled, forget the old "
        "key with ssh-keygen -R {known}; otherwise do not connect",
    ),
    ("Host key verification failed", UNKNOWN),
    (
        "Could not resolve hostname",
        "has a name that this machine cannot look up: set ansible_host to its address",
    ),
    (
        "Connection refused",
        "is up and refuses SSH at this port: start sshd there (sudo systemctl enable --now ssh), "
        "or set ansible_port",
    ),
    (
        "Unable to negotiate",
        "has no algorithm in common with this machine's OpenSSH ({said}): update its sshd, or "
        "allow it in ~/.ssh/config",
    ),
    (
        "banner exchange|kex_exchange_identification",
        "answers, but not as an SSH server ({said}): set ansible_port to the port of its sshd",
    ),
    ("timed out", "does not answer within {timeout_s:g} s: is it powered and on the network?"),
    ("No route|unreachable", "does not answer ({said}): is it powered and on the network?"),
    ("", "cannot be reached by ssh ({said}): try `{by_hand}`"),
)
#: Without a word of its own: ssh saw a jump host or a proxy's command end.
_ECHOES = ("kex_exchange_identification:", "Connection closed by UNKNOWN")


@dataclass(frozen=True)
class Way:
    """Way of Ansible's connection to a host; `trouble` is why that cannot be told."""

    name: str
    address: str
    command: tuple[str, ...] = ()
    by_hand: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""

    @property
    def where(self) -> str:
        return f"{self.name} ({self.hostname}:{self.port})"

    @property
    def hostname(self) -> str:
        return self.settings.get("hostname", self.address)

    @property
    def port(self) -> int:
        return int(self.settings.get("port", 22))

    @property
    def proxy(self) -> str:
        """The jump host, or the command that connects."""
        return self.settings.get("proxyjump") or self.settings.get("proxycommand", "")

    @property
    def known_as(self) -> str:
        """Its name in known_hosts."""
        name = self.settings.get("hostkeyalias", self.hostname)
        plain = "hostkeyalias" in self.settings or self.port == 22
        return name if plain else f"[{name}]:{self.port}"

    @property
    def known_hosts(self) -> list[Path]:
        """Its files; `ssh -G` does not quote the spaces in their paths."""
        said = self.settings.get("userknownhostsfile", "~/.ssh/known_hosts")
        return [Path(path).expanduser() for path in re.split(r" (?=[/~])", said)]


def connections(names: Iterable[str], hostvars: Any, templar: Any) -> dict[str, dict[str, Any]]:
    """Return the options of Ansible's connection plugin `ssh` for each host that it is used for."""
    connection_loader.get("ssh", class_only=True)  # or its options are not known yet
    keys = constants.config.get_plugin_vars("connection", "ssh")
    found = {}
    for name in dict.fromkeys(names):
        host = hostvars[name]
        if templar.template(host.get("ansible_connection", "ssh")) in OVER_SSH:
            said = {key: templar.template(host[key]) for key in keys if key in host}
            found[name] = constants.config.get_plugin_options("connection", "ssh", variables=said)
    return found


def together(ask: Callable[[str], Answer], names: Iterable[str]) -> dict[str, Answer]:
    """Ask about all hosts in parallel."""
    listed = list(names)
    with ThreadPoolExecutor(max_workers=max(1, len(listed))) as pool:
        return dict(zip(listed, pool.map(ask, listed), strict=True))


def way(name: str, options: Mapping[str, Any]) -> Way:
    """Return the way to a host, from the options of Ansible's connection plugin `ssh`."""
    address = str(options.get("host") or name)
    program = str(options.get("ssh_executable") or "ssh")
    first = shlex.split(options.get("ssh_args") or "")
    if options.get("host_key_checking") is False:
        first += _options("StrictHostKeyChecking=no")
    own: list[str] = []
    for word, key in (("-p", "port"), ("-l", "remote_user")):
        own += [word, str(options[key])] if options.get(key) else []
    for key in ("ssh_common_args", "ssh_extra_args"):
        own += shlex.split(options.get(key) or "")
    command = (program, *_options(*ALONE), *first, *own)
    status, told = _run([*command, "-G", address], 10)
    if status:
        said = told[0] if told else f"exit status {status}"
        return Way(
            name, address, trouble=f"OpenSSH refuses its settings for it ({said}): mend them"
        )
    settings = dict(line.split(" ", 1) for line in told if " " in line)
    return Way(name, address, command, shlex.join([program, *own, address]), settings)


def attempt(there: Way, timeout_s: float, *options: str) -> str:
    """Return why OpenSSH does not reach a host, or ``""``; a refused login is no reason.

    `options` are ssh's, and come first.
    """
    if there.trouble:
        return f"{there.name} ({there.address}): {there.trouble}"
    first, *rest = there.command
    wait = f"ConnectTimeout={max(1, round(timeout_s))}"
    asked = [first, *_options(*options, wait), *rest, there.address, "true"]
    status, told = _run(asked, 2 * timeout_s + 5)
    if status == 0 or "Permission denied (" in _last(told):
        return ""
    return f"{there.where} {reason(told, there, timeout_s)}"


def reason(told: list[str], there: Way, timeout_s: float) -> str:
    """Return why there is no connection, from ssh's lines, and what to do."""
    last = _last(told) or "it says nothing"
    if there.proxy and any(line.startswith(_ECHOES) for line in told):
        said = next((line for line in told if not line.startswith(_ECHOES)), last)
        return (
            f"is not reached through {there.proxy} ({said}): mend that way, until "
            f"`{there.by_hand}` connects"
        )
    matched = next(
        (pattern, sentence, line)
        for pattern, sentence in REASONS
        for line in told or [last]
        if re.search(pattern, line)
    )
    said = matched[2] if matched[0] else last
    known = shlex.quote(there.known_as)
    return matched[1].format(said=said, known=known, timeout_s=timeout_s, by_hand=there.by_hand)


def _options(*said: str) -> list[str]:
    return [word for each in said for word in ("-o", each)]


def _last(told: list[str]) -> str:
    return told[-1] if told else ""


def _run(command: list[str], timeout_s: float) -> tuple[int, list[str]]:
    """Run ssh without a terminal to ask at; return its status and its lines.

    What it started to connect ends with it, even where it heeds no hang-up, as under nohup: a file
    takes their lines, for a pipe would stay open as long as one of them lives.
    """
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return 127, [f"{command[0]}: {error.strerror}"]
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return 124, ["timed out"]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
    lines = (line.strip() for line in text.splitlines())
    return status, [line for line in lines if line and not line.startswith("Pseudo-")]
