"""Gather a host's facts of provisioning; runs on the host.

Sent as text to the virtual environment's interpreter, to notice one that does not start. Standard
library of Python 3.9 only. `FACTS` must cover everything that provisioning would change.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Told = Mapping[str, Any]
Values = dict[str, str]
MISSING = "missing"
#: Timeout of a connection to the agent.
PATIENCE_S = 5.0


def packages(told: Told) -> Values:
    shown = "${Package} ${db:Status-Status}\\n"
    said = _ask("dpkg-query", "--show", "--showformat", shown, *told["packages"]).splitlines()
    return {
        f"package {name}": "installed" if f"{name} installed" in said else MISSING
        for name in told["packages"]
    }


def user(told: Told) -> Values:
    """Return the service user's account, and whether its password is locked."""
    name = told["user"]
    shadow = Path(told["shadow"]).read_text(errors="replace").splitlines()
    locked = any(line.startswith(f"{name}:!") for line in shadow)
    return {
        f"user {name}": _ask("getent", "passwd", name) or MISSING,
        f"password of {name}": "locked" if locked else "open",
    }


def folders(told: Told) -> Values:
    return {path: _status(Path(path)) for path in told["folders"]}


def files(told: Told) -> Values:
    return {path: f"{_status(Path(path))} {_content(Path(path))}" for path in told["files"]}


def environment(told: Told) -> Values:
    """Return the virtual environment's interpreter, packages and permissions."""
    venv = Path(told["venv"])
    python = venv / "bin/python"
    places = _site_packages(told)
    listed = [
        (entry.name, *_moment(entry / "METADATA"))
        for place in places
        for entry in place.iterdir()
        if entry.name.endswith((".dist-info", ".egg-info"))
    ]
    entered = [venv, venv / "bin", venv / "lib", *(place.parent for place in places), *places]
    inside = [entry for place in places for entry in place.iterdir()]
    modes = [(str(path), _status(path)) for path in (*entered, *inside)]
    return {
        f"interpreter of {venv}": f"{python.resolve()} {_moment(python)}",
        f"settings of {venv}": _content(venv / "pyvenv.cfg"),
        f"packages of {venv}": _digest(sorted(listed)),
        f"modes of {venv}": _digest(sorted(modes)),
    }


def code(told: Told) -> Values:
    found = [
        (str(path.relative_to(place)), _status(path), _content(path))
        for place in _site_packages(told)
        for kind in ("*.py", "*.safetensors")
        for path in (place / "paretopipe_runtime").rglob(kind)
    ]
    return {"the runtime's code": _digest(sorted(found)) if found else MISSING}


def models(told: Told) -> Values:
    """Return the digests of the wheels that found models come from."""
    found = {}
    for place in _site_packages(told):
        # Ours is looked at as code.
        for entry in {*place.glob("*.dist-info")} - {*place.glob("paretopipe_runtime-*")}:
            name = entry.name.partition("-")[0]
            try:
                origin = json.loads((entry / "direct_url.json").read_text())["archive_info"]
                sha256 = origin.get("hashes", {}).get("sha256") or origin["hash"].split("=")[1]
            except (OSError, ValueError, KeyError, TypeError, IndexError):
                continue  # from an index
            found[f"model package {re.sub('[-_.]+', '-', name).lower()}"] = sha256
    return found


def wheels(told: Told) -> Values:
    """Return the wheels' names, sizes and times; their content is too large to read."""
    folder = Path(told["wheels"] or os.devnull)
    found = sorted((path.name, *_moment(path)) for path in folder.glob("*"))
    return {f"wheels in {folder}": _digest(found)} if told["wheels"] else {}


def processor(told: Told) -> Values:
    """Return whether there are AES instructions, which decide the ciphers."""
    return {"AES": str("aes" in Path(told["cpuinfo"]).read_text().split())}


def kernel(told: Told) -> Values:
    return {path: Path(path).read_text().strip() for path in told.get("kernel", ())}


