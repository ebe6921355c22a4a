"""Parts for real labs, tested without one: first contact, governor, wheelhouse."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests import namespaces

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., Any]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[int]:
    """An sshd on loopback with an unknown key."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        pytest.skip("sshd is missing: apt install openssh-server")
    key = tmp_path / "ssh_host_ed25519_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    port = 22022 + os.getpid() % 1000
    Path("/run/sshd").mkdir(exist_ok=True)
    config = ["-o", f"HostKey={key}", "-o", "ListenAddress=127.0.0.1", "-o", f"Port={port}"]
    process = subprocess.Popen(
        [program, "-D", "-f", "/dev/null", *config, "-o", f"PidFile={tmp_path}/pid"],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.3)
    assert process.poll() is None
    yield port
    process.terminate()
    process.wait(10)


def inventory(folder: Path, port: int) -> Path:
    """Write an inventory with that sshd as pi1, and a pi2 that refuses."""
    words = f"-F none -o UserKnownHostsFile={folder}/.ssh/known_hosts"
    here = {"ansible_host": "127.0.0.1", "ansible_ssh_common_args": words}
    hosts = {"hosts": {"pi1": {**here, "ansible_port": port}}}
    away = {"hosts": {"pi1": {}, "pi2": {**here, "ansible_port": 1}}}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {"orchestrator": hosts, "workers": away, "netem_hosts": hosts}
    document = {**groups, "controller": {"hosts": {"localhost": local}}}
    path = folder / "hosts.yml"
    path.write_text(json.dumps(document))
    return path


