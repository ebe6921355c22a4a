"""A testbed as the tests drive it: the real playbook, and SSH."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".testbed"
NUMBERS = {"server": 10, "pi1": 11, "pi2": 12, "wan": 2}
# Patience for one slow processor; the first run on a machine also builds the image.
PLAYBOOK_TIMEOUT_S, ANSWER_TIMEOUT_S = 1800, 300


@functools.cache
def why_not() -> str | None:
    """Return why no testbed can be on this machine as it is now, in one sentence, or None."""
    asked = [sys.executable, str(ROOT / "scripts/where"), "installed"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


@dataclass(frozen=True)
class Testbed:
    """A testbed by its number, up or not."""

    __test__ = False
    id: int

    @property
    def folder(self) -> Path:
        """Where its keys and state are."""
        return STATE / str(self.id)

    @property
    def root_process(self) -> int:
        """The process on which all of it hangs."""
        return int(json.loads((self.folder / "state.json").read_text())["pid"])

    def command(self, *extra: str) -> list[str]:
        """Return the playbook's command line, each `extra` one more `-e`."""
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        variables = [part for word in (f"testbed_id={self.id}", *extra) for part in ("-e", word)]
        return [ansible, "playbooks/testbed.yml", *variables]

    def play(self, *extra: str, succeed: bool = True) -> str:
        """Run the playbook and return what it printed."""
        result = subprocess.run(
            self.command(*extra),
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PLAYBOOK_TIMEOUT_S,
            check=False,
        )
        assert (result.returncode == 0) is succeed, result.stdout + result.stderr
        return result.stdout

    def ssh(self, name: str, command: str, check: bool = True) -> str:
        """Run a command on a machine and return what it printed."""
        options = [
            *("-F", "/dev/null", "-i", str(self.folder / "id"), "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={self.folder}/known_hosts", "-o", "ConnectTimeout=30"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"),
        ]
        result = subprocess.run(
            ["ssh", *options, f"root@10.79.{self.id}.{NUMBERS[name]}", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_TIMEOUT_S,
            check=False,
        )
        assert result.returncode == 0 or not check, result.stderr
        return result.stdout.strip()

    def ping(self) -> set[str]:
        """Return the machines that Ansible reaches by the inventory, as any playbook would."""
        result = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible")),
                *("testbed", "-e", f"testbed_id={self.id}", "-m", "ansible.builtin.ping"),
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_TIMEOUT_S,
            check=False,
        )
        return set(re.findall(r"^(\w+) \| SUCCESS", result.stdout, re.MULTILINE))
