"""What a scenario asks of the network, in tc netem's words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .values import OptionError, known

#: What a scenario may say, and what holds where it does not. A default is part of every run's key;
#: what came later has none, or runs measured before would not be found again.
DEFAULTS = {"delay": "0ms", "rate": "", "jitter": "0ms", "loss": "0%", "direction": "egress"}
LATER = ("delay_correlation", "loss_correlation", "distribution")
#: What of it the relay between processes on one machine can do.
RELAYED = ("delay", "rate", "direction")
DIRECTIONS = ("egress", "symmetric")
DISTRIBUTIONS = ("normal", "pareto", "paretonormal")


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
    words = (*DEFAULTS, *LATER)
    for key in netem:
        if key not in words:
            raise OptionError(
                f"scenario {name} says '{key}', which is nothing netem does: choose from "
                f"{', '.join(words)}"
            )
    spelled = {**DEFAULTS, **netem}
    known(f"direction in scenario {name}", [spelled["direction"]], DIRECTIONS)
    if "distribution" in spelled:
        known(f"distribution in scenario {name}", [spelled["distribution"]], DISTRIBUTIONS)
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
            if word not in RELAYED and not re.fullmatch(r"0*(\.0+)?(us|ms|s|%)?", str(value)):
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
