"""netem's options as typed, and as numbers.

A new option is a row here, its tc words in module_utils/netem_shaping.py, its name in
playbooks/netem.yml, its effect on round trips in filter_plugins/netem_probes.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from paretopipe_runtime.contract import units

RATE = {unit: 1e6 * mbit for unit, mbit in units.RATE.items()}
#: Numeric options: plain name, units, and notation.
NUMBERS: dict[str, tuple[str, dict[str, float], str]] = {
    "delay": ("delay_s", units.TIME, "200ms"),
    "jitter": ("jitter_s", units.TIME, "5ms"),
    "loss": ("loss", units.SHARE, "1%"),
    "rate": ("rate_bit", RATE, "5mbit"),
}
#: netem's steps.
LEAST = {"delay_s": 1e-6, "jitter_s": 1e-6, "loss": 1e-8}
#: A full packet in a second, and more than any link has.
LEAST_BIT, MOST_BIT = 8 * units.FRAME_BYTES, 1e12
BARE = r"[0-9]+(\.[0-9]+)?"
#: Options that are words: the first is the default.
WORDS: dict[str, tuple[str, ...]] = {
    "distribution": ("", "normal", "pareto", "paretonormal"),
    "direction": ("egress", "symmetric"),
}
OPTIONS = (*NUMBERS, *WORDS)
#: Options that the relay between local processes supports.
RELAYED = ("delay", "rate", "direction")
#: A correlation of delay has hardly an effect, one of loss drops far too little.
GONE = ("delay_correlation", "loss_correlation")


def numbers(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the options as numbers and words; defaults are 0, or the first word.

    >>> numbers({"delay": "200ms"})["delay_s"]
    0.2
    """
    values = {
        name: _number(asked.get(key), known) or 0.0 for key, (name, known, _) in NUMBERS.items()
    }
    return {**values, **{key: asked.get(key) or choices[0] for key, choices in WORDS.items()}}


def lease_seconds(text: str) -> int:
    """Return ``"2h"`` as 7200."""
    return round(_number(text, units.LEASE) or 0)


def unshaped(sender: str) -> str:
    """Return why a later hop of this sender cannot be shaped."""
    return (
        f"{sender} is not in the inventory's group netem_hosts: list it there (the virtual testbed "
        "has a box for it with -i inventory/local -i inventory/chain)"
    )


def refused(option: str) -> str:
    """Return why there is no such option, or ``""``."""
    if option in GONE:
        return f"{option} is no option any more, for netem does not do what it says: leave it out"
    return "" if option in OPTIONS else f"{option} is nothing netem does: use {', '.join(OPTIONS)}"


def mistakes(asked: Mapping[str, str], lease: str, relayed: bool = False) -> list[str]:
    """Return a sentence per invalid option, unparsable ones first.

    `relayed`: a relay has to do it.
    """
    said = {
        option: str(value).strip() for option, value in asked.items() if value not in ("", None)
    }
    unknown = [sentence for option in said if (sentence := refused(option))]
    written = {**NUMBERS, "netem_lease": ("lease_s", units.LEASE, "30min")}
    for option, (_, known, example) in written.items():
        text = {**said, "netem_lease": lease}.get(option, "")
        if _number(text, known) is None:
            # A share without its sign may be meant either way.
            bare = option in ("delay", "jitter", "rate") and re.fullmatch(BARE, str(text))
            meant = f"{text}{example.lstrip('0123456789')}" if bare else example
            says = "has no unit: write" if bare else "is not understood: write e.g."
            unknown.append(f"{option}={text} {says} {option}={meant}")
    for option, choices in WORDS.items():
        if option in said and said[option] not in choices:
            named = ", ".join(filter(None, choices))
            unknown.append(f"{option}={said[option]} is not understood: choose from {named}")
    if unknown:
        return unknown
    value, lease_s = numbers(said), _number(lease, units.LEASE) or 0.0
    least = [name for name, (key, _, _) in NUMBERS.items() if 0 < value[key] < LEAST.get(key, 0)]
    checks = (
        *(
            (True, f"{name}={{{name}}} is less than netem can do: leave it out, or use more")
            for name in least
        ),
        # netem takes it for no limit.
        (
            said.get("rate") and not value["rate_bit"],
            "rate={rate} lets nothing through: leave it out for no limit",
        ),
        (
            0 < value["rate_bit"] < LEAST_BIT,
            "rate={rate} takes over a second for a full packet: use at least 13kbit",
        ),
        (
            value["rate_bit"] > MOST_BIT,
            "rate={rate} is more than any link has: leave it out for no limit",
        ),
        (
            said and not said.get("rate") and not any(value[key] for key in LEAST),
            "nothing is asked of the network: give a delay, a rate or a loss above 0, or choose "
            "the scenario baseline, which leaves it as it is",
        ),
        # With most packets lost, the host cannot be reached to undo it.
        (value["loss"] > 0.5, "loss={loss} would cut the host off: use at most loss=50%"),
        (
            value["jitter_s"] > value["delay_s"],
            "jitter={jitter} needs a delay at least as long, delay is '{delay}'",
        ),
        (value["delay_s"] > 10, "delay={delay} is longer than 10 s: did you mean ms?"),
        (
            value["distribution"] and not value["jitter_s"],
            "distribution={distribution} needs a jitter: add e.g. jitter=5ms",
        ),
        # It would end before it is measured.
        (not 10 <= lease_s <= 86400, f"netem_lease={lease} is not from 10s to 24h"),
    )
    words = {**dict.fromkeys(OPTIONS, ""), **said}
    found = [sentence.format(**words) for wrong, sentence in checks if wrong]
    return found + [
        f"{option} {text} cannot be had from a relay, which sees TCP's bytes and not its packets: "
        "it has a delay and a rate — choose a scenario without, or real or virtual hosts"
        for option, text in said.items()
        if relayed and not relayable(option, text)
    ]


def relayable(option: str, value: str) -> bool:
    """Tell whether a relay can do this, trivially if nothing is asked."""
    nothing = option in NUMBERS and _number(value, NUMBERS[option][1]) == 0
    return option in RELAYED or nothing or not value


def _number(text: Any, known: dict[str, float]) -> float | None:
    """Return a number in its base unit: 0 if absent, None if unparsable; 0 needs no unit."""
    words = str(text).strip() if text is not None else ""
    return units.number(words.replace(" ", ""), known) if words not in ("", "0") else 0.0
