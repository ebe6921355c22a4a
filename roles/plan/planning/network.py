"""What a scenario asks of the network, in tc netem's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roles.netem.shaping.conditions import GONE, OPTIONS, WORDS, refused, relayable

from .values import OptionError, known

#: What a scenario may say, and what holds where it does not. A default is part of every run's key;
#: what came later has none, or runs measured before would not be found again.
DEFAULTS = {"delay": "0ms", "rate": "", "jitter": "0ms", "loss": "0%", "direction": "egress"}


def conditions(name: str, netem: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return a scenario's netem values with the unsaid ones spelled out; None is no shaping.

    The role that applies them checks numbers and units.

    Raises
    ------
    OptionError
        With one sentence, for a word that netem would not be told.
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
    spelled = {**DEFAULTS, **netem}
    for word in WORDS.keys() & spelled:
        known(f"{word} in scenario {name}", [spelled[word]], [*filter(None, WORDS[word])])
    return spelled


def refuse_relayed(
    scenarios: Mapping[str, Mapping[str, str] | None],
    backends: Sequence[str],
    transports: Sequence[str],
) -> None:
    """Refuse what cannot be had where the hosts are processes and a relay shapes their network.

    Raises
    ------
    OptionError
        With one sentence, for the first transport, scenario or backend that cannot.
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
