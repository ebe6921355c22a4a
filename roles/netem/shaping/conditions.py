"""What may be asked of a network: netem's options as people write them, and as plain numbers.

A new option is a row here, its words for tc in module_utils/netem_qdisc.py, and its name in
playbooks/netem.yml; what it does to round trips is in filter_plugins/netem_probes.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paretopipe_runtime.contract import units

RATE = {unit: 1e6 * mbit for unit, mbit in units.RATE.items()}
#: The options that are numbers: the name of the plain one, the units, and how to write it.
NUMBERS: dict[str, tuple[str, dict[str, float], str]] = {
    "delay": ("delay_s", units.TIME, "200ms"),
    "jitter": ("jitter_s", units.TIME, "5ms"),
    "loss": ("loss", units.SHARE, "1%"),
    "rate": ("rate_bit", RATE, "5mbit"),
}
#: The options that are words: the first one holds where nothing is said.
WORDS: dict[str, tuple[str, ...]] = {
    "distribution": ("", "normal", "pareto", "paretonormal"),
    "direction": ("egress", "symmetric"),
}
OPTIONS = (*NUMBERS, *WORDS)
#: What of it the relay between processes on one machine can do.
RELAYED = ("delay", "rate", "direction")
#: Netem's delays are hardly more alike for the one, and it drops far too little for the other.
GONE = ("delay_correlation", "loss_correlation")


def numbers(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return what is asked as plain numbers and words; what is not asked is 0, or the first word.

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


def refused(option: str) -> str:
    """Return why there is no such option, or ``""``."""
    if option in GONE:
        return f"{option} is no option any more, for netem does not do what it says: leave it out"
    return "" if option in OPTIONS else f"{option} is nothing netem does: use {', '.join(OPTIONS)}"


def mistakes(asked: Mapping[str, str], lease: str, relayed: bool = False) -> list[str]:
    """Return what cannot be meant, one sentence each: what is not understood before all else.

    `relayed` is whether a relay has to do it.
    """
    said = {option: str(value).strip() for option, value in asked.items() if value}
    unknown = [sentence for option in said if (sentence := refused(option))]
    written = {**NUMBERS, "netem_lease": ("lease_s", units.LEASE, "30min")}
    for option, (_, known, example) in written.items():
        text = {**said, "netem_lease": lease}.get(option, "")
        if _number(text, known) is None:
            unknown.append(f"{option}={text} is not understood: write e.g. {option}={example}")
    for option, choices in WORDS.items():
        if option in said and said[option] not in choices:
            named = ", ".join(filter(None, choices))
            unknown.append(f"{option}={said[option]} is not understood: choose from {named}")
    if unknown:
        return unknown
    value, lease_s = numbers(said), lease_seconds(lease)
    checks = (
        # A host that loses most of its packets can no longer be reached to take the loss away.
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
        # It would be over before what came of it is measured.
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
    """Whether a relay can do this, which it can where nothing is asked."""
    nothing = option in NUMBERS and _number(value, NUMBERS[option][1]) == 0
    return option in RELAYED or nothing or not value


def _number(text: Any, known: dict[str, float]) -> float | None:
    """Return a number in its base unit: 0 where none is said, None where it is not understood."""
    words = str(text or "").strip()
    return units.number(words.replace(" ", ""), known) if words else 0.0
