"""Decide what pip installs on a host, and from which lock; say in a sentence why it could not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Packages a call: after each, the log has a line.
BATCH = 4
_LINE = re.compile(r"^(\S+)==(\S+) --hash=.*?  # (.*)$", re.MULTILINE)
_HEAD = re.compile(r"^# .* For (\S+) with Python (.*)\.$", re.MULTILINE)
_INDEX = "runtime_pip_index_url"
#: What pip says, and what to tell of it: the first that fits. The last line is seldom the reason:
#: a connection that failed is a warning, followed by "no matching distribution".
_SAYINGS = (
    (
        r"certificate verify failed: (certificate is not yet valid)",
        "the package index is not believed ({}): the host's clock is behind, set it",
    ),
    (
        r"certificate verify failed: ([^(]+) \(|confirming the (ssl certificate)",
        "the package index is not believed ({}): have its authority on the host, and name the file "
        "in runtime_pip_extra_args: --cert FILE",
    ),
    (
        r"located at (\S+) is not a trusted or secure host",
        f"pip ignores {{}}, which is not encrypted: give {_INDEX} with https, or say "
        "runtime_pip_extra_args: --trusted-host {}",
    ),
    (
        r"connection broken by .*?([^'\"()\[\]:]+)['\")]*: /|(Read timed out)"
        r"|(Could not fetch URL)",
        f"the package index does not answer ({{}}): see to the host's connection, name another in "
        f"{_INDEX}, a proxy in runtime_pip_extra_args: --proxy URL, or bring the wheels with "
        "playbooks/wheelhouse.yml",
    ),
    (
        r"HTTP error (\d+)|(40[137] Error)|(Credentials not correct)",
        f"the package index refuses ({{}}): correct {_INDEX} or runtime_pip_extra_args",
    ),
    (
        r"MATCH THE HASHES(?s:.*?)\n\s*(\S+) from ",
        "what the package index has of {} is not what the lock has: name the build that you want "
        "in runtime_versions, such as 2.13.0+cpu, or believe the index: runtime_locks: ''",
    ),
    (
        r"(No space left on device)",
        "{}: make room, or set runtime_home to a folder on a larger disk",
    ),
    (r"(MemoryError)|rc=(-9|137)\b", "pip ran out of memory ({}): end what else runs there"),
    (
        r"(No module named pip)",
        "the environment is not whole ({}): remove it and run playbooks/provision.yml again",
    ),
    (
        r"requirement (\S+) \((?:from \S+ \(line \d+\)\) \()?from versions: none",
        f"the package index has no wheel of {{}} for this host, or shows none: correct {_INDEX}, "
        "runtime_versions or runtime_python",
    ),
    (
        r"requirement (\S+) .*from versions: ",
        "the package index has {} in other versions only: correct runtime_versions",
    ),
    (r"(Cannot install .*)\.", "{}: correct runtime_versions"),
)


@dataclass(frozen=True)
class Lock:
    """One file of requirements/locks."""

    name: str
    machine: str
    pythons: tuple[str, ...]
    #: Name and version, line, what it is for.
    lines: Mapping[str, tuple[str, frozenset[str]]]


def canonical(pin: str) -> str:
    """Return ``name==version`` with the name as indexes compare it."""
    name, _, version = pin.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def read(folder: str) -> list[Lock]:
    found = []
    for path in sorted(Path(folder).glob("*.txt")) if folder else ():
        text = path.read_text()
        head = _HEAD.search(text)
        if head:
            lines = {
                f"{match[1]}=={match[2]}": (match[0], frozenset(match[3].split()))
                for match in _LINE.finditer(text)
            }
            found.append(Lock(path.name, head[1], tuple(head[2].split()), lines))
    return found


def pip_calls(
    wanted: Sequence[str],
    nodeps: Sequence[str],
    host: Mapping[str, Any],
    locks: str,
    uses: Sequence[str],
) -> dict[str, Any]:
    """Return the calls of pip that bring a host what it lacks.

    Parameters
    ----------
    wanted, nodeps : sequence of str
        ``name==version``; the second without what they depend on.
    host : mapping
        The `machine`, `python` ("3.11") and what it `has`, as ``name==version``.
    locks : str
        Folder of locks; without one, or without one that has all of it, no hash is asked for.
    uses : sequence of str
        What the host does beyond `runtime`: `cuda`, engines.

    Returns
    -------
    dict
        `calls`, each with `words`, `input` (a requirements file) and `label`; the name of the
        `lock`; or why there is none in `unlocked`.
    """
    pins = [canonical(pin) for pin in (*wanted, *nodeps)]
    has = {canonical(pin) for pin in host.get("has", ())}
    lock, unlocked = _fitting(read(locks), pins, host, locks)
    if lock:
        mine = {"runtime", *uses}
        missing = [
            (pin, line)
            for pin, (line, labels) in lock.lines.items()
            if labels & mine and pin not in has
        ]
        words = ["--no-deps", "--require-hashes"]
        parts = [(missing[at : at + BATCH], words) for at in range(0, len(missing), BATCH)]
    else:
        groups = ((list(wanted), []), (list(nodeps), ["--no-deps"]))
        # All, not only what is missing, so that pip holds to every version.
        parts = [
            ([(pin, pin) for pin in pins], words)
            for pins, words in groups
            if {canonical(pin) for pin in pins} - has
        ]
    total, done, calls = sum(len(part) for part, _ in parts), 0, []
    for part, words in parts:
        done += len(part)
        names = ", ".join(pin.replace("==", " ") for pin, _ in part)
        text = "".join(f"{line}\n" for _, line in part)
        calls.append({"words": words, "input": text, "label": f"{names} ({done} of {total})"})
    return {"calls": calls, "count": total, "lock": lock.name if lock else "", "unlocked": unlocked}


def model_missing(
    wheels: Sequence[Mapping[str, str]], has: Mapping[str, str]
) -> list[Mapping[str, str]]:
    """Return the wheels, by `name` and `sha256`, that a host lacks by its facts (look.py)."""
    return [one for one in wheels if has.get(f"model package {one['name']}") != one["sha256"]]


def _fitting(
    locks: Sequence[Lock], pins: Sequence[str], host: Mapping[str, Any], folder: str
) -> tuple[Lock | None, str]:
    """Return the lock that has all of it, or None and the reason."""
    if not folder:
        return None, "runtime_locks names no locks"
    what = f"Python {host.get('python')} on {host.get('machine')}"
    fits = [
        lock
        for lock in locks
        if lock.machine == host.get("machine") and host.get("python") in lock.pythons
    ]
    if not fits:
        return None, f"there is no lock for {what}"
    lacks = min(([pin for pin in pins if pin not in lock.lines] for lock in fits), key=len)
    if lacks:
        other = ", ".join(pin.replace("==", " ") for pin in lacks)
        return None, f"no lock for {what} has {other}"
    return next(lock for lock in fits if all(pin in lock.lines for pin in pins)), ""


def pip_said(done: Mapping[str, Any]) -> str:
    """Return in a sentence why a call of pip failed, and what to do.

    >>> pip_said({"rc": 1, "stderr": "ERROR: [Errno 28] No space left on device"})
    'No space left on device: make room, or set runtime_home to a folder on a larger disk'
    """
    text = f"{done.get('stderr') or ''}\nrc={done.get('rc')}"
    for pattern, sentence in _SAYINGS:
        if found := re.search(pattern, text):
            seen = next(filter(None, found.groups())).strip()
            return sentence.replace("{}", seen)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")] or lines[-2:-1]
    last = errors[-1].removeprefix("ERROR: ") if errors else f"status {done.get('rc')}"
    return f"pip failed: {last} — all that it said is in the log"


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            **{"pip_calls": pip_calls, "pip_words": shlex.split, "pip_said": pip_said},
            "model_missing": model_missing,
        }
