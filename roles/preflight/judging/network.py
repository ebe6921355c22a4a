"""Checks of addresses, interfaces, queueing disciplines and congestion control."""

from __future__ import annotations

from collections.abc import Sequence

from .findings import Asked, Finding, Host

OURS = ("5a5a:", "5a5b:")  # the netem role's handle, and the benchmark's
# The kernel's own have the handle 0: and one of these kinds.
DEFAULTS = ("noqueue", "pfifo_fast", "fq_codel", "fq", "mq")


def interface(host: Host, asked: Asked) -> Finding:
    address, named = host.duty["address"], host.duty["interface"]
    carrying = host.facts["experiment"]
    if address and carrying is None:
        return Finding.stop(
            "interface",
            host,
            f"it has no address {address}, only {_addresses(host)}: set experiment_ip to the one "
            "that tensors are to go to",
        )
    if named and host.facts["shaped"] is None:
        return Finding.stop(
            "interface",
            host,
            f"it has no interface '{named}', only {_addresses(host)}: correct experiment_interface",
        )
    if address and named and carrying != named:
        return Finding.stop(
            "interface",
            host,
            f"experiment_ip {address} is on {carrying}, and experiment_interface says {named}: "
            "another way would be shaped than is measured; correct one of them",
        )
    used = named or carrying
    if used is None or host.facts["ssh"] != used:
        return Finding.ok("interface", host, f"{used}, apart from SSH" if used else "no interface")
    if host.duty["shaped"] and asked.shaped:
        return Finding.note(
            "interface",
            host,
            f"SSH comes in over {used} too, which is to be shaped: Ansible is at rest while a run "
            "is measured, and nothing else should use that link then",
        )
    return Finding.ok("interface", host, f"{used}, SSH too")


def qdisc(host: Host, asked: Asked) -> Finding:
    """Judge existing shaping of the experiment's interface."""
    used = host.duty["interface"] or host.facts["experiment"]
    seen = host.facts["qdiscs"].get(used, {"kind": "noqueue", "handle": ""})
    if seen["handle"] in OURS:
        return Finding.note(
            "qdisc",
            host,
            f"{used} is shaped by us ({seen['kind']} {seen['handle']}), by playbooks/netem.yml or "
            "a sweep that was interrupted: a sweep takes it away first, and so does "
            "playbooks/reset.yml",
        )
    if seen["kind"] in DEFAULTS and seen["handle"] in ("", "0:"):
        return Finding.ok("qdisc", host, f"{seen['kind']} on it" if used else "nothing shaped")
    text = (
        f"{used} has a {seen['kind']} qdisc ({seen['handle']}) that is not ParetoPipe's, expected "
        f"the kernel's default: remove it with `sudo tc qdisc del dev {used} root`"
    )
    if host.duty["shaped"] and asked.shaped:
        return Finding.stop("qdisc", host, f"{text}, or shape another interface")
    return Finding.note("qdisc", host, f"{text}, or it is measured with everything else")


def netem(host: Host, asked: Asked) -> Finding | None:
    tried = host.facts["netem"]
    if not (host.duty["shaped"] and asked.shaped):
        return None
    if tried is None or tried["works"] is None:
        why = tried["said"] if tried else "not tried"
        return Finding.note(
            "netem",
            host,
            f"whether its kernel has netem is not known ({why}): the first scenario that needs it "
            "will tell",
        )
    if tried["works"]:
        return Finding.ok("netem", host, "netem works")
    return Finding.stop(
        "netem",
        host,
        f"its kernel lacks {tried['lacks']} ({tried['said']}), which the scenarios need: on Debian "
        "and Raspberry Pi OS the stock kernel has it, elsewhere install linux-modules-extra-… and "
        "reboot; or measure with -e scenarios=baseline",
    )


def congestion(hosts: Sequence[Host], _: Asked) -> Finding | None:
    """Note hosts that differ in TCP congestion control."""
    used: dict[str, list[str]] = {}
    for host in hosts:
        if host.duty["worker"]:
            used.setdefault(str(host.facts["congestion_control"]), []).append(host.name)
    if len(used) < 2:
        return None
    listed = " and ".join(f"{kind} on {', '.join(names)}" for kind, names in used.items())
    usual = max(used, key=lambda kind: len(used[kind]))
    return Finding(
        "congestion control",
        "note",
        "",
        f"TCP's congestion control is {listed}, expected the same everywhere: the two directions "
        "of a link, and pairings, are then not alike; `sudo sysctl -w net.ipv4."
        f"tcp_congestion_control={usual}` sets it until the next boot",
    )


def _addresses(host: Host) -> str:
    return ", ".join(
        f"{name} ({', '.join(local)})" if local else name
        for name, local in host.facts["addresses"].items()
        if name != "lo"
    )
