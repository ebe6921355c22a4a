"""A Raspberry Pi 4's processor without a Pi: arm64 programs, run by QEMU's user mode.

``python -m tests.campaigns.emulated_pi`` unpacks Debian's Python for arm64 into ``.cache/arm``,
with a virtual environment per release of PyTorch, and installs nothing. ``bin/python`` is a script
that starts QEMU, so that ``sys.executable`` stays emulated.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "arm"
_LAB = yaml.safe_load((ROOT / "inventory/lab/hosts.yml").read_text())
#: The example inventory's releases for a Pi.
ON_A_PI: dict[str, str] = _LAB["pis"]["vars"]["runtime_versions"]
#: Releases whose aarch64 wheels need a newer processor, each with its torchvision.
TOO_NEW = {"2.4.0": "0.19.0", "2.10.0": "0.25.0"}
#: What torch and torchvision need beside runtime.txt. Listed, because pip judges their conditions
#: ("on x86_64 CUDA too") by the machine that downloads.
NEEDED = {
    "filelock": "4.2.12",
    "fsspec": "2026.9.0",
    "jinja2": "3.1.6",
    "markupsafe": "3.0.4",
    "mpmath": "1.3.0",
    "networkx": "3.6.1",
    "pillow": "13.0.0",
    "sympy": "1.14.0",
    "typing-extensions": "4.16.0",
}
PROCESSOR = "cortex-a72"
MODEL = "Emulated Cortex-A72 (QEMU)"
QEMU = "qemu-aarch64-static"
# apt adds their dependencies.
_PACKAGES = ("python3", "libstdc++6")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")
_PYTHON = """#!/bin/sh
# Python on an emulated processor; QEMU_CPU names another one.
system=$(cd "${{0%/*}}/../../../system" && pwd) || exit
ulimit -c 0
exec {qemu} -cpu "${{QEMU_CPU:-{processor}}}" -L "$system" -0 "$0" "$system/usr/bin/{python}" "$@"
"""


class NotMade(Exception): ...


@dataclass(frozen=True)
class Environment:
    """One release of PyTorch on the emulated processor."""

    torch: str
    folder: Path = FOLDER

    @property
    def home(self) -> Path:
        return self.folder / f"torch-{self.torch}"

    @property
    def python(self) -> Path:
        return self.home / "venv" / "bin" / "python"

    @property
    def versions(self) -> dict[str, str]:
        torchvision = {ON_A_PI["torch"]: ON_A_PI["torchvision"], **TOO_NEW}[self.torch]
        return {"torch": self.torch, "torchvision": torchvision}

    @property
    def requirements(self) -> list[str]:
        """A node's pins, with this release of PyTorch."""
        pins = NEEDED | _pins() | self.versions
        return [f"{name}=={version}" for name, version in pins.items()]

    @property
    def is_made(self) -> bool:
        kept = self.home / "requirements.txt"
        return kept.exists() and kept.read_text().split() == self.requirements


def environments(folder: Path = FOLDER) -> list[Environment]:
    """Return all environments, a Pi's release first."""
    return [Environment(torch, folder) for torch in (ON_A_PI["torch"], *TOO_NEW)]


def make(folder: Path = FOLDER) -> None:
    """Create what is missing in `folder`; it can be interrupted and repeated.

    Raises
    ------
    NotMade
        If QEMU is missing or a download fails.
    """
    if shutil.which(QEMU) is None:
        raise NotMade(f"{QEMU} is missing: apt-get install qemu-user-static")
    folder.mkdir(parents=True, exist_ok=True)
    system = folder / "system"
    if not system.exists():
        _make_system(system)
    for environment in environments(folder):
        if not environment.is_made:
            _make_environment(environment, system)
    print(f"the emulated {PROCESSOR} is ready in {folder}")


def _make_system(system: Path) -> None:
    apt = system.with_name("apt")
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()  # nothing installed, so apt fetches all dependencies
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
    }
    apt_get = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    _run("asking apt for arm64 packages", [*apt_get, "update"])
    install = ["install", "--yes", "--download-only", "--no-install-recommends", *_PACKAGES]
    _run("fetching Python for arm64", [*apt_get, *install])
    with _whole(system) as partial:
        unpack = 'for package in "$1"/*.deb; do dpkg -x "$package" "$2" || exit; done'
        _run("unpacking it", ["sh", "-c", unpack, "sh", str(apt / "archives"), str(partial)])
        # A Pi's model; /proc/cpuinfo stays this machine's.
        model = partial / "proc" / "device-tree" / "model"
        model.parent.mkdir(parents=True)
        model.write_text(f"{MODEL}\0")


def _make_environment(environment: Environment, system: Path) -> None:
    interpreter = (system / "usr/bin/python3").readlink().name  # python3.11
    target = ["--python-version", interpreter.removeprefix("python"), "--implementation", "cp"]
    target += [word for platform in _PLATFORMS for word in ("--platform", platform)]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    exact = ["--no-deps", "--only-binary=:all:", *target, *environment.requirements]
    wheels = environment.folder / "wheels"
    what = f"aarch64 wheels of PyTorch {environment.torch} (about 150 MB)"
    _run(f"fetching {what}", [*pip, "download", "--dest", str(wheels), *exact])
    with _whole(environment.home) as partial:
        packages = partial / "venv" / "lib" / interpreter / "site-packages"
        there = ["--no-index", f"--find-links={wheels}", f"--target={packages}"]
        _run(f"unpacking {what}", [*pip, "install", *there, *exact])
        # As `python -m venv` writes it.
        (partial / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
        python = partial / "venv" / "bin" / "python"
        python.parent.mkdir()
        python.write_text(_PYTHON.format(qemu=QEMU, processor=PROCESSOR, python=interpreter))
        python.chmod(0o755)
        (partial / "requirements.txt").write_text("\n".join(environment.requirements) + "\n")


def _pins() -> dict[str, str]:
    lines = (ROOT / "requirements/runtime.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines)


def _run(what: str, command: list[str]) -> None:
    """Run a command silently; raise its last line on failure."""
    print(f"{what} …", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        reason = next((line for line in said if line.startswith(("E: ", "ERROR: "))), said[-1])
        raise NotMade(f"{what} failed: {reason} — is there a network? the same command goes on")


@contextmanager
def _whole(final: Path) -> Iterator[Path]:
    """Yield a scratch folder that is renamed when complete."""
    partial = final.with_name(f"{final.name}.partial")
    for old in (partial, final):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir()
    yield partial
    partial.rename(final)


if __name__ == "__main__":
    try:
        make()
    except NotMade as error:
        sys.exit(str(error))
