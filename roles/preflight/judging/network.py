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
    needed = (address and carrying is None) or (host.duty["shaped"] and asked.shaped)
    if host.facts["unseen"] and needed:
        return stop(
            f"its network cannot be looked at ({host.facts['unseen']}), expected iproute2 that "
            "knows -j: install it there again (sudo apt install --reinstall iproute2)"
        )
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


def route(host: Host, _: Asked) -> Verdict | None:
    """Judge the ways to the peers, which refuse other senders and may not pass what is shaped."""
    address, used = host.duty["address"], host.facts["experiment"]
    for name, peer in host.duty["peers"].items() if used else ():
        way = host.facts["ways"][peer]
        if way["dev"] is None:
            return stop(
                f"it has no way to {name}'s experiment_ip {peer} ({way['said']}): have both on one "
                "network, or correct the address"
            )
        if way["dev"] == "lo":
            return stop(
                f"it has {name}'s experiment_ip {peer} itself, expected on {name} only: correct "
                "the inventory, or take the address off one of them"
            )
        if (way["source"], way["dev"]) != (address, used):
            return stop(
                f"its packets to {name} ({peer}) leave from {way['source']} by {way['dev']}, "
                f"expected from its experiment_ip {address} by {used}: correct these two, or turn "
                f"the way with `sudo ip route replace {peer} dev {used} src {address}`"
            )
    if host.facts["beside"]:
        others = ", ".join(host.facts["beside"])
        return note(
            f"{others} has an address in the network of its experiment_ip too, expected on {used} "
            f"only: tensors may arrive by either; take it off with `sudo ip link set "
            f"{host.facts['beside'][0]} down`, or give it another network"
        )
    return None


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


def machines(hosts: Sequence[Host], _: Asked) -> Verdict | None:
    """Stop at two names of one machine, which would measure itself; containers are not one."""
    seen = [host for host in hosts if host.facts["identity"] and not host.duty["emulated"]]
    alike = grouped(seen, lambda host: str(host.facts["identity"])).values()
    same = [" and ".join(names) for names in alike if len(names) > 1]
    if not same:
        return None
    return stop(
        f"{'; '.join(same)} are one machine (the same boot and the same network), expected one "
        "each: correct ansible_host, or use one name in all groups of the inventory"
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
