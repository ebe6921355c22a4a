"""An unusable host is reported in a sentence before anything starts; ask_host and its cost."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
#: Connects standard input and output with a host and port, and heeds no hang-up, as under nohup.
RELAY = """
import os, signal, socket, sys, threading
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def forth():
    while data := os.read(0, 65536):
        sock.sendall(data)
threading.Thread(target=forth, daemon=True).start()
while data := sock.recv(65536):
    os.write(1, data)
"""
QUOTES = "two  spaces, 'quotes', \"more\", $HOME, a;b|c&d > e, `f` and \\g"


@pytest.fixture(scope="module")
def check(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/preflight/action_plugins/check_hosts.py")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of an sshd on loopback, and a known_hosts that has its key."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        pytest.skip("sshd is missing: apt install openssh-server")
    folder = tmp_path_factory.mktemp("lab")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    words = (f"HostKey={key}", "ListenAddress=127.0.0.1", f"Port={port}", "PidFile=none")
    options = [word for each in words for word in ("-o", each)]
    sshd = subprocess.Popen([program, "-D", "-f", "/dev/null", *options], stderr=subprocess.DEVNULL)
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {key.with_suffix('.pub').read_text()}")
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    yield port, known
    sshd.terminate()
    sshd.wait(10)


def options(config: str = "none", known: Path | str = "none", **changes: Any) -> dict[str, Any]:
    arguments = ["-F", config, "-o", f'UserKnownHostsFile="{known}"']
    return {"host": "127.0.0.1", "ssh_common_args": shlex.join(arguments), **changes}


@pytest.mark.parametrize(
    ("config", "entry"),
    [
        ("Port {port}", "[127.0.0.1]:{port}"),
        ('Match originalhost="127*"\n  Port {port}', "[127.0.0.1]:{port}"),
        ("Include {folder}/more", "[127.0.0.1]:{port}"),
        ("Host 127.0.0.1\n  Hostname localhost\n  Port {port}", "[localhost]:{port}"),
        ("Port {port}\nHostKeyAlias one-of-ours", "one-of-ours"),
        ("Port {port}", "[127.0.*]:{port}"),
        ("Port {port}\nProxyCommand {python} {folder}/relay %h %p", "[127.0.0.1]:{port}"),
    ],
    ids=["port", "match", "include", "name", "alias", "wildcard", "proxy"],
)
def test_a_known_host_is_fine_however_openssh_gets_there(
    check: ModuleType, lab: tuple[int, Path], tmp_path: Path, config: str, entry: str
) -> None:
    port, key = lab
    folder = tmp_path / "a folder"
    folder.mkdir()
    words = {"port": port, "folder": tmp_path, "python": sys.executable}
    (tmp_path / "more").write_text(f"Port {port}\n")
    (tmp_path / "relay").write_text(RELAY)
    (folder / "config").write_text(config.format(**words) + "\n")
    known = folder / "known hosts"
    asked = options(str(folder / "config"), known)
    known.write_text(f"{entry.format(**words)} {key.read_text().split(' ', 1)[1]}")
    assert check.ask("pi1", asked, 60) == ""
    known.write_text("")
    assert "is not in known_hosts yet" in check.ask("pi1", asked, 60)


def test_a_host_behind_another_is_asked_through_it(check: ModuleType, lab: Any) -> None:
    behind = options(known=lab[1], port=lab[0])
    behind["ssh_common_args"] += " -J 127.0.0.1:1"
    problem = check.ask("pi1", behind, 5)
    assert f"pi1 (127.0.0.1:{lab[0]}) is not reached through [127.0.0.1]:1 (ssh: con" in problem
    assert "Connection refused): mend that way, until `ssh -p" in problem


def test_what_openssh_refuses_is_told_with_its_place(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host pi1\n  Prot 22\n")
    problem = check.ask("pi1", options(str(tmp_path / "config")), 5)
    assert f"({tmp_path}/config: line 2: Bad configuration option: prot): mend them" in problem


def test_the_arguments_of_ansible_s_connection_come_in_its_order(check: ModuleType) -> None:
    given = {
        **{"ssh_args": "-F none -o Port=1", "port": 2, "remote_user": "pi"},
        **{"ssh_common_args": "-o User=other -oStrictHostKeyChecking=accept-new"},
        **{"ssh_extra_args": "-o HostName=::1", "host_key_checking": True},
    }
    there = check.openssh.way("pi1", given)
    assert (there.where, there.known_as) == ("pi1 (::1:1)", "[::1]:1")
    assert there.settings["user"] == "pi"
    assert there.settings["stricthostkeychecking"] == "accept-new"


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
