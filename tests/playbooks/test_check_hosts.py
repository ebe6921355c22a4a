"""An unusable host is reported in a sentence before anything starts; ask_host and its cost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import paramiko
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
QUOTES = "two  spaces, 'quotes', \"more\", $HOME, a;b|c&d > e, `f` and \\g"


@pytest.fixture(scope="module")
def check(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/preflight/action_plugins/check_hosts.py")


@pytest.fixture
def server() -> Iterator[tuple[int, paramiko.PKey]]:
    """An SSH server on loopback that shows its key and refuses logins."""
    key = paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        # With an event it does not raise when our client hangs up.
        transport.start_server(threading.Event(), paramiko.ServerInterface())
        transport.join(20)
        transport.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], key
    thread.join(20)
    listener.close()


def host(port: int, known_hosts: Path) -> dict[str, Any]:
    arguments = f"-o 'UserKnownHostsFile=\"{known_hosts}\"' -o StrictHostKeyChecking=yes"
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_ssh_common_args": arguments,
    }


def remember(path: Path, port: int, key: paramiko.PKey) -> Path:
    path.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    return path


def test_a_host_with_its_known_key_is_fine(
    check: ModuleType, server: tuple[int, paramiko.PKey], tmp_path: Path
) -> None:
    port, key = server
    assert check.ask("pi1", host(port, remember(tmp_path / "of my  lab", port, key)), 10) == ""


def test_an_unknown_key_is_told(
    check: ModuleType, server: tuple[int, paramiko.PKey], tmp_path: Path
) -> None:
    problem = check.ask("pi1", host(server[0], tmp_path / "none"), 10)
    assert "is not in known_hosts yet: compare its key's fingerprint" in problem


def test_another_key_is_told(
    check: ModuleType, server: tuple[int, paramiko.PKey], tmp_path: Path
) -> None:
    known = remember(tmp_path / "k", server[0], paramiko.ECDSAKey.generate())
    problem = check.ask("pi1", host(server[0], known), 10)
    assert "shows another host key than known_hosts has" in problem


def test_a_host_without_sshd_is_told(check: ModuleType, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    problem = check.ask("pi1", host(port, tmp_path / "none"), 5)
    assert problem.startswith(f"pi1 (127.0.0.1:{port}) is up and refuses SSH at this port")
    assert "\n" not in problem


def test_a_dead_host_is_told(check: ModuleType, tmp_path: Path) -> None:
    # A full queue makes the kernel drop packets, like an absent host.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            problem = check.ask("pi1", host(address[1], tmp_path / "none"), 0.5)
    assert problem.startswith(f"pi1 (127.0.0.1:{address[1]}) does not answer within 0.5 s")


def test_a_name_nobody_knows_is_told(check: ModuleType, tmp_path: Path) -> None:
    unknown = {**host(22, tmp_path / "none"), "ansible_host": "pi1.invalid"}
    assert "has a name that this machine cannot look up" in check.ask("pi1", unknown, 5)


def test_a_port_that_speaks_something_else_is_told(check: ModuleType, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        problem = check.ask("pi1", host(listener.getsockname()[1], tmp_path / "none"), 0.5)
    assert "answers, but not as an SSH server (it says nothing)" in problem


def test_ssh_options_are_read_in_both_spellings(check: ModuleType) -> None:
    text = "-F /dev/null -o UserKnownHostsFile=/k -oStrictHostKeyChecking=accept-new -J jump"
    options = check.configured("127.0.0.1", {"ansible_ssh_common_args": text})
    assert options["userknownhostsfile"] == "/k"
    assert options["stricthostkeychecking"] == "accept-new"
    assert "proxyjump" in options


def test_ones_own_ssh_config_counts_unless_another_is_named(
    check: ModuleType,
    server: tuple[int, paramiko.PKey],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, key = server
    own = tmp_path / "config"
    own.write_text(
        f"Host 127.0.0.1\n  ProxyJump jump\nHost pi1\n  Hostname 127.0.0.1\n  Port {port}\n"
    )
    # OpenSSH looks for one's own configuration in the home that the system knows, not in HOME.
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {own} "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    there = {**host(1, remember(tmp_path / "k", port, key)), "ansible_port": 1}
    assert check.ask("pi1", there, 1) == "", "it is behind another"
    for flag in ("-F /dev/null", "-F none", "-F/dev/null"):
        alone = {**there, "ansible_ssh_common_args": f"{flag} {there['ansible_ssh_common_args']}"}
        assert "refuses SSH at this port" in check.ask("pi1", alone, 5)
    del there["ansible_host"], there["ansible_port"]
    assert check.ask("pi1", there, 10) == "", "its address and port are in the configuration"


def test_a_host_behind_another_is_left_to_openssh(check: ModuleType) -> None:
    behind = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-J jump"}
    assert check.ask("pi1", behind, 1) == ""
    assert check.ask("here", {"ansible_connection": "local"}, 1) == ""


def ask(folder: Path, *tasks: dict[str, Any], check: bool = False) -> list[dict[str, Any]]:
    named = [{"name": f"Ask {number}", **task} for number, task in enumerate(tasks)]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": named}
    (folder / "ask.yml").write_text(yaml.safe_dump([play]))
    binary = Path(sys.executable).with_name("ansible-playbook")
    command = [str(binary), "-i", "localhost,", "-c", "local", str(folder / "ask.yml")]
    done = subprocess.run(
        [*command, *(["--check"] if check else [])],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_VERBOSITY": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "changed=0" in done.stdout, done.stdout + done.stderr
    found = [line.split(" => ", 1)[1] for line in done.stdout.splitlines() if " => {" in line]
    return [json.loads(text) for text in found]


def test_it_answers_as_command_does_and_leaves_no_words_to_a_shell(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; print(sys.argv[1]); print(sys.stdin.read())"]
    (spoken,) = ask(tmp_path, {"ask_host": {"argv": [*words, QUOTES], "stdin": "x"}}, check=True)
    assert (spoken["rc"], spoken["changed"]) == (0, False)
    assert spoken["stdout_lines"] == [QUOTES, "x", ""]
    assert spoken["stdout"] == f"{QUOTES}\nx\n"


def test_it_fails_as_command_does_and_sees_no_terminal(tmp_path: Path) -> None:
    fails = {"argv": ["sh", "-c", "test ! -t 0 && echo heard; echo why >&2; exit 3"]}
    (told,) = ask(tmp_path, {"ask_host": fails, "failed_when": False})
    assert (told["rc"], told["stdout"], told["stderr"]) == (3, "heard", "why\n")
