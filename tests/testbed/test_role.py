"""The role's own promises, without a testbed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from roles.testbed.files.virtual_testbed import uml

ROLE = Path(__file__).resolve().parents[2] / "roles/testbed"
PROGRAM = ROLE / "files"


def _modules(*names: str) -> list[ModuleType]:
    return [importlib.import_module(f"virtual_testbed.{name}") for name in names]


def _settings(folder: Path) -> Any:
    (settings,) = _modules("settings")
    limits = {"cpu": 0, "cpu_percent": 50, "memory_mib": 1024}
    raw = {"id": "7", "state_root": folder, "requirements": folder}
    raw |= {"optional": folder, "wan": "uml"}
    return settings.Settings.parse(raw | {"limits": dict.fromkeys(settings.HOST_NUMBERS, limits)})


def test_the_box_has_a_bridge_for_each_host_behind_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM))
    settings, wan = _modules("settings", "wan")
    monkeypatch.setattr(wan, "UML_MODULES", tmp_path)
    (tmp_path / "lib").mkdir()
    usual = _settings(tmp_path)
    assert (usual.boxed, wan.interfaces(usual)) == (("pi1",), ("lan0", "up0", "mg0"))
    chain = yaml.safe_load((ROLE.parents[1] / "inventory/chain/hosts.yml").read_text())
    asked = {name.removeprefix("testbed_"): had for name, had in chain["all"]["vars"].items()}
    raw = {"id": 7, "state_root": tmp_path, "requirements": tmp_path, "optional": tmp_path}
    made = settings.Settings.parse({**raw, "wan": "uml", **asked})
    assert made.members == ("server", "pi1", "pi2", "pi3", "wan")
    places = chain["netem_hosts"]["hosts"]["wan"]["netem_interfaces"]
    assert {host: up for host, (_, up) in zip(made.boxed, made.ways, strict=True)} == places
    wan.prepare_root(made, tmp_path)
    started = (tmp_path / "uml-init").read_text()
    assert "for name in lan0 up0 lan1 up1 lan2 up2 mg0; do" in started
    assert "for number in 0 1 2; do" in started
    assert subprocess.run(["sh", "-n", tmp_path / "uml-init"], check=False).returncode == 0


def test_defaults_and_argument_specs_say_the_same() -> None:
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == defaults


def test_who_is_not_root_is_told_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM))
    machine, shell = _modules("machine", "shell")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(shell.TestbedError, match=r"run sudo \S+/ansible-playbook playbooks/test"):
        machine.check_root()


def test_a_kernel_without_netem_names_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM))
    machine, shell = _modules("machine", "shell")

    there = {*machine.PACKAGES}
    monkeypatch.setattr(machine.shutil, "which", lambda name, **_: name in there or None)
    with pytest.raises(shell.TestbedError, match="apt install user-mode-linux"):
        machine.check_settings(_settings(tmp_path))


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    isolated = [sys.executable, "-I", "-S", "-c"]
    program = f"import sys; sys.path.insert(0, {str(PROGRAM)!r}); import virtual_testbed.__main__"
    subprocess.run([*isolated, program], check=True, timeout=30)


def test_a_sysctl_that_was_borrowed_is_given_back_after_a_kill(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM))
    (links,) = _modules("links")
    wanted = _settings(tmp_path)
    wanted.folder.mkdir()
    allowed = tmp_path / "allowed"
    allowed.write_text("reno bbr")
    monkeypatch.setattr(links, "ALLOWED", allowed)
    loan = links.cubic_allowed(wanted)
    loan.__enter__()  # and never leaves: killed
    assert allowed.read_text() == "reno bbr cubic"
    links.restore_allowed(wanted)
    assert allowed.read_text() == "reno bbr"


def test_limits_on_cgroup_v2_are_written_as_the_kernel_documents_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM))
    (cgroups,) = _modules("cgroups")
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset memory pids")
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path)
    cgroups.create(_settings(tmp_path))
    top = tmp_path / "pptb7"
    assert (top / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory +pids"
    assert (top / "pi1/cpu.max").read_text() == "5000 10000"
    assert (top / "pi1/memory.max").read_text() == str(1024 * 2**20)


def test_user_mode_linux_is_told_the_size_of_larger_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbytes = uml.registers_nbytes()
    assert nbytes >= 576  # what every x86-64 processor has, with the header
    has_amx = "amx_tile" in Path("/proc/cpuinfo").read_text().split()
    assert (nbytes > uml.KNOWN_NBYTES) == has_amx
    installed = tmp_path / "bin" / uml.UML
    installed.parent.mkdir()
    installed.write_bytes(b"before" + uml._call(uml.KNOWN_NBYTES) + b"after")
    installed.chmod(0o755)
    monkeypatch.setattr(uml, "SYSTEM_PATH", str(installed.parent))
    monkeypatch.setattr(uml, "registers_nbytes", lambda: uml.KNOWN_NBYTES)
    assert uml.program(tmp_path) == installed
    monkeypatch.setattr(uml, "registers_nbytes", lambda: 11008)
    copy = uml.program(tmp_path)
    assert copy.parent == tmp_path
    assert copy.read_bytes() == b"before" + uml._call(11008) + b"after"
    assert os.access(copy, os.X_OK)
    installed.write_bytes(b"a release that asks for the size")
    assert uml.program(tmp_path) == installed
