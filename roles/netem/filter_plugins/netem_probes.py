"""Ping and TCP probes as numbers, compared with the network asked for.

netem's jitter is a standard deviation only with a distribution; without one the delay is uniform,
jitter to either side. The deviations below are computed from iproute2's tables.
"""

from __future__ import annotations

import math
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Ansible does not put the checkout on sys.path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from paretopipe_runtime.contract import units
from roles.netem.shaping import conditions

#: Standard deviation of a delay at jitter 1.
DEVIATION = {"": 1 / math.sqrt(3), "normal": 1.0, "pareto": 0.82, "paretonormal": 0.83}
#: Tolerances of the spread, as share and in milliseconds, for the host's own jitter.
SPREAD_SHARE, SPREAD_MS = 0.2, 1.0
#: Tolerances of losses: standard deviations (one false alarm in a thousand), and packets.
LOSS_DEVIATIONS, LOSS_PACKETS = 3.3, 1.0
#: Pings without jitter or loss are few. With them: seconds they may take, how many, how dense.
PING_EVERY_S, PING_BITS = 0.05, 8 * 98
MANY_S, MOST, LEAST, DENSEST_S = 10.0, 500, 50, 0.02
#: Linux's first congestion window in bits; the smallest buffer that a socket is given here, and the
#: largest that every host allows: asked for more, it would get no more, and fill no fast link.
FIRST_BITS, BUFFER_LEAST, BUFFER_MOST = 80 * units.SEGMENT_BYTES, 16_384, 400_000


def netem_pings(asked: Mapping[str, Any], few: int) -> dict[str, Any]:
    """Return the number of pings and their interval in seconds.

    With a rate netem never reorders: pings must be far enough apart, else their delays change.
    """
    if not asked["jitter_s"] and not asked["loss"]:
        # Nor may they queue.
        drained_s = 2 * PING_BITS / asked["rate_bit"] if asked["rate_bit"] else 0.0
        return {"number": int(few) + 1, "every_s": round(max(PING_EVERY_S, drained_s), 3)}
    every_s = max(DENSEST_S, 4 * asked["jitter_s"])
    return {
        "number": 1 + round(max(LEAST, min(MOST, MANY_S / every_s))),
        "every_s": round(every_s, 3),
    }


def netem_pinged(output: str) -> dict[str, Any]:
    """Parse ping's output; the first ping includes the address lookup."""
    times = {
        int(number): float(time)
        for number, time in re.findall(r"icmp_seq=(\d+) .*time=([0-9.]+)", output)
    }
    first = times.pop(1, None)
    found = re.search(r"(\d+) packets transmitted", output)
    sent = int(found[1]) - 1 if found else len(times)
    values = [*times.values()] or ([first] if first is not None else [])
    return {
        "rtt_ms": round(statistics.median(values), 3) if values else None,
        "spread_ms": round(statistics.pstdev(values), 3) if values else None,
        "pings": sent,
        "pings_lost": sent - len(times),
    }


def netem_sending(asked: Mapping[str, Any], seconds: int) -> dict[str, Any]:
    """Return how to fill the link with TCP for so many seconds, but little of its queue.

    Seconds for slow start do not count. netem's queue holds seconds at a low rate, delaying
    later traffic: at most twice the bytes in flight are sent, if a buffer can be that large.
    """
    round_trip_s, rate_bit = netem_round_trip_ms(asked) / 1000, asked["rate_bit"]
    under_way = rate_bit * round_trip_s
    window = max(BUFFER_LEAST, round(2 * under_way / 8)) if rate_bit else 0
    doublings = max(0.0, math.log2(under_way / FIRST_BITS)) if under_way else 0.0
    return {
        "omit_s": round(max(1.0, (doublings + 1) * round_trip_s), 3),
        "seconds": int(seconds),
        "window": window if window <= BUFFER_MOST else 0,
        "back": False,
    }


def netem_silent(
    probed: Mapping[str, Any], peers: Sequence[Mapping[str, str]], port: int
) -> list[str]:
    problems = []
    for peer in peers:
        seen, where = probed[peer["host"]], f"{peer['host']} at {peer['address']}"
        errors = [each["error"] for each in seen["rates"].values() if "error" in each]
        if netem_pinged(seen["pinged"])["rtt_ms"] is None:
            said = " ".join(seen["pinged"].split()) or "nothing"
            problems.append(f"no ping to {where} is answered; ping said: {said}")
        elif errors:
            problems.append(
                f"no rate could be measured to {where}: {errors[0]}; check that TCP port {port} is "
                "open between the workers"
            )
    return problems


def netem_seen(probed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        host: {
            **netem_pinged(seen["pinged"]),
            **{
                name: round(each["bit_s"] * units.WIRE_PER_PAYLOAD / 1e6, 3)
                for name, each in seen["rates"].items()
            },
        }
        for host, seen in probed.items()
    }


def netem_round_trip_ms(asked: Mapping[str, Any]) -> float:
    return round(1000 * asked["delay_s"] * _ways(asked), 3)


def netem_slack_ms(asked: Mapping[str, Any]) -> float:
    """Return the tolerance of the median round trip."""
    least_ms = asked.get("slack_ms", 2.0)
    return max(least_ms, 0.1 * netem_round_trip_ms(asked), 1000 * asked["jitter_s"])


