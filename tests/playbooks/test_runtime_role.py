"""Parts of the runtime role, with this machine as the host."""

from __future__ import annotations

import os
import stat
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.playbooks.conftest import Play, play_here

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: runtime, tasks_from: python}
"""
# All that the role uses of PyTorch.
TORCH = """
class Anything:
    def __getattr__(self, name):
        return self
    def __call__(self, *words):
        return self
nn = zeros = Anything()
"""


def wheel(folder: Path) -> None:
    """Write a wheel named torch 2.13.0."""
    stem = "torch-2.13.0"
    files = {
        "torch/__init__.py": TORCH,
        f"{stem}.dist-info/METADATA": "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{stem}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


@pytest.fixture
def provision(tmp_path: Path) -> Callable[..., Play]:
    """Return a function that installs the packages as root, with this umask."""
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "shop").mkdir()
    wheel(tmp_path / "shop")
    # Ansible's modules find what minimal Debian has: no pip, packaging or pkg_resources.
    venv.create(tmp_path / "bare")
    values = {
        "ansible_python_interpreter": tmp_path / "bare/bin/python",
        "runtime_source": ROOT,
        "runtime_home": tmp_path / "home",
        "runtime_python": sys.executable,
        "runtime_requirements": tmp_path / "requirements.txt",
        "runtime_locks": "",
        "runtime_pip_extra_args": f"'--no-index --find-links {tmp_path}/shop'",
    }

    def provisioned(umask: int) -> Play:
        return play_here(tmp_path, PLAYBOOK, values, umask=umask)

    return provisioned


def closed(folder: Path) -> list[Path]:
    needed = {True: 0o005, False: 0o004}
    return [
        path
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and not path.name.startswith(".tried-torch")
        if ~stat.S_IMODE(path.stat().st_mode) & needed[path.is_dir()]
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="the role becomes root: sudo make test")
def test_an_environment_is_open_to_the_service_user_whatever_root_s_umask(
    provision: Callable[..., Play], tmp_path: Path
) -> None:
    venv = tmp_path / "home/venv"
    made = provision(0o077)
    assert (made.status, made.changed) == (0, 3), made.output  # made, filled, torch tried
    assert closed(venv) == []
    # An environment from before provisioning handled umasks.
    (venv / "lib").chmod(0o700)
    (found,) = venv.glob("lib/python*/site-packages/torch/__init__.py")
    found.chmod(0o600)
    mended = provision(0o077)
    assert (mended.status, mended.changed) == (0, 1), mended.output
    assert closed(venv) == []
