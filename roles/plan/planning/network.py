"""Check scenarios' network conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

from paretopipe_runtime.contract.replicas import hosts_at, hosts_of
from roles.netem.shaping.conditions import (
    GONE,
    OPTIONS,
    WORDS,
    mistakes,
    refused,
    relayable,
    unshaped,
)

from .values import OptionError, known, whole

Hops = tuple[dict[str, str] | None, ...]
Chains = Mapping[str, Sequence[str]]

#: Defaults that are part of every run's key. Later options have none here, or older runs would not
#: be found again.
DEFAULTS = {"delay": "0ms", "rate": "", "jitter": "0ms", "loss": "0%", "direction": "egress"}
MOST_HOPS = 63


def hops_of(name: str, said: Any) -> Hops:
    """Return a scenario's conditions by hop, the last shaped; empty is the network as it is.

    Parameters
    ----------
    said
        None; netem's options, with ``hop`` if it is not the first; or ``hops``, a list of these.

    Raises
    ------
    OptionError
        For what is neither, or as `conditions`.
    """
    if said is None:
        return ()
    if not isinstance(said, Mapping):
        raise OptionError(
            f"scenario {name} is {said}: write it as {{ delay: 200ms, rate: 5mbit }}, or null for "
            "the network as it is"
        )
    if "hops" not in said:
        own = {key: value for key, value in said.items() if key != "hop"}
        hop = whole(f"scenario {name}: hop", said.get("hop", 1))
        if hop > MOST_HOPS:
            raise OptionError(f"scenario {name}: hop={hop} is beyond any chain of hosts: write 2")
        return (*(None for _ in range(hop - 1)), conditions(name, own))
    if len(said) > 1 or not isinstance(said["hops"], list):
        raise OptionError(
            f"scenario {name} has hops={said['hops']}{' and more' if len(said) > 1 else ''}: write "
            "nothing but hops: [null, { delay: 200ms }], what is asked of each hop or null"
        )
    if wrong := [one for one in said["hops"] if one is not None and not isinstance(one, Mapping)]:
        raise OptionError(
            f"scenario {name} asks {wrong[0]} of a hop: write {{ delay: 200ms }}, or null"
        )
    found = [one and conditions(name, one) for one in said["hops"]]
    while found and not found[-1]:
        found.pop()
    if not found:
        raise OptionError(f"scenario {name} asks nothing of any hop: write null in place of it")
    return tuple(one or None for one in found)


def conditions(name: str, netem: Mapping[str, Any]) -> dict[str, str]:
    """Return netem values with defaults filled in.

    Raises
    ------
    OptionError
        For an unknown key or word, or a number that netem cannot do.
    """
    for key in netem:
        if key in GONE:
            raise OptionError(f"scenario {name}: {refused(key)}")
        if key not in OPTIONS:
            raise OptionError(
                f"scenario {name} says '{key}', which is nothing netem does: choose from "
                f"{', '.join(OPTIONS)}"
            )
    # As the runtime reads numbers.
    spelled = {**DEFAULTS, **{key: "".join(str(value).split()) for key, value in netem.items()}}
    for word in WORDS.keys() & spelled:
        known(f"{word} in scenario {name}", [spelled[word]], [*filter(None, WORDS[word])])
    if wrong := mistakes(spelled, "2h"):
        raise OptionError(f"scenario {name}: {'; '.join(wrong)}")
    return spelled


def reached(name: str, hops: Hops, pairings: Chains) -> tuple[Chains, tuple[str, ...]]:
    """Return the pairings that have all of a scenario's hops, and of the others a sentence each.

    Raises
    ------
    OptionError
        If none has.
    """
    found = {pairing: chain for pairing, chain in pairings.items() if len(chain) > len(hops)}
    if not found:
        hosts = ", ".join(f'"host{number}"' for number in range(1, len(hops) + 2))
        raise OptionError(
            f"scenario {name} shapes hop {len(hops)}, and no pairing has one: the longest of "
            f"{', '.join(pairings)} has {max(map(len, pairings.values()))} hosts, expected "
            f'{len(hops) + 1} or more, as in -e \'{{"pairings": {{"chain": [{hosts}]}}}}\''
        )
    return found, tuple(
        f"left out: scenario {name} with pairing {pairing}, whose {len(chain)} hosts have no hop "
        f"{len(hops)}"
        for pairing, chain in pairings.items()
        if pairing not in found
    )


def refuse_elsewhere(name: str, hops: Hops, pairings: Chains, senders: Sequence[str]) -> None:
    """Refuse pairings whose shaped hops are not all sent by one host each, that can be shaped.

    Nor may a shaped hop reach several: over 5 Mbit/s one of two connections had nothing for 10 s.

    Raises
    ------
    OptionError
        For the first such hop, unless `senders` is empty.
    """
    for place, _ in enumerated(hops):
        sent = {pairing: chain[place] for pairing, chain in pairings.items()}
        for pairing, chain in pairings.items():
            hop = chain[place : place + 2]
            if several := [hosts for to in hop if len(hosts := hosts_at(to)) > 1]:
                raise OptionError(
                    f"hop {place + 1} of pairing {pairing} goes from {hop[0]} to {hop[1]}, and "
                    f"scenario {name} shapes it: {' and '.join(several[0])} would share a queue, "
                    "which TCP does not share out evenly; choose a scenario of another hop, or "
                    "scenarios=baseline"
                )
        for pairing, host in sent.items():
            if senders and host not in senders:
                raise OptionError(_not_shaped(name, place, pairing, host, senders[0]))
        if len(set(sent.values())) > 1:
            (one, first), (other, second) = list({h: p for p, h in sent.items()}.items())[:2]
            raise OptionError(
                f"hop {place + 1} of pairing {first} is sent by {one}, of {second} by {other}, and "
                f"scenario {name} shapes one host's: measure them in two sweeps, with "
                f"pairings={first} and pairings={second}"
            )


def _not_shaped(name: str, place: int, pairing: str, host: str, shaped: str) -> str:
    if place:
        return (
            f"scenario {name} shapes hop {place + 1}, which {host} sends in pairing {pairing}, and "
            f"{unshaped(host)}"
        )
    return (
        f"pairing {pairing} begins on {host}, and scenario {name} shapes what "
        f"{shaped} sends: put {host} into the inventory's group netem_hosts in its "
        f"place, or choose a pairing that begins on {shaped}, or scenarios=baseline"
    )


def enumerated(hops: Hops) -> list[tuple[int, dict[str, str]]]:
    """Return the place and the conditions of each shaped hop."""
    return [(place, netem) for place, netem in enumerate(hops) if netem]


def ways(hops: Hops, pairings: Chains, shaped: str, workers: Sequence[str]) -> list[dict[str, Any]]:
    """Return who sends to whom over a measured or shaped hop, each sender once.

    Returns
    -------
    list of dict
        ``host``, ``to``, ``netem`` (None: only measured), and whether ``only`` the traffic to these
        is shaped: of a later hop, so that what a host answers to the one before it is not.
    """
    chains = list(pairings.values())
    found = {shaped: [host for host in workers if host != shaped]} if shaped else {}
    long = (map(hosts_at, chain) for chain in chains if len(hosts_of(chain)) > 2)
    for senders, others in (hop for chain in long for hop in pairwise(chain)):
        for one, other in product(senders, others):
            to = found.setdefault(one, [])
            to += [other] if other not in to else []
    asked = {}
    for place, netem in enumerated(hops):
        host = chains[0][place]
        asked[host] = {"netem": netem, "only": place > 0}
        later = dict.fromkeys(host for chain in chains for host in hosts_at(chain[place + 1]))
        found[host] = [*later] if place else [other for other in workers if other != host]
    return [
        {"host": host, "to": to, **{"netem": None, "only": False, **asked.get(host, {})}}
        for host, to in found.items()
    ]


def refuse_relayed(
    scenarios: Mapping[str, Hops],
    backends: Sequence[str],
    transports: Sequence[str],
) -> None:
    """Refuse options that processes behind a relay cannot offer.

    Raises
    ------
    OptionError
        For the first such transport, scenario or backend.
    """
    if "tls" in transports:
        raise OptionError(
            "transport tls: processes on one machine have no certificates, for their connections "
            "come from the loopback's own address and not from the host's; choose transport=plain, "
            "or measure on the virtual testbed or real hosts"
        )
    for name, hops in scenarios.items():
        if len(enumerated(hops)) > 1:
            raise OptionError(
                f"scenario {name} shapes {len(enumerated(hops))} hops, and processes on one "
                "machine can have one: write a scenario for each hop, or measure on the virtual "
                "testbed or real hosts"
            )
        for word, value in ((w, v) for _, netem in enumerated(hops) for w, v in netem.items()):
            if not relayable(word, str(value)):
                raise OptionError(
                    f"scenario {name} asks for {word.replace('_', ' ')} {value}, and processes on "
                    "one machine can have a delay and a rate only: choose another, or measure on "
                    "the virtual testbed or real hosts"
                )
        for backend in backends:
            if hops and backend != "socket":
                raise OptionError(
                    f"backend {backend} under scenario {name}: PyTorch RPC connects past what "
                    "shapes the network of processes on one machine; choose backend=socket, or "
                    "scenarios=baseline"
                )


def refuse_hub(scenarios: Mapping[str, Hops], backends: Sequence[str]) -> None:
    """Refuse later hops where every tensor goes by way of the orchestrator.

    Raises
    ------
    OptionError
        For the first such scenario.
    """
    for name, hops in scenarios.items():
        if "rpc_hub" in backends and len(hops) > 1:
            raise OptionError(
                f"backend rpc_hub under scenario {name}: every tensor goes by way of the "
                f"orchestrator, so there is no hop {len(hops)} from host to host; choose "
                "backend=socket or backend=rpc"
            )