def netem_spread_ms(asked: Mapping[str, Any]) -> float:
    one_way = 1000 * asked["jitter_s"] * DEVIATION[asked["distribution"]]
    return round(one_way * math.sqrt(_ways(asked)), 3)


def netem_lost_share(asked: Mapping[str, Any]) -> float:
    return 1.0 - float((1 - asked["loss"]) ** _ways(asked))


def netem_table(
    measured: Mapping[str, Mapping[str, Any]],
    asked: Mapping[str, Any],
    said: Mapping[str, Any],
    source: str,
) -> str:
    """Set what was measured from `source` against what was asked; `said` is as typed."""
    times = "2x" if asked["direction"] == "symmetric" and asked["delay_s"] else ""
    delay, rate = f"{times}{said.get('delay') or '-'}", said.get("rate") or "-"
    head = ("RTT asked", "measured", "rate asked", "measured")
    lines = ["{:<16} {:>12} {:>12} {:>14} {:>14}".format(f"from {source} to", *head)]
    for host, seen in measured.items():
        lines.append(
            f"{host:<16} {delay:>12} {seen['rtt_ms']:9.1f} ms {rate:>14} "
            f"{seen['rate_mbit']:8.2f} Mbit/s"
        )
        if "rate_back_mbit" in seen:
            back = f"{seen['rate_back_mbit']:8.2f} Mbit/s"
            lines.append(f"{'  and back':<16} {'':>12} {'':>12} {rate:>14} {back}")
        if asked["jitter_s"] > 0:
            lines.append(
                f"  jitter {said['jitter']}, {asked['distribution'] or 'uniform'}: round trips "
                f"spread by {seen['spread_ms']} ms, {netem_spread_ms(asked)} expected (standard "
                f"deviation of {seen['pings']} pings)"
            )
        if asked["loss"] > 0:
            expected = seen["pings"] * netem_lost_share(asked)
            lines.append(
                f"  loss {said['loss']}: {seen['pings_lost']} of {seen['pings']} pings lost, "
                f"{expected:.1f} expected"
            )
    return "\n".join([*lines, "Rates are on the wire: TCP goodput x 1514/1448."])


def netem_unlike(measured: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Name deviations of jitter and loss from those asked."""
    unlike = []
    expected_ms = netem_spread_ms(asked)
    off_ms = abs(measured["spread_ms"] - expected_ms)
    if asked["jitter_s"] and off_ms > max(SPREAD_MS, SPREAD_SHARE * expected_ms):
        unlike.append(f"round trips spread by {measured['spread_ms']} ms, not by {expected_ms}")
    share, sent = netem_lost_share(asked), measured["pings"]
    slack = LOSS_DEVIATIONS * math.sqrt(sent * share * (1 - share)) + LOSS_PACKETS
    if asked["loss"] and abs(measured["pings_lost"] - sent * share) > slack:
        unlike.append(
            f"{measured['pings_lost']} of {sent} pings were lost, expected were "
            f"{sent * share:.0f} give or take {slack:.0f}"
        )
    return unlike


def netem_unmet(
    measured: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Any], said: Mapping[str, str]
) -> list[str]:
    """Return a sentence for each peer whose network is not as asked.

    `said` is as typed. With loss or reordering TCP does not fill a link: its rate then has no
    lower bound.
    """
    wanted_ms, rate_bit = netem_round_trip_ms(asked), asked["rate_bit"]
    most, least = 1.1e-6 * rate_bit, 0.9e-6 * rate_bit
    sparse = asked["loss"] > 0 or asked["jitter_s"] > 0
    each_way = " each way" if asked["direction"] == "symmetric" else ""
    unmet = []
    for host, seen in measured.items():
        rates = [seen[name] for name in ("rate_mbit", "rate_back_mbit") if name in seen]
        late = wanted_ms and abs(seen["rtt_ms"] - wanted_ms) > netem_slack_ms(asked)
        if late or (rate_bit and (max(rates) > most or (min(rates) < least and not sparse))):
            unmet.append(
                f"the way to {host} measures {seen['rtt_ms']} ms and "
                f"{' and back '.join(map(str, rates))} Mbit/s, asked were "
                f"{said.get('delay') or 'no delay'} and {said.get('rate') or 'no rate limit'}"
                f"{each_way}"
            )
        if unlike := netem_unlike(seen, asked):
            unmet.append(
                f"on the way to {host} {'; '.join(unlike)}, asked were "
                f"{said.get('jitter') or 'no'} jitter and {said.get('loss') or 'no'} loss"
            )
    return unmet


def _ways(asked: Mapping[str, Any]) -> int:
    """Return how often a round trip meets netem."""
    return 2 if asked["direction"] == "symmetric" else 1


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "netem_mistakes": conditions.mistakes,
            "netem_numbers": conditions.numbers,
            "netem_lease_seconds": conditions.lease_seconds,
            "netem_pings": netem_pings,
            "netem_sending": netem_sending,
            "netem_silent": netem_silent,
            "netem_seen": netem_seen,
            "netem_table": netem_table,
            "netem_unmet": netem_unmet,
        }
