"""A host's place in the network: addresses, ways to others, and what its kernel can shape.

Standard library of Python 3.8 only. Unknown facts are None, with the reason where there is one.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from pathlib import Path

from ansible.module_utils.look_machine import Facts, read, run

# Errors of tc and ip for a missing part of the kernel.
LACKING = (
    "qdisc kind is unknown|qdisc not found|classifier not found|nknown device type|"
    "Failed to load TC action|Operation not supported|No such file"
)


def listed(*command: str) -> tuple[list[Facts], str]:
    """Return JSON output of `ip` or `tc`; on failure nothing, and what they said."""
    status, said = run(*command)
    words, line = " ".join(said.split())[:200], " ".join(command)
    if status:
        return [], f"`{line}` fails: {words or f'exit status {status}'}"
    try:
        return json.loads(said or "[]"), ""
    except ValueError as error:
        return [], f"`{line}` prints no JSON: {error}: {words}"


def is_ours(address: str) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            return False
    return True


def identity() -> str | None:
    """Return what two names of one host have in common, and containers on one kernel have not."""
    boot = read("/proc/sys/kernel/random/boot_id")
    return f"{boot} {Path('/proc/self/ns/net').readlink()}" if boot else None


def way(peer: str) -> Facts:
    """Return how packets leave for a peer: interface and source address, or why they do not."""
    routes, said = listed("ip", "-j", "route", "get", peer)
    route = routes[0] if routes else {}
    return {"dev": route.get("dev"), "source": route.get("prefsrc"), "said": said}


def beside(address: str, links: list[Facts]) -> list[str]:
    """Return the running interfaces with an address in the network of `address`, but its own."""
    entries = [
        (link["ifname"], ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}"))
        for link in links
        for entry in link.get("addr_info", [])
        if "local" in entry and "UP" in link.get("flags", ["UP"])
    ]
    own = next(((name, each) for name, each in entries if str(each.ip) == address), None)
    if own is None:
        return []
    return sorted({name for name, each in entries if name != own[0] and each.ip in own[1].network})


def network(address: str, interface: str, ssh_client: str, peers: list[str]) -> Facts:
    links, unseen = listed("ip", "-j", "address", "show")
    shown, hidden = listed("tc", "-j", "qdisc", "show")
    addresses = {
        link["ifname"]: [entry["local"] for entry in link.get("addr_info", []) if "local" in entry]
        for link in links
    }
    carrying = [name for name, local in addresses.items() if address in local]
    if not carrying and address.startswith("127.") and is_ours(address):
        carrying, addresses = ["lo"], {"lo": [], **addresses}  # Linux owns all of 127.0.0.0/8
    return {
        "addresses": addresses,
        "unseen": unseen or hidden,
        "beside": beside(address, links),
        "ways": {peer: way(peer) for peer in peers},
        "experiment": next(iter(carrying), None) if address else None,
        "shaped": interface if interface in addresses else None,
        "ssh": way(ssh_client)["dev"] if ssh_client else None,
        "qdiscs": {
            entry["dev"]: {"kind": entry["kind"], "handle": entry.get("handle", "")}
            for entry in shown
            if entry.get("root")
        },
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
    }


def netem(shared: bool, symmetric: bool) -> Facts:
    """Build the netem role's qdiscs in a temporary network namespace.

    A list of modules would mislead: they may be built in, or not loadable. Sharing with SSH,
    and a later hop of a chain, of which only what goes to the next host is shaped, take classes and
    filters.
    """
    add = "tc qdisc add dev lo"
    match = "protocol ip pref 1 u32 match u32 0 0 at 0"
    redirect = "action mirred egress redirect dev ppifb0"
    steps = [("sch_netem", f"{add} root netem delay 1ms")]
    if shared:
        steps = [
            # Its default priomap names a third band, which the kernel refuses.
            ("sch_prio", f"{add} root handle 1: prio bands 2 priomap {'0 ' * 16}"),
            ("sch_netem", f"{add} parent 1:2 netem delay 1ms"),
            ("cls_u32", f"tc filter add dev lo parent 1: {match} flowid 1:2"),
        ]
    if symmetric:
        steps += [
            ("ifb", "ip link add ppifb0 type ifb"),
            ("sch_ingress", f"{add} handle ffff: ingress"),
            ("cls_u32", f"tc filter add dev lo parent ffff: {match} flowid 1:1"),
            ("act_mirred", f"tc filter add dev lo parent ffff: {match} {redirect}"),
        ]
    script = "\n".join(f"{step} || exit {number}" for number, (_, step) in enumerate(steps, 100))
    status, said = run("unshare", "--net", "sh", "-c", script)
    failed = status - 100 in range(len(steps)) and re.search(LACKING, said)
    return {
        "works": True if status == 0 else False if failed else None,
        "lacks": steps[status - 100][0] if failed else None,
        "said": " ".join(said.split()),
    }
