"""Check scenarios' network conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roles.netem.shaping.conditions import GONE, OPTIONS, WORDS, mistakes, refused, relayable

from .values import OptionError, known

#: Defaults that are part of every run's key. Later options have none here, or older runs would not
#: be found again.
DEFAULTS = {"delay": "0ms", "rate": "", "jitter": "0ms", "loss": "0%", "direction": "egress"}


def conditions(name: str, netem: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return netem values with defaults filled in; None is no shaping.

    Raises
    ------
    OptionError
        For an unknown key or word, or a number that netem cannot do.
    """
    if netem is None:
        return None
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


def refuse_elsewhere(
    scenarios: Mapping[str, Mapping[str, str] | None],
    pairings: Mapping[str, Sequence[str]],
    shaped: str,
) -> None:
    """Refuse a shaped scenario for a chain that does not begin where the network is shaped.

    Raises
    ------
    OptionError
        For the first such scenario and pairing, unless `shaped` is empty.
    """
    for scenario, netem in scenarios.items():
        for pairing, chain in pairings.items():
            if netem and shaped and chain[0] != shaped:
                raise OptionError(
                    f"pairing {pairing} begins on {chain[0]}, and scenario {scenario} shapes what "
                    f"{shaped} sends: put {chain[0]} into the inventory's group netem_hosts in its "
                    f"place, or choose a pairing that begins on {shaped}, or scenarios=baseline"
                )


def refuse_relayed(
    scenarios: Mapping[str, Mapping[str, str] | None],
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
    for name, netem in scenarios.items():
        for word, value in (netem or {}).items():
            if not relayable(word, str(value)):
                raise OptionError(
                    f"scenario {name} asks for {word.replace('_', ' ')} {value}, and processes on "
                    "one machine can have a delay and a rate only: choose another, or measure on "
                    "the virtual testbed or real hosts"
                )
        for backend in backends:
            if netem and backend != "socket":
                raise OptionError(
                    f"backend {backend} under scenario {name}: PyTorch RPC connects past what "
                    "shapes the network of processes on one machine; choose backend=socket, or "
                    "scenarios=baseline"
                )
