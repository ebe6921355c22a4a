"""What make does before anything of ours is installed, and what it keeps out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed.machines import ROOT
from tests.testbed.test_machine import CONTAINER

NEW, OLD, BARE = "3 13", "3 9", "bare"


def inherited() -> dict[str, str]:
    """The environment of a shell without any setting of Ansible's, pip's or make's own."""
    settings = ("ANSIBLE_", "MAKE", "MFLAGS", "PIP_")
    return {name: value for name, value in os.environ.items() if not name.startswith(settings)}


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make as from such a shell."""
    return subprocess.run(
        ["make", "--no-print-directory", f"--directory={ROOT}", *arguments],
        env=inherited() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder for PATH that has no more than any system has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "dirname", "env", "id", "make", "mktemp", "rm", "grep", "sed"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def add(system: Path, name: str, *lines: str) -> None:
    """Put a program into the system."""
    (system / name).write_text("\n".join(["#!/bin/sh", *lines, ""]))
    (system / name).chmod(0o755)


def add_python(system: Path, name: str, version: str) -> None:
    """Put something into the system that answers as a Python of a version, or without venv."""
    fits = {NEW: "exit 0", OLD: "exit 1", BARE: "exit 1"}[version]
    number = {NEW: "3.13", OLD: "3.9", BARE: "3.12"}[version]
    add(system, name, f'case "$2" in *ensurepip*) {fits};; *) echo {number};; esac')


def script(system: Path, name: str, *arguments: str) -> tuple[int, str, str]:
    """Run one of scripts/ in the system."""
    done = subprocess.run(
        [str(ROOT / "scripts" / name), *arguments],
        env={"PATH": str(system)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"python3": NEW}, "python3"),
        ({"python3": OLD, "python3.12": NEW}, "python3.12"),
        ({"python3": OLD, "python3.13": BARE, "python3.11": NEW}, "python3.11"),
        ({"python3": OLD}, "python3"),
        ({}, "python3"),
    ],
)
def test_the_first_python_that_fits_is_taken(
    system: Path, there: dict[str, str], chosen: str
) -> None:
    for name, version in there.items():
        add_python(system, name, version)
    assert script(system, "python") == (0, f"{chosen}\n", "")


@pytest.mark.parametrize(
    ("version", "tool", "said"),
    [
        (
            OLD,
            "dnf",
            "python3 is 3.9: ParetoPipe needs Python 3.11 or newer with venv: try sudo dnf",
        ),
        (
            BARE,
            "brew",
            "python3 has no venv: ParetoPipe needs Python 3.11 or newer with venv: try b",
        ),
        (
            None,
            "pacman",
            "python3 is missing: ParetoPipe needs Python 3.11 or newer with venv: try ",
        ),
        (OLD, None, "python3 is 3.9: ParetoPipe needs Python 3.11 or newer with venv: install it"),
    ],
)
def test_a_control_node_without_apt_is_told_what_it_lacks(
    system: Path, version: str | None, tool: str | None, said: str
) -> None:
    if version:
        add_python(system, "python3", version)
    if tool:
        add(system, tool)
    code, printed, error = script(system, "python", "check", "python3")
    assert (code, printed) == (1, "")
    assert error.startswith(said)
    assert error.count("\n") == 1


def test_a_control_node_without_dpkg_needs_python_and_ssh_only(
    system: Path, tmp_path: Path
) -> None:
    add_python(system, "python3", NEW)
    assert script(system, "python", "check", "python3") == (0, "", "")
    planned = make("-n", "setup", f"VENV={tmp_path}/none", PATH=str(system))
    assert planned.returncode == 0, planned.stderr
    packages = [line for line in planned.stdout.splitlines() if "scripts/packages" in line]
    assert packages == ["command -v ssh >/dev/null || scripts/packages openssh-client"]


def test_packages_where_there_is_no_apt(system: Path) -> None:
    said = "This system has no apt. What these packages of Debian's have is needed: nftables\n"
    assert script(system, "packages", "nftables") == (1, "", said)
    assert script(system, "packages") == (0, "", "")


def test_apt_is_asked_for_the_list_only_where_it_has_none(system: Path, tmp_path: Path) -> None:
    log, list_ = tmp_path / "log", tmp_path / "list"
    add(system, "dpkg-query", "exit 1")
    add(system, "id", "echo 0")
    add(
        system,
        "apt-get",
        f'echo "$1" >>{log}',
        f"case $1 in update) : >{list_};; *) echo noise; test -e {list_};; esac",
    )
    # Where a service may not start is noted below /usr/sbin: not in a test.
    text = (ROOT / "scripts/packages").read_text().replace("/usr/sbin/", f"{tmp_path}/")
    copy = tmp_path / "packages"
    copy.write_text(text.replace("printf '#!", "true '#!").replace("chmod 0755", "true"))
    for asked in (["install", "update", "install"], ["install"]):
        log.unlink(missing_ok=True)
        done = subprocess.run(
            ["/bin/sh", str(copy), "nftables"],
            env={"PATH": str(system)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert log.read_text().split() == asked
        assert "noise" not in done.stdout + done.stderr


def test_quick_asks_for_python_packages_only(tmp_path: Path) -> None:
    planned = make("-n", "quick", f"VENV={tmp_path}/none")
    assert planned.returncode == 0, planned.stderr
    assert "scripts/packages" not in planned.stdout
    assert "pip install" in planned.stdout
    assert "scripts/packages" in make("-n", "packages").stdout, "this test looks for it"


def test_nobodys_own_ansible_decides_what_the_playbooks_find() -> None:
    theirs = {"ANSIBLE_INVENTORY": "/x", "ANSIBLE_CONFIG": "/y", "ANSIBLE_ROLES_PATH": "/z"}
    printed = make("--eval=show: ; @env", "show", **theirs, PIP_CACHE_DIR="/cache").stdout
    seen = dict(line.partition("=")[::2] for line in printed.splitlines())
    assert {name: value for name, value in seen.items() if name.startswith("ANSIBLE_")} == {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(ROOT / ".ansible"),
    }
    assert seen["PIP_CACHE_DIR"] == "/cache"


def test_the_dockerfile_asks_make_for_what_there_is(tmp_path: Path) -> None:
    """All that can be tried of it without Docker: its commands, and what its first ones need."""
    text = (ROOT / "Dockerfile").read_text()
    assert "RUN make setup-processes PIP_CACHE_DIR=/tmp/pip " in text
    assert 'CMD ["make", "demo", "DEMO=processes"]' in text
    for name in ("Makefile", "scripts", "requirements"):
        assert f"COPY --chown=paretopipe {name} " in text
        (tmp_path / name).symlink_to(ROOT / name)
    planned = make("-n", "setup-processes", f"--directory={tmp_path}")
    assert planned.stdout.count("pip install") == 2, planned.stderr
    planned = make("-n", "demo", "DEMO=processes", f"--directory={ROOT}")
    assert "full_sweep.yml -e experiment=demo" in planned.stdout, planned.stderr


def test_a_forced_testbed_says_at_once_why_it_cannot_be() -> None:
    container = ["setpriv", f"--bounding-set={CONTAINER}", f"--inh-caps={CONTAINER}"]
    before = [] if os.geteuid() else container
    done = subprocess.run(
        [*before, "make", "demo", "DEMO=testbed", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env=inherited(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("The virtual testbed cannot be on this machine: ")
    assert done.stdout == ""
