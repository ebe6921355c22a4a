"""The image layer: what a freshly installed node has beyond this machine's own system.

That is one folder, /opt/paretopipe with the virtual environment of the runtime's packages, built
once per content of the requirements files and laid under every node's own writable layer.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .settings import Settings
from .shell import TestbedError, forward, run, system_environment

NODE_PYTHON = "/usr/bin/python3"
HOME = "opt/paretopipe"  # below a node's root
VENV = f"/{HOME}/venv"
BUILD_TIMEOUT_S = 1800


def layer(settings: Settings) -> Path:
    """Return the folder of the image that these settings ask for, built or not."""
    version = run(NODE_PYTHON, "-V").stdout.strip()
    wanted = b""
    for file in (settings.requirements, settings.optional):
        try:
            wanted += file.read_bytes()
        except OSError as error:
            raise TestbedError(f"cannot read {file}: {error.strerror}") from error
    key = hashlib.sha256(wanted + version.encode()).hexdigest()[:16]
    return settings.state_root / "image" / key


def is_built(settings: Settings) -> bool:
    """Say whether the wanted image is complete; an interrupted build is not."""
    return layer(settings).is_dir()


def build(settings: Settings) -> None:
    """Build the wanted image where it is missing, and drop images of other contents."""
    target = layer(settings)
    if target.is_dir():
        return
    scratch = target.with_suffix(".building")
    shutil.rmtree(scratch, ignore_errors=True)
    for part in ("upper", "work", "root"):
        (scratch / part).mkdir(parents=True)
    log = target.with_suffix(".log")
    try:
        _run_build(scratch, settings, log)
        (scratch / "upper" / HOME).rename(target)
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
        # The mounts live and die with this private namespace, whatever happens to the build.
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
        *(sys.executable, "-m", str(__package__), "build-image-inside"),
        *(str(scratch), str(settings.requirements), str(settings.optional)),
    ]
    environment = system_environment(forward() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    with log.open("wb") as output:
        try:
            result = subprocess.run(
                command,
                env=environment,
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
        lines = log.read_text(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "no message"
        raise TestbedError(f"building the image failed: {said} (log: {log})")


def build_inside(scratch: Path, requirements: Path, optional: Path) -> None:
    """Create the virtual environment; runs within the build's own mount namespace.

    Without the optional packages the image is complete: what needs them says so when it is used.
    """
    os.umask(0o022)  # the service user of the hosts is to use it, whatever ours is
    root = scratch / "root"
    overlay = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
    run("mount", "-t", "overlay", "overlay", "-o", overlay, str(root))
    run("mount", "-t", "proc", "proc", str(root / "proc"))
    for name in ("dev", "etc/resolv.conf", "etc/hosts"):
        run("mount", "--rbind", f"/{name}", str(root / name))
    # A scratch /tmp and cache: what pip leaves there must not become part of the image.
    for name in ("tmp", "root/.cache"):
        (root / name).mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", str(root / name))
    shutil.copy(requirements, root / "tmp/requirements.txt")
    shutil.copy(optional, root / "tmp/optional.txt")
    os.chroot(root)
    os.chdir("/")
    subprocess.run([NODE_PYTHON, "-m", "venv", "--clear", VENV], check=True)
    pip = [f"{VENV}/bin/python", "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    # This /tmp was mounted a moment ago, for this process: nobody else's file can be in it.
    needed, more = "/tmp/requirements.txt", "/tmp/optional.txt"  # nosec B108
    subprocess.run([*pip, "--requirement", needed], check=True)
    pinned = ("--constraint", needed)
    done = subprocess.run([*pip, "--requirement", more, *pinned], check=False)
    if done.returncode != 0:
        print(f"{optional.name}: not installed, the image is made without")
    sys.exit(0)


def _in_use(key: str, state_root: Path) -> bool:
    """Say whether a testbed that is up stands on the image with this key."""
    return any(key in path.read_text() for path in state_root.glob("*/state.json"))
