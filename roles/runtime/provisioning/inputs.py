"""Digest the controller's inputs to a host's provisioning."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .certificates import Store, issue

#: Roles that provision a host, and other sources that decide about it.
ROLES = ("runtime", "worker")
SOURCES = (
    *(f"roles/{role}" for role in ROLES),
    *("roles/job/filter_plugins", "playbooks/provision.yml"),
)
#: Options that are places on the controller: their content counts, not their path.
PLACES = {
    *("runtime_source", "runtime_requirements", "runtime_engine_requirements"),
    *("runtime_nodeps_requirements", "runtime_cuda_requirements", "runtime_wheelhouse"),
    "runtime_locks",
}


#: What a host must have at least: whatever more it has is no difference (`models` in look.py).
AT_LEAST = {"runtime_model_wheels"}


def options(root: Path) -> list[str]:
    """Return the roles' inputs whose values count."""
    found: set[str] = set()
    for role in ROLES:
        text = (root / f"roles/{role}/meta/argument_specs.yml").read_text()
        found |= yaml.safe_load(text)["argument_specs"]["main"]["options"].keys()
    return sorted(found - PLACES - AT_LEAST)


def inputs(
    root: Path, value_of: Callable[[str], Any], laid_from: Mapping[str, Any]
) -> dict[str, str]:
    """Return a digest of each input.

    Parameters
    ----------
    root : Path
        The checkout.
    value_of : callable
        Returns a role input's value for the host, or None.
    laid_from : mapping
        The role's `requirements`, `locks`, `wheelhouse`, `key`, `source` and issue_certificate's
        arguments.
    """
    values: dict[str, Any] = {name: value_of(name) for name in options(root)}
    values["the roles"] = [_content(path, root) for path in _files(root, SOURCES)]
    values["the packages"] = laid_from["requirements"]
    # Which one fits, only the host knows.
    locks = Path(laid_from["locks"] or "/nowhere")
    values["the locks"] = [_content(path, locks) for path in _files(locks, ["."])]
    values["the code"] = _version(Path(laid_from["source"]))
    values["the key"] = _content(Path(laid_from["key"]))
    values["the wheelhouse"] = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in _files(Path(laid_from["wheelhouse"] or "/nowhere"), ["."])
    ]
    values["the certificate"] = certificate(laid_from["certificate"])
    return {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        for name, value in values.items()
    }


def certificate(wanted: Mapping[str, Any]) -> list[str]:
    """Return digests of certificate, key and authority; none if one must be issued."""
    if not wanted["address"]:
        return ["none"]
    folder, name = Path(wanted["folder"]), wanted["name"]
    store = Store(folder, dry=True)
    days, renew_days = int(wanted["days"]), int(wanted["renew_days"])
    issue(store, name, wanted["node"], wanted["address"], days, renew_days)
    if store.changed:
        return []
    return [_content(folder / each) for each in (f"{name}.key", f"{name}.pem", "authority.pem")]


def _files(root: Path, names: Iterable[str]) -> list[Path]:
    found: set[Path] = set()
    for name in names:
        path = root / name
        found |= {path} if path.is_file() else {each for each in path.rglob("*") if each.is_file()}
    return sorted(path for path in found if path.suffix not in {".pyc", ".md"})


def _content(path: Path, root: Path | None = None) -> str:
    name = path.relative_to(root).as_posix() if root else ""
    try:
        return f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except FileNotFoundError:
        return f"{name} missing"


def _version(source: Path) -> str:
    """Return the code's identity, importing nothing else of the checkout."""
    path = source / "paretopipe_runtime/version.py"
    spec = importlib.util.spec_from_file_location("paretopipe_version", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.version())
