"""Parts for real labs, tested without one: first contact, governor, wheelhouse."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

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
    """Write an inventory with that sshd as every host."""
    known = {"ansible_host": "127.0.0.1", "ansible_port": port, "experiment_ip": "127.0.0.1"}
    hosts = {"hosts": {"pi1": known}}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {name: hosts for name in ("orchestrator", "workers", "netem_hosts")}
    document = {**groups, "controller": {"hosts": {"localhost": local}}}
    path = folder / "hosts.yml"
    path.write_text(json.dumps(document))
    return path


def test_a_host_is_shown_remembered_and_then_known(
    playbook: Run, sshd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = ("-i", str(inventory(tmp_path, sshd)), "-e", "fingerprints_checked=true")
    public = tmp_path / "ssh_host_ed25519_key.pub"
    print_ = subprocess.run(
        ["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True
    ).stdout.split()[1]

    first = playbook("bootstrap", *asked)
    assert first.status == 0, first.output
    assert print_ in first.output
    remembered = (tmp_path / ".ssh/known_hosts").read_text()
    assert f"[127.0.0.1]:{sshd} ssh-ed25519 {public.read_text().split()[1]}" in remembered
    second = playbook("bootstrap", *asked)
    assert (second.status, second.changed) == (0, 0), second.output
    assert "every host is in" in second.output


def test_without_a_yes_nothing_is_remembered(
    playbook: Run, sshd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = playbook("bootstrap", "-i", str(inventory(tmp_path, sshd)))
    assert done.status != 0
    assert "nothing was remembered" in done.errors[0]
    assert not (tmp_path / ".ssh/known_hosts").exists()


def governor_unit(**variables: Any) -> dict[str, str]:
    role = ROOT / "roles/worker"
    values = {**variables, "__worker_cpufreq": variables["cpufreq"]}
    template = (role / "templates/paretopipe-governor.service.j2").read_text()
    text: str = Templar(DataLoader(), variables=values).template(trust_as_template(template))
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_the_governor_is_set_and_given_back(tmp_path: Path) -> None:
    cpufreq, kept = tmp_path / "cpufreq", tmp_path / "kept"
    kept.mkdir()
    before = {"policy0": "ondemand", "policy4": "powersave"}
    for name, governor in before.items():
        (cpufreq / name).mkdir(parents=True)
        (cpufreq / name / "scaling_governor").write_text(f"{governor}\n")
    unit = governor_unit(cpufreq=str(cpufreq), worker_governor="performance")

    def run(line: str) -> dict[str, str]:
        _, words = line.split(" -ec ", 1)
        subprocess.run(
            ["/bin/sh", "-ec", words.strip("'").replace("$$", "$")],
            env={"RUNTIME_DIRECTORY": str(kept), "PATH": os.environ["PATH"]},
            check=True,
        )
        return {name: (cpufreq / name / "scaling_governor").read_text().strip() for name in before}

    assert unit["ConditionPathIsDirectory"] == str(cpufreq)
    assert run(unit["ExecStart"]) == dict.fromkeys(before, "performance")
    assert run(unit["ExecStop"]) == before


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
