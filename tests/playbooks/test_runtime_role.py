"""Parts of the runtime role, with this machine as the host."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import runpy
import stat
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.effort import THOROUGH
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


def wheel(folder: Path) -> str:
    """Write a wheel named torch 2.13.0; return its sha256."""
    stem = "torch-2.13.0"
    files = {
        "torch/__init__.py": TORCH,
        f"{stem}.dist-info/METADATA": "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{stem}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lock(folder: Path, sha256: str) -> None:
    """Write a lock of that wheel for this machine."""
    folder.mkdir(exist_ok=True)
    python = ".".join(map(str, sys.version_info[:2]))
    (folder / "here.txt").write_text(
        f"# Made by hand. For {platform.machine()} with Python {python}.\n"
        f"torch==2.13.0 --hash=sha256:{sha256}  # runtime\n"
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a host's home"


@pytest.fixture
def provision(tmp_path: Path, home: Path) -> Callable[..., Play]:
    """Return a function that installs the packages as root, with this umask."""
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "the shop").mkdir()
    lock(tmp_path / "locks", wheel(tmp_path / "the shop"))
    # Ansible's modules find what minimal Debian has: no pip, packaging or pkg_resources.
    venv.create(tmp_path / "bare")
    values = {
        "ansible_python_interpreter": str(tmp_path / "bare/bin/python"),
        "runtime_source": str(ROOT),
        "runtime_home": str(home),
        "runtime_python": sys.executable,
        "runtime_requirements": str(tmp_path / "requirements.txt"),
        "runtime_locks": str(tmp_path / "locks"),
        "runtime_pip_extra_args": f"--no-index --find-links '{tmp_path}/the shop'",
    }

    def provisioned(umask: int) -> Play:
        words = ("-e", json.dumps(values))
        return play_here(tmp_path, PLAYBOOK, {}, *words, umask=umask)

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
    provision: Callable[..., Play], tmp_path: Path, home: Path
) -> None:
    venv = home / "venv"
    made = provision(0o077)
    assert (made.status, made.changed) == (0, 3), made.output  # made, filled, torch tried
    assert "packages to install: 1, as requirements/locks/here.txt has them" in made.output
    assert closed(venv) == []
    if THOROUGH:  # an environment from before provisioning handled umasks
        (venv / "lib").chmod(0o700)
        (found,) = venv.glob("lib/python*/site-packages/torch/__init__.py")
        found.chmod(0o600)
        mended = provision(0o077)
        assert (mended.status, mended.changed) == (0, 1), mended.output
    # One of another Python, as after an upgrade of the system; an index with another torch.
    settings = venv / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace("version = 3.", "version = 2."))
    lock(tmp_path / "locks", "0" * 64)
    other = provision(0o077)
    assert other.status == 2, other.output
    assert "version = 3." in settings.read_text()
    assert "what the package index has of torch==2.13.0 is not what the lock has" in other.output
    assert not list(venv.glob("lib/python*/site-packages/torch"))


@pytest.fixture(scope="module")
def packages(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/runtime/filter_plugins/packages.py")


SCRIPT = runpy.run_path(str(ROOT / "scripts/locks"))
LOCKS = str(SCRIPT["FOLDER"])


@pytest.mark.parametrize("python", SCRIPT["PYTHONS"])
@pytest.mark.parametrize("name", [path.stem for path in Path(LOCKS).glob("*.txt")])
def test_a_lock_has_all_that_the_requirements_name(
    packages: ModuleType, name: str, python: str
) -> None:
    made_for, groups = SCRIPT["LOCKS"][name], (SCRIPT["RUNTIME"], *SCRIPT["OTHERS"])
    every = {package: version for group in groups for package, version in group.pins.items()}
    pins = [f"{package}=={version}" for package, version in (every | made_for.versions).items()]
    host = {"machine": made_for.machine, "python": python}
    asked = packages.pip_calls(pins, [], host, LOCKS, [group.label for group in groups])
    assert (asked["lock"], asked["unlocked"]) == (f"{name}.txt", ""), "make locks"
    text = "".join(call["input"] for call in asked["calls"])
    assert (
        text.count("==") == asked["count"] == (Path(LOCKS) / f"{name}.txt").read_text().count("==")
    )
    again = packages.pip_calls(
        pins, [], host | {"has": re.findall(r"^(\S+)", text, re.M)}, LOCKS, ["runtime"]
    )
    assert again["calls"] == []


@pytest.mark.parametrize(
    ("host", "pins", "folder", "said"),
    [
        (("aarch64", "3.11"), ["torch==2.9.1"], LOCKS, ""),
        (
            ("aarch64", "3.11"),
            ["torch==2.8.0"],
            LOCKS,
            "no lock for Python 3.11 on aarch64 has torch 2.8.0",
        ),
        (("x86_64", "3.13"), ["Torch==2.13.0", "typing_extensions==4.16.0"], LOCKS, ""),
        (
            ("x86_64", "3.14"),
            ["torch==2.13.0"],
            LOCKS,
            "there is no lock for Python 3.14 on x86_64",
        ),
        (
            ("riscv64", "3.12"),
            ["torch==2.13.0"],
            LOCKS,
            "there is no lock for Python 3.12 on riscv64",
        ),
        (("x86_64", "3.13"), ["torch==2.13.0"], "", "runtime_locks names no locks"),
    ],
)
def test_what_no_lock_has_is_installed_without_hashes(
    packages: ModuleType, host: tuple[str, str], pins: list[str], folder: str, said: str
) -> None:
    told = dict(zip(("machine", "python"), host, strict=True))
    asked = packages.pip_calls(pins, ["executorch==1.0.1"] if said else [], told, folder, [])
    assert asked["unlocked"].startswith(said)
    words = [call["words"] for call in asked["calls"]]
    hashed = ["--no-deps", "--require-hashes"]
    assert words == [[], ["--no-deps"]] if said else all(each == hashed for each in words)


NONE = "ERROR: No matching distribution found for xxhash==4.1.0\n"
BROKEN = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by "
UNKNOWN = "[Errno -2] Name or service not known"
OLD_PIP = f"{BROKEN}'NewConnectionError('<object at 0x7>: Failed: {UNKNOWN}')': /simple/xxhash/\n"
NEW_PIP = (
    f"{BROKEN}'NameResolutionError(\"Pool(host='a', port=1): Failed ({UNKNOWN})\")': /simple/\n"
)
SLOW = (
    f"{BROKEN}'ConnectTimeoutError(<object>, 'To a timed out. (connect timeout=15)')': /simple/\n"
)
CERTIFICATE = (
    f"{BROKEN}'SSLError(Error(1, '[SSL: CERT] certificate verify failed: %s (_ssl.c:992)'))'"
)
PLAIN = "WARNING: The repository located at 10.0.0.2 is not a trusted or secure host and\n"
OFFERED = "ERROR: Could not find a version that satisfies the requirement %s (from versions: %s)\n"
CONFLICT = "ERROR: Cannot install a==1 and b==2 because these package versions have conflicts.\n"
SILENT = "the package index does not answer"
STRANGE = "the package index is not believed"


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (1, OLD_PIP + NONE, f"{SILENT} (Name or service not known): see to"),
        (1, NEW_PIP + NONE, f"{SILENT} (Name or service not known): see to"),
        (1, SLOW + NONE, f"{SILENT} (connect timeout=15): see to"),
        (1, CERTIFICATE % "self-signed certificate", f"{STRANGE} (self-signed certificate): have"),
        (1, CERTIFICATE % "certificate is not yet valid", f"{STRANGE} (certificate is not yet val"),
        (1, PLAIN + NONE, "pip ignores 10.0.0.2, which is not encrypted: give"),
        (1, OFFERED % ("a==1", "none") + NONE, "the package index has no wheel of a==1 for this"),
        (1, OFFERED % ("a==1", "2, 3") + NONE, "the package index has a==1 in other versions only"),
        (
            1,
            CONFLICT + "ERROR: ResolutionImpossible: for help",
            "Cannot install a==1 and b==2 becau",
        ),
        (1, "ERROR: [Errno 28] No space left on device\n", "No space left on device: make room"),
        (-9, "", "pip ran out of memory (-9): end what else runs there"),
        (1, "/opt/v/bin/python: No module named pip\n", "the environment is not whole (No module"),
        (1, "ERROR: something new\n", "pip failed: something new — all that it said is in the log"),
        (3, "", "pip failed: status 3 — all"),
    ],
)
def test_why_pip_failed_is_one_sentence(
    packages: ModuleType, status: int, text: str, said: str
) -> None:
    found = packages.pip_said({"rc": status, "stderr": text})
    assert found.startswith(said)
    assert "\n" not in found
