"""Find each pairing's hosts by the inventory's groups, whatever their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paretopipe_runtime.contract.replicas import JOINT, hosts_at, hosts_of, joined

from .values import OptionError, known, listed

BOARDS, SERVERS = "pis", "servers"
#: Groups whose hosts are of this machine.
EMULATED = ("testbed", "processes")
Chains = dict[str, tuple[str, ...]]
_MEMBER = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)\[([0-9]{1,3})\]")
_REPLICAS = """-e '{"pairings": {"farm": ["a", ["b", "c"], "d"]}}'"""
_EXAMPLE = """-e '{"pairings": {"a_to_b": ["a", "b"]}}'"""


class Lacking(OptionError):
    """A pairing that this inventory has no host for; `remedy` says what to add."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


@dataclass(frozen=True)
class Places:
    """Places of the inventory's hosts.

    `groups` has their members in order, `pairings` chains of the inventory's own; `senders` are the
    workers whose outgoing traffic can be shaped, empty for any.
    """

    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pairings: Mapping[str, Any] = field(default_factory=dict)
    senders: Sequence[str] = ()

    @property
    def shaped(self) -> str:
        """The worker whose ways to all others are measured, empty for none."""
        return self.senders[0] if self.senders else ""

    def members(self, workers: Sequence[str], orchestrator: str) -> dict[str, list[str]]:
        """Return the workers of each group, `pis` and `servers` among them.

        Without a group `servers` its members are the workers outside `pis`, first the orchestrator;
        with neither, the orchestrator alone, unless it is the first worker. Without a group `pis`
        its members are all workers but the servers.
        """
        found = {name: [h for h in hosts if h in workers] for name, hosts in self.groups.items()}
        boards, servers = found.get(BOARDS), found.get(SERVERS)
        if not servers:
            outside = [host for host in workers if host not in boards] if boards else workers[1:]
            servers = [host for host in outside if host == orchestrator]
            servers += [host for host in outside if boards and host != orchestrator]
        boards = boards or [host for host in workers if host not in servers]
        return {**found, BOARDS: boards, SERVERS: servers}


def pairings_of(
    asked: Any, named: Mapping[str, Any], workers: Sequence[str], members: Mapping[str, list[str]]
) -> tuple[Chains, tuple[str, ...]]:
    """Return the chains of hosts by pairing, and of those left out a sentence each.

    Parameters
    ----------
    asked : str, list or mapping, optional
        Names, or chains of the user's own; by default all of `named` that there are hosts for.
    named : mapping
        Chains by pairing: hosts and members such as ``pis[0]``, a list or with commas. Several in
        one place are a list there, or joined by ``+``, as the chains returned have them.
    members : mapping
        Workers by group, as `Places.members` returns them.

    Raises
    ------
    OptionError
        For a chain that cannot be, if it was asked for or if none can.
    """
    if isinstance(asked, Mapping):
        asked, named = list(asked), asked
    chains: Chains = {}
    lacks: dict[str, Lacking] = {}
    for name, chain in ((str(name), chain) for name, chain in named.items()):
        try:
            chains[name] = _chain(name, chain, workers, members)
        except Lacking as lack:
            lacks[name] = lack
    if asked is None:
        if not chains:
            raise OptionError(_none(workers, lacks.values()))
        return chains, tuple(f"left out: {lack}" for lack in lacks.values())
    chosen = known("pairing", listed(asked), [*named])
    others = f", or choose pairings={','.join(chains)}" if chains else ""
    for lack in (lacks[name] for name in chosen if name in lacks):
        raise OptionError(f"{lack}: {lack.remedy}{others}")
    return {name: chains[name] for name in chosen}, ()


def idle(chains: Chains, workers: Sequence[str], orchestrator: str) -> tuple[str, ...]:
    """Return a sentence if some workers are in no chain and do not orchestrate."""
    busy = {orchestrator, *(host for chain in chains.values() for host in hosts_of(chain))}
    left = [host for host in workers if host not in busy]
    return (f"nothing runs on {', '.join(left)}: name a pairing, as in {_EXAMPLE}",) if left else ()


def _chain(
    name: str, chain: Any, workers: Sequence[str], members: Mapping[str, list[str]]
) -> tuple[str, ...]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise OptionError(f"pairing '{name}' cannot be in a file's name: use letters, digits, '_'")
    said = chain.split(",") if isinstance(chain, str) else chain
    if not isinstance(said, Sequence) or len(said) < 2:
        raise OptionError(f"pairing {name} is {chain}: name two hosts or more, as in {_EXAMPLE}")
    places = tuple(_place(name, one, workers, members) for one in said)
    hosts = hosts_of(places)
    if twice := [host for host in hosts if hosts.count(host) > 1]:
        raise OptionError(f"pairing {name} has {twice[0]} twice: each stage needs its own host")
    return places


def _place(name: str, said: Any, workers: Sequence[str], members: Mapping[str, list[str]]) -> str:
    """Return the host, or the hosts that take batches in turn, in one place of a chain."""
    if isinstance(said, str):
        said = [said] if said.strip() in workers else said.split(JOINT)
    each = said if isinstance(said, Sequence) else [said]
    if not each or any(isinstance(one, list | Mapping) for one in each):
        raise OptionError(
            f"pairing {name} has {said} in one place: name a host there, or a list of equal hosts "
            f"that take batches in turn, as in {_REPLICAS}"
        )
    place = joined(_host(name, str(one).strip(), workers, members) for one in each)
    if len(hosts_at(place)) > len(each):
        raise OptionError(
            f"pairing {name} has {place}, and a host there has '{JOINT}' in its name, which joins "
            "equal hosts of one place: rename it in the inventory"
        )
    return place


def _host(pairing: str, said: str, workers: Sequence[str], members: Mapping[str, list[str]]) -> str:
    """Return the host that is so named, or is the n-th of a group."""
    found = _MEMBER.fullmatch(said)
    if not found:
        if said in workers:
            return said
        raise Lacking(
            f"pairing {pairing} needs host '{said}', which is no worker in this inventory: workers "
            f"are {', '.join(workers)}",
            f"list {said} below workers",
        )
    group, place = found[1], int(found[2])
    own = members.get(group, [])
    if place < len(own):
        return own[place]
    has = f"only {', '.join(own)}" if own else "no worker in it"
    raise Lacking(
        f"pairing {pairing} needs {said}, host {place + 1} of group {group}, which has {has}",
        f"list one more below workers and {group} in the inventory",
    )


def _none(workers: Sequence[str], lacks: Iterable[Lacking]) -> str:
    if len(workers) > 1:
        return f"{'; '.join(map(str, lacks))}: name a pairing of your own, as in {_EXAMPLE}"
    return (
        f"only {', '.join(workers) or 'no host'} is a worker in this inventory, and a network is "
        "cut between two: list a second host below workers"
    )
