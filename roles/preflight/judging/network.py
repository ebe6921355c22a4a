"""Checks of addresses, interfaces, queueing disciplines and congestion control."""

from __future__ import annotations

from collections.abc import Sequence

from .findings import Asked, Host, Verdict, grouped, listed, note, ok, stop

OURS = ("5a5a:", "5a5b:")  # the netem role's handle, and the benchmark's
# The kernel's own, of whatever kind; what is added by hand has another.
DEFAULTS = ("", "0:")


def interface(host: Host, asked: Asked) -> Verdict:
    address, named = host.duty["address"], host.duty["interface"]
    carrying = host.facts["experiment"]
    if address and carrying is None:
        return stop(
            f"it has no address {address}, only {_addresses(host)}: set experiment_ip to the one "
            "that tensors are to go to"
        )
    if named and host.facts["shaped"] is None:
        return stop(
            f"it has no interface '{named}', only {_addresses(host)}: correct experiment_interface"
        )
    if address and named and carrying != named:
        return stop(
            f"experiment_ip {address} is on {carrying}, and experiment_interface says {named}: "
            "another way would be shaped than is measured; correct one of them"
        )
    used = named or carrying
    if used is None or host.facts["ssh"] != used:
        return ok(f"{used}, apart from SSH" if used else "no interface")
    if host.duty["shaped"] and asked.shaped:
        return note(
            f"SSH comes in over {used} too, which is to be shaped: Ansible is at rest while a run "
            "is measured, and nothing else should use that link then"
        )
    return ok(f"{used}, SSH too")


def qdisc(host: Host, asked: Asked) -> Verdict:
    """Judge existing shaping of the experiment's interface."""
    used = host.duty["interface"] or host.facts["experiment"]
    seen = host.facts["qdiscs"].get(used, {"kind": "noqueue", "handle": ""})
    if seen["handle"] in OURS:
        return note(
            f"{used} is shaped by us ({seen['kind']} {seen['handle']}), by playbooks/netem.yml or "
            "a sweep that was interrupted: a sweep takes it away first, and so does "
            "playbooks/reset.yml"
        )
    if seen["handle"] in DEFAULTS:
        return ok(f"{seen['kind']} on it" if used else "nothing shaped")
    text = (
        f"{used} has a {seen['kind']} qdisc ({seen['handle']}) that is not ParetoPipe's, expected "
        f"the kernel's default: remove it with `sudo tc qdisc del dev {used} root`"
    )
    if host.duty["shaped"] and asked.shaped:
        return stop(f"{text}, or shape another interface")
    return note(f"{text}, or it is measured with everything else")


def netem(host: Host, asked: Asked) -> Verdict | None:
    tried = host.facts["netem"]
    if not (host.duty["shaped"] and asked.shaped):
        return None
    if tried is None or tried["works"] is None:
        why = tried["said"] if tried else "not tried"
        return note(
            f"whether its kernel has netem is not known ({why}): the first scenario that needs it "
            "will tell"
        )
    if tried["works"]:
        return ok("netem works")
    return stop(
        f"its kernel lacks {tried['lacks']} ({tried['said']}), which the scenarios need: on Debian "
        "and Raspberry Pi OS the stock kernel has it, elsewhere install linux-modules-extra-… and "
        "reboot; or measure with -e scenarios=baseline"
    )


def congestion(hosts: Sequence[Host], _: Asked) -> Verdict | None:
    """Note hosts that differ in TCP congestion control."""
    workers = [host for host in hosts if host.duty["worker"]]
    used = grouped(workers, lambda host: str(host.facts["congestion_control"]))
    if len(used) < 2:
        return None
    usual = max(used, key=lambda kind: len(used[kind]))
    return note(
        f"TCP's congestion control is {listed(used)}, expected the same everywhere: the two "
        "directions of a link, and pairings, are then not alike; `sudo sysctl -w net.ipv4."
        f"tcp_congestion_control={usual}` sets it until the next boot"
    )


def _addresses(host: Host) -> str:
    return ", ".join(
        f"{name} ({', '.join(local)})" if local else name
        for name, local in host.facts["addresses"].items()
        if name != "lo"
    )