def governor(told: Told) -> Values:
    """Return the frequency governor asked for, or what the processors have instead."""
    wanted = str(told.get("governor") or "")
    paths = Path(told["cpufreq"]).glob("policy*/scaling_governor") if wanted else ()
    seen = {path.read_text().strip() for path in paths} or {wanted}
    return {"governor": " and ".join(sorted(seen))} if wanted else {}


def programs(told: Told) -> Values:
    return {path: _status(Path(path)) for path in told.get("programs", ())}


def units(told: Told) -> Values:
    """Return whether units run, start at boot, and match their loaded files."""
    names = told.get("units", ())
    asked = ("Id", "ActiveState", "UnitFileState", "NeedDaemonReload")
    words = ("show", f"--property={','.join(asked)}", *names)
    blocks = _ask("systemctl", *words).split("\n\n") if names else []
    shown = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    return {
        f"unit {one.get('Id')}": " ".join(one.get(key, "?") for key in asked[1:]) for one in shown
    }


def port(told: Told) -> Values:
    if not told.get("port"):
        return {}
    address, number = told["port"]
    try:
        socket.create_connection((address, int(number)), PATIENCE_S).close()
    except OSError:
        return {"the agent's port": "silent"}
    return {"the agent's port": "answers"}


def rules(told: Told) -> Values:
    """Return whether the nftables table is there that protects PyTorch RPC."""
    if not told.get("table"):
        return {}
    there = f"table {told['table']}" in _ask("nft", "list", "tables").splitlines()
    return {f"nftables {told['table']}": "there" if there else MISSING}


FACTS: tuple[Callable[[Told], Values], ...] = (
    *(packages, user, folders, files, environment, code, models, wheels),
    *(processor, kernel, governor, programs, units, port, rules),
)


def look(told: Told) -> Values:
    return {name: value for fact in FACTS for name, value in fact(told).items()}


def differs(told: Told, noted: Mapping[str, Any], seen: Values) -> list[str]:
    """Return names of facts that differ from the stamp or from their required values."""
    pairs = ((noted.get("inputs", {}), told["inputs"]), (noted.get("facts", {}), seen))
    other = {name for old, new in pairs for name in {*old, *new} if old.get(name) != new.get(name)}
    wrong = {name for name, value in told["must"].items() if seen.get(name) != value}
    return sorted(other | wrong)


def answer(told: Told) -> dict[str, Any]:
    """Write the stamp if `keep`, else compare.

    Unless `dry`, a difference removes the stamp: it never vouches for an interrupted provisioning.
    """
    stamp = Path(told["stamp"])
    seen = look(told)
    if told["keep"]:
        _write(stamp, json.dumps({"inputs": told["inputs"], "facts": seen}, indent=1) + "\n")
        found = differs(told, {"inputs": told["inputs"], "facts": seen}, seen)
        return {"differs": found, "noted": True}
    try:
        noted = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return {"differs": ["nothing is noted there"], "noted": False}
    found = differs(told, noted, seen)
    if (found or told["full"]) and not told["dry"]:
        stamp.unlink()
    return {"differs": found, "noted": True}


def _ask(*words: str) -> str:
    environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(words, env=environment, stdout=-1, stderr=-3, check=False)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace").strip()


def _site_packages(told: Told) -> list[Path]:
    return sorted(Path(told["venv"]).glob("lib/python*/site-packages"))


def _status(path: Path) -> str:
    """Return kind, mode and owner of a file and of its link's target."""
    try:
        itself, end = path.lstat(), path.stat()
    except OSError:
        return MISSING
    return f"{itself.st_mode:o} {end.st_mode:o} {end.st_uid} {end.st_gid}"


def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return MISSING


def _moment(path: Path) -> tuple[int, int, int]:
    """Return size and times; the change time cannot be restored after a write."""
    try:
        status = path.stat()
    except OSError:
        return -1, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(values: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)


def main(told: str) -> None:
    print(json.dumps(answer(json.loads(told))))
