"""The image layer: /opt/paretopipe with the virtual environment of the runtime's packages.

Built once per content of the requirements files; every node's writable layer lies on top.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .machine import NODE_PYTHON
from .settings import Settings
from .shell import PREFIX, TestbedError, forward, itself, run, system_environment

HOME = "opt/paretopipe"  # below a node's root
VENV = f"/{HOME}/venv"
BUILD_TIMEOUT_S = 1800


def layer(settings: Settings) -> Path:
    """Return the image folder for these settings, built or not."""
    version = run(NODE_PYTHON, "-V").stdout.strip()
    try:
        files = (settings.requirements, settings.optional, _nodeps(settings.optional))
        wanted = b"".join(path.read_bytes() for path in files)
    except OSError as error:
        raise TestbedError(f"cannot read {error.filename}: {error.strerror}") from error
    key = hashlib.sha256(wanted + version.encode()).hexdigest()[:16]
    return settings.state_root / "image" / key


def is_built(settings: Settings) -> bool:
    return layer(settings).is_dir()


def build(settings: Settings) -> None:
    """Build the image if missing, and delete unused ones."""
    target = layer(settings)
    if target.is_dir():
        return
    scratch = target.with_suffix(".building")
    shutil.rmtree(scratch, ignore_errors=True)
    for part in ("upper", "work", "downloads"):
        (scratch / part).mkdir(parents=True)
    log = target.with_suffix(".log")
    try:
        _run_build(scratch, settings, log)
        (scratch / "upper" / Path(HOME).name).rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for other in target.parent.iterdir():
        if other.name.startswith(target.name) or _in_use(other.stem, settings.state_root):
            continue
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        else:
            other.unlink()


def _run_build(scratch: Path, settings: Settings, log: Path) -> None:
    command = [
        # Mounts end with this private namespace, also when the build is killed.
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
        *itself("build-image-inside", scratch, settings.requirements, settings.optional),
    ]
    # Downloads are large: keep them on disk, and delete them with the scratch folder.
    own = {"TMPDIR": f"{scratch}/downloads", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if "PIP_CACHE_DIR" not in os.environ:
        own["PIP_NO_CACHE_DIR"] = "1"
    with log.open("wb") as output:
        try:
            result = subprocess.run(
                command,
                env=system_environment(forward() | own),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=BUILD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TestbedError(
                f"building the image took more than {BUILD_TIMEOUT_S} s (log: {log})"
            ) from error
    if result.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
        said = next((line for line in lines if line.startswith(("ERROR:", PREFIX))), lines[-1])
        raise TestbedError(f"building the image failed: {said.removeprefix(PREFIX)} (log: {log})")


def build_inside(scratch: Path, requirements: Path, optional: Path) -> None:
    """Create the virtual environment, in the build's mount namespace.

    Its /opt is an overlay whose upper layer becomes the image. Optional packages may fail.
    """
    os.umask(0o022)  # readable for the hosts' service user
    layers = f"lowerdir=/opt,upperdir={scratch}/upper,workdir={scratch}/work"
    run("mount", "-t", "overlay", "overlay", "-o", layers, "/opt")
    _run([NODE_PYTHON, "-m", "venv", "--clear", VENV])
    pip = [f"{VENV}/bin/python", "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    _run([*pip, "--requirement", str(requirements)])
    within = ("--constraint", str(requirements))
    for path, more in ((optional, ()), (_nodeps(optional), ("--no-deps",))):
        command = [*pip, *more, "--requirement", str(path), *within]
        if subprocess.run(command, check=False).returncode != 0:
            print(f"{path.name}: not installed, the image is made without")


def _nodeps(optional: Path) -> Path:
    """Return the list beside it of those to install without their dependencies."""
    return optional.with_name("nodeps.txt")


def _run(command: list[str]) -> None:
    if (code := subprocess.run(command, check=False).returncode) != 0:
        sys.exit(code)


def _in_use(key: str, state_root: Path) -> bool:
    return any(key in path.read_text() for path in state_root.glob("*/state.json"))
