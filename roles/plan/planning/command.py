"""Know what every playbook takes, and refuse a command line that it cannot follow.

A new playbook or option is a row here; an input of a role is taken everywhere.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roles.netem.shaping import conditions

from . import report, training
from .values import OPTIONS, OptionError, flag, folder, known, text

_ROLES = Path(__file__).resolve().parents[2]
_HOSTS = ("orchestrator", "workers", "netem_hosts")
_WORDS = (*conditions.OPTIONS, *conditions.GONE)
_PROVISION = ("provision", "take_over", "model_package")
_SWEEP = "it needs all hosts: choose with -e pairings=… which of them measure"


@dataclass(frozen=True)
class Playbook:
    """Names of options, groups that its inventory needs, and why --limit does not serve, if so."""

    options: tuple[str, ...] = ()
    groups: tuple[str, ...] = _HOSTS
    whole: str = "it is about all hosts together, so leave it out"


PLAYBOOKS = {
    "bench": Playbook(("quick", "bench_networks", "bench_models", "bench_out", *_PROVISION)),
    "bootstrap": Playbook(("fingerprints_checked",)),
    "cut": Playbook((*OPTIONS, *_PROVISION, "again")),
    "deprovision": Playbook(whole=""),
    "finetune": Playbook(training.OPTIONS, ("orchestrator",)),
    "full_sweep": Playbook((*OPTIONS, *_PROVISION), whole=_SWEEP),
    "measure": Playbook(OPTIONS, whole=_SWEEP),
    "netem": Playbook((*_WORDS, *(f"netem_{word}" for word in _WORDS), "hop", "chain")),
    "preflight": Playbook(OPTIONS),
    "prepare": Playbook(OPTIONS, whole=_SWEEP),
    "profile": Playbook((*OPTIONS, *_PROVISION), whole=_SWEEP),
    "provision": Playbook((*_PROVISION, "model"), ("orchestrator", "workers"), whole=""),
    "report": Playbook(report.OPTIONS, (), "it asks no host, so leave it out"),
    "reset": Playbook(whole=""),
    "rotate": Playbook(_PROVISION),
    "status": Playbook((), ("orchestrator",)),
    "testbed": Playbook(groups=("testbed",)),
    "wheelhouse": Playbook(("model",), groups=("orchestrator", "workers"), whole=""),
}
#: Of hosts, in inventories, and read by several playbooks.
_EVERYWHERE = (
    *("allow_insecure_rpc", "worker_allocator", "experiment_ip", "experiment_interface"),
    "preflight_timeout",
)


def fits_inventory(playbook: str, groups: Mapping[str, Collection[str]]) -> None:
    """Refuse an inventory without one of the playbook's groups, which Ansible would skip."""
    for group in PLAYBOOKS[playbook].groups:
        if not groups.get(group):
            raise OptionError(
                f"{playbook}.yml finds no group {group}, or nobody in it: name an inventory that "
                "has one, such as -i inventory/local"
            )


def limited(playbook: str, limit: str, left: Collection[str]) -> None:
    """Refuse ``--limit`` unless the playbook is about each host by itself, and some are `left`."""
    takes = PLAYBOOKS[playbook]
    if not takes.whole and not left:
        raise OptionError(
            f"--limit {limit} leaves {playbook}.yml no host: name some of the groups "
            f"{', '.join(takes.groups)}"
        )
    if takes.whole and limit != "all":
        raise OptionError(f"--limit {limit} does not go with {playbook}.yml: {takes.whole}")


def tagged(asked: Iterable[str], skipped: Collection[str], tags: Collection[str]) -> None:
    """Refuse tags that nothing has, and to skip what nothing repeats."""
    special = {"all", "always", "never", "tagged", "untagged"}
    for tag in {*asked, *skipped} - special:
        known("tag", [tag], sorted({*tags} - special))
    if "always" in skipped:
        raise OptionError("--skip-tags always leaves out checks that nothing repeats: leave it out")


def started_within(task: str) -> None:
    """Refuse ``--start-at-task``: later tasks need what earlier ones planned and checked."""
    raise OptionError(
        f"--start-at-task '{task}' would leave out what is planned and checked before: leave it "
        "out; what is done already is not done again"
    )


def stepped(terminal: bool) -> None:
    """Refuse ``--step`` without a terminal to answer at."""
    if not terminal:
        raise OptionError("--step asks before every task, and there is no terminal: leave it out")


def legal(playbook: str) -> set[str]:
    """Return the names that a playbook knows, inputs of roles among them."""
    inputs = {
        name
        for path in _ROLES.glob("*/defaults/main.yml")
        # Required ones are named there in a comment.
        for name in re.findall(r"^(?:# )?([a-z_]+):", path.read_text("utf-8"), re.MULTILINE)
    }
    return {*PLAYBOOKS[playbook].options, *_EVERYWHERE, *inputs}


def named(playbook: str, typed: Iterable[str], inventory: Collection[str] = ()) -> list[str]:
    """Return a sentence for every typed name that changes nothing.

    Raises
    ------
    OptionError
        For a name that is nearly one of the playbook's, or no name.
    """
    ours = legal(playbook)
    odd = []
    for name in map(str, typed):
        if name == "_raw_params":
            raise OptionError("-e needs name=value, without a space: write -e model=vgg16")
        if name in ours or name in inventory or name.startswith("ansible_"):
            continue
        others = [f"{other}.yml" for other, takes in PLAYBOOKS.items() if name in takes.options]
        plain = name.lower().replace("-", "_")
        close = difflib.get_close_matches(plain, sorted(ours), n=1, cutoff=0.8)
        if close and not others:
            raise OptionError(f"unknown option '{name}': did you mean {close[0]}=…?")
        whose = f", but {', '.join(others)}" if others else ""
        odd.append(f"{playbook}.yml has no option {name}{whose}: it changes nothing here")
    return odd


def valued(typed: Mapping[str, Any]) -> None:
    """Refuse values that playbooks read by themselves and that mean nothing there."""
    for name, value in typed.items():
        if name in _CHECKS and "{{" not in str(value):
            _CHECKS[name](name, value)


def _words(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise OptionError(f"{name}={text(name, value)} is no text: write {name}=a,b")


def _seconds(name: str, value: Any) -> None:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", text(name, value)) or float(value) <= 0:
        raise OptionError(f"{name}={text(name, value)} is no number of seconds: write {name}=10")


def _provision(name: str, value: Any) -> None:
    known(name, [text(name, value)], ["full", "changed"])


_CHECKS: dict[str, Callable[[str, Any], object]] = {
    **dict.fromkeys(
        ("again", "preflight", "quick", "fingerprints_checked", "take_over", "allow_insecure_rpc"),
        flag,
    ),
    **dict.fromkeys(("bench_networks", "bench_models", "bench_out"), _words),
    # Inputs of roles that the playbooks set from `sweep` and `against`.
    **dict.fromkeys(("report_sweep", "report_against", "sweep_name"), folder),
    "preflight_timeout": _seconds,
    "provision": _provision,
}