def test_a_host_is_shown_remembered_and_then_known(
    playbook: Run, sshd: int, tmp_path: Path
) -> None:
    asked = ("-i", str(inventory(tmp_path, sshd)), "-e", "fingerprints_checked=true")
    public = tmp_path / "ssh_host_ed25519_key.pub"
    print_ = subprocess.run(
        ["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True
    ).stdout.split()[1]

    first = playbook("bootstrap", *asked)
    assert print_ in first.output
    remembered = (tmp_path / ".ssh/known_hosts").read_text()
    assert remembered == f"[127.0.0.1]:{sshd} ssh-ed25519 {public.read_text().split()[1]}\n"
    refuses = "pi2 (127.0.0.1:1) is up and refuses SSH at this port: start sshd there"
    assert (first.status, first.changed) == (2, 1), first.output
    assert first.errors[0].startswith(refuses)
    second = playbook("bootstrap", *asked)
    assert (second.status, second.changed) == (2, 0), second.output


def test_without_a_yes_nothing_is_remembered(playbook: Run, sshd: int, tmp_path: Path) -> None:
    done = playbook("bootstrap", "-i", str(inventory(tmp_path, sshd)))
    assert done.status != 0
    assert "nothing was remembered" in done.errors[0]
    assert not (tmp_path / ".ssh/known_hosts").exists()


def test_a_file_that_cannot_be_written_is_told(
    plugin: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    meet = plugin("roles/preflight/action_plugins/meet_hosts.py")
    stranger = {"keys": "pi1 ssh-ed25519 AAAA\n", "file": str(tmp_path / "known_hosts")}
    (tmp_path / "known_hosts").write_text("pi2 ssh-ed25519 BBBB")
    for _ in range(2):
        meet.remember(stranger)
    known = "pi2 ssh-ed25519 BBBB\npi1 ssh-ed25519 AAAA\n"
    assert (tmp_path / "known_hosts").read_text() == known
    with pytest.raises(
        Exception, match=r"cannot be written \(Is a directory\), so the keys are not"
    ):
        meet.remember({**stranger, "file": str(tmp_path)})


GUARDED = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: worker, tasks_from: guarded}
      vars: {worker_node: pi1, worker_address: 127.0.0.1, worker_port: "{{ at }}"}
      loop: [1, 2]
"""


@namespaces.needed("nft")
def test_rules_that_a_reload_dropped_are_there_again(tmp_path: Path) -> None:
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    rules = "table inet paretopipe_worker { chain strangers { ip saddr 192.0.2.1 reject; }; }"
    systemctl.write_text(
        f'#!/bin/sh\ncase "$*" in restart*) echo "$*" >> {tmp_path}/asked; nft "{rules}";; esac\n'
        "echo LoadState=loaded; echo ActiveState=active\n"
    )
    systemctl.chmod(0o755)
    (tmp_path / "play.yml").write_text(GUARDED)
    with namespaces.own_network(), socket.create_server(("127.0.0.1", 0)) as agent:
        said = f"at={agent.getsockname()[1]} ansible_python_interpreter={sys.executable}"
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                "-i",
                "localhost,",
                "-c",
                "local",
                str(tmp_path / "play.yml"),
                "-e",
                said,
            ],
            cwd=ROOT,
            env={**os.environ, "PATH": f"{systemctl.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "asked").read_text() == "restart paretopipe-worker.service\n", "once"


def governor_unit(**variables: Any) -> dict[str, str]:
    role = ROOT / "roles/worker"
    values = {**variables, "__worker_cpufreq": variables["cpufreq"]}
    template = (role / "templates/paretopipe-governor.service.j2").read_text()
    text: str = Templar(DataLoader(), variables=values).template(trust_as_template(template))
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


class Cpufreq:
    """A host's frequency policies, on which the governor's unit runs."""

    def __init__(self, folder: Path, *before: str) -> None:
        self.folder, self._kept = folder / "cpufreq", folder / "kept"
        self._names = [f"policy{4 * number}" for number in range(len(before))]
        for name in self._names:
            (self.folder / name).mkdir(parents=True)
        self.write(*before)

    def write(self, *governors: str) -> None:
        for name, governor in zip(self._names, governors, strict=True):
            (self.folder / name / "scaling_governor").write_text(f"{governor}\n")

    def seen(self) -> list[str]:
        return [
            (self.folder / name / "scaling_governor").read_text().strip() for name in self._names
        ]

    def start(self, governor: str) -> None:
        self._kept.mkdir()
        self._run("ExecStart", governor)

    def stop(self, governor: str) -> None:
        self._run("ExecStopPost", governor)
        shutil.rmtree(self._kept)

    def _run(self, key: str, governor: str) -> None:
        unit = governor_unit(cpufreq=str(self.folder), worker_governor=governor)
        assert unit["ConditionPathIsDirectory"] == str(self.folder)
        assert "raspi-config.service" in unit["After"].split()
        _, words = unit[key].split(" -ec ", 1)
        subprocess.run(
            ["/bin/sh", "-ec", words.strip("'").replace("$$", "$")],
            env={"RUNTIME_DIRECTORY": str(self._kept), "PATH": os.environ["PATH"]},
            check=True,
        )


def test_the_governor_is_set_and_given_back(tmp_path: Path) -> None:
    host = Cpufreq(tmp_path, "ondemand", "powersave")
    host.start("performance")
    assert host.seen() == ["performance", "performance"]
    host.stop("performance")
    assert host.seen() == ["ondemand", "powersave"]


def test_a_governor_that_came_after_ours_is_the_host_s_own(tmp_path: Path) -> None:
    """Raspi-config's script wrote ondemand after us, over the kernel's own powersave."""
    host = Cpufreq(tmp_path, "powersave", "powersave")
    host.start("performance")
    host.write("ondemand", "performance")
    host.stop("performance")
    assert host.seen() == ["ondemand", "powersave"]
    host.start("performance")
    host.stop("performance")
    assert host.seen() == ["ondemand", "powersave"], "never our own value"


def test_another_governor_asked_for_gives_back_what_was_before_the_first(tmp_path: Path) -> None:
    host = Cpufreq(tmp_path, "ondemand")
    host.start("performance")
    host.stop("schedutil")  # by the unit as it is now
    host.start("schedutil")
    assert host.seen() == ["schedutil"]
    host.stop("schedutil")
    assert host.seen() == ["ondemand"]


def wheel(folder: Path, name: str, version: str, tag: str) -> None:
    """Write an empty wheel."""
    stem = f"{name}-{version}"
    files = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
        f"{stem}.dist-info/RECORD": "",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    (folder / f"{stem}-{tag}.whl").write_bytes(content.getvalue())


@pytest.mark.parametrize(("machine", "glibc"), [("aarch64", "2_28"), ("x86_64", "2_18")])
def test_a_wheelhouse_has_the_wheels_of_the_host(tmp_path: Path, machine: str, glibc: str) -> None:
    shop, house = tmp_path / "shop", tmp_path / "house"
    shop.mkdir()
    for arch in ("aarch64", "x86_64"):
        wheel(shop, "torch", "2.9.1", f"cp311-cp311-manylinux_{glibc}_{arch}")
    # A host that claims to be one of these.
    interpreter = tmp_path / "python"
    kind = json.dumps({"machine": machine, "python": "3.11", "libc": "2.36"})
    interpreter.write_text(f"#!/bin/sh\necho '{kind}'\n")
    interpreter.chmod(0o755)
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "engines.txt").write_text("")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "connection": "local",
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "runtime_source": str(ROOT),
            "runtime_python": str(interpreter),
            "runtime_requirements": str(tmp_path / "requirements.txt"),
            "runtime_engine_requirements": str(tmp_path / "engines.txt"),
            "runtime_versions": {"torch": "2.9.1"},
            "runtime_locks": "",
            "runtime_wheelhouse": str(house),
            "runtime_pip_extra_args": f"--no-index --find-links {shop}",
        },
        "tasks": [
            {"ansible.builtin.include_role": {"name": "runtime", "tasks_from": "wheelhouse"}}
        ],
    }
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = [file.name for file in house.iterdir()]
    assert names == [f"torch-2.9.1-cp311-cp311-manylinux_{glibc}_{machine}.whl"]
