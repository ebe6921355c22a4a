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
    assert done.returncode in (0, 3), done.stderr
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


def traces(testbed: Testbed) -> dict[str, list[str]]:
    """List what a testbed might leave behind, leaving out what is another testbed's."""

    def run(*argv: str) -> list[str]:
        result = subprocess.run(
            argv, capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, check=True
        )
        return result.stdout.splitlines()

    def of_another(line: str) -> bool:
        other = re.search(r"pptb(\d+)|\.testbed/(\d+)", line)
        return other is not None and str(testbed.id) not in other.groups()

    mine = f"pptb{testbed.id}\\b|{re.escape(str(testbed.folder))}\\b"
    found = {
        "links": [re.sub(r"@.*", "", line.split(": ")[1]) for line in run("ip", "-o", "link")],
        "mounts": [line.split()[4] for line in run("cat", "/proc/self/mountinfo")],
        "groups": [str(path) for path in Path("/sys/fs/cgroup").glob("**/pptb*")],
        "processes": [line for line in run("ps", "-eo", "args") if re.search(mine, line)],
        "namespaces": [str(path) for path in Path("/run/netns").glob("*")],
        "sockets": [str(path) for path in Path("/run").glob("pptb*")],
        "state": [str(path) for path in STATE.glob("*") if path.name != "image"],
        "sysctls": run("sysctl", "net.core.rmem_default", "net.ipv4.tcp_congestion_control")
        + run("sysctl", "net.ipv4.tcp_allowed_congestion_control", "net.ipv4.ip_forward"),
    }
    return {
        kind: sorted(line for line in lines if not of_another(line))
        for kind, lines in found.items()
    }


@functools.cache
def shared() -> tuple[Testbed, dict[str, list[str]] | None]:
    """Return testbed 0, brought up for all tests, and the machine's traces from before.

    None where it was up already: then it is somebody's, and stays. What a killed testbed 0 of
    another checkout has left is not counted as the machine's: it goes with ours.
    """
    testbed = Testbed(0)
    before = None
    if not testbed.folder.exists():
        before = {
            kind: [line for line in lines if not re.search(rf"pptb{testbed.id}\b", line)]
            for kind, lines in traces(testbed).items()
        }
    testbed.play()
    return testbed, before
