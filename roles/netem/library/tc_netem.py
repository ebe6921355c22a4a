#!/usr/bin/python
"""Put a netem qdisc at the root of an interface, or take ours away; no collection does.

Ours is marked by its handle, ``5a5a:``. A kernel default may be replaced; any other root qdisc is
someone's work and is left alone. What is there is read back from ``tc`` and compared as numbers,
so that a second call changes nothing and check mode tells the truth.
"""

from __future__ import annotations

import json
import math
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: tc_netem
short_description: One netem qdisc at the root of an interface
options:
  interface: {type: str, required: true, description: Interface whose outgoing traffic is shaped.}
  state: {type: str, default: present, choices: [present, absent], description: Wanted state.}
  delay_s: {type: float, default: 0, description: Delay in seconds.}
  jitter_s: {type: float, default: 0, description: Standard deviation of the delay in seconds.}
  loss: {type: float, default: 0, description: Share of packets lost, 0 to 1.}
  rate_bit: {type: float, default: 0, description: Rate in bit/s; 0 is no limit.}
  limit: {type: int, default: 0, description: Packets in flight; 0 sizes it for delay and rate.}
"""

HANDLE = "5a5a:"
DEFAULTS = ("noqueue", "pfifo_fast", "fq_codel", "fq", "mq")
PACKET_BITS = 1514 * 8
# What a link without a rate limit is taken to carry when the queue is sized.
FREE_RATE_BIT = 1e9
NO_NETEM = (
    "the kernel of this host lacks sch_netem: on Debian or Raspberry Pi OS it is in the stock "
    "kernel, elsewhere install the extra modules package (linux-modules-extra-…) and reboot"
)


def queue_limit(delay_s: float, rate_bit: float) -> int:
    """Return twice the bandwidth-delay product in packets, and never less than netem's 1000."""
    product = (rate_bit or FREE_RATE_BIT) * delay_s / PACKET_BITS
    return max(1000, math.ceil(2 * product))


def wanted_values(params: dict[str, Any]) -> dict[str, float]:
    """Return the five numbers that make a netem qdisc what it is."""
    values = {key: float(params[key]) for key in ("delay_s", "jitter_s", "loss", "rate_bit")}
    values["limit"] = params["limit"] or queue_limit(values["delay_s"], values["rate_bit"])
    return values


def tc_arguments(wanted: dict[str, float]) -> list[str]:
    """Return the words after ``netem``, in tc's smallest units."""
    words = ["limit", str(int(wanted["limit"]))]
    if wanted["delay_s"]:
        words += ["delay", f"{round(wanted['delay_s'] * 1e6)}us"]
        if wanted["jitter_s"]:
            words += [f"{round(wanted['jitter_s'] * 1e6)}us"]
    if wanted["loss"]:
        words += ["loss", f"{wanted['loss'] * 100:.6g}%"]
    if wanted["rate_bit"]:
        words += ["rate", f"{round(wanted['rate_bit'])}bit"]
    return words


def root_of(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the root qdisc among what ``tc -j qdisc show`` printed."""
    return next((qdisc for qdisc in shown if qdisc.get("root")), {"kind": "noqueue"})


def shown_values(qdisc: dict[str, Any]) -> dict[str, float]:
    """Return the five numbers of a netem qdisc as tc shows it (rates there are bytes/s)."""
    options = qdisc.get("options", {})
    delay, loss = options.get("delay", {}), options.get("loss-random", {})
    return {
        "delay_s": float(delay.get("delay", 0)),
        "jitter_s": float(delay.get("jitter", 0)),
        "loss": float(loss.get("loss", 0)),
        "rate_bit": 8.0 * options.get("rate", {}).get("rate", 0),
        "limit": options.get("limit", 0),
    }


def same(shown: dict[str, float], wanted: dict[str, float]) -> bool:
    """Compare up to tc's rounding: it counts time in ticks and shares in 32-bit steps."""
    slack = {"delay_s": 1e-5, "jitter_s": 1e-5, "loss": 1e-4, "rate_bit": 8.0, "limit": 0.0}
    return all(
        math.isclose(shown[key], wanted[key], rel_tol=1e-4, abs_tol=slack[key]) for key in slack
    )


def plain(error: str, interface: str) -> str:
    """Return tc's complaint as a sentence a person can act on."""
    if "qdisc kind is unknown" in error or "qdisc not found" in error:
        return NO_NETEM
    if "Cannot find device" in error:
        return f"this host has no interface '{interface}': set netem_interface to one of `ip link`"
    return f"tc refused: {' '.join(error.split()) or 'no reason given'}"


def main() -> None:
    """Run as an Ansible module."""
    zero = {"type": "float", "default": 0.0}
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "state": {"default": "present", "choices": ["present", "absent"]},
            "delay_s": zero,
            "jitter_s": zero,
            "loss": zero,
            "rate_bit": zero,
            "limit": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    interface = module.params["interface"]

    def tc(*words: str) -> str:
        path = module.get_bin_path("tc", required=True)
        status, out, error = module.run_command([path, *words])
        if status:
            module.fail_json(msg=plain(error or out, interface))
        return str(out)

    def look() -> dict[str, Any]:
        return root_of(json.loads(tc("-j", "qdisc", "show", "dev", interface) or "[]"))

    root = look()
    ours = root["kind"] == "netem" and root.get("handle") == HANDLE
    foreign = not ours and root["kind"] not in DEFAULTS
    wanted = wanted_values(module.params)
    present = module.params["state"] == "present"
    changed = ours != present or (ours and not same(shown_values(root), wanted))
    if present and foreign:
        module.fail_json(
            msg=f"{interface} already has a {root['kind']} qdisc ({root.get('handle')}) that is "
            f"not ParetoPipe's: remove it with `tc qdisc del dev {interface} root` "
            "or shape another interface"
        )
    if changed and not module.check_mode:
        if ours:
            # `tc qdisc replace` keeps a rate that is no longer asked for; a fresh one does not.
            tc("qdisc", "del", "dev", interface, "root")
        if present:
            words = ["qdisc", "add", "dev", interface, "root", "handle", HANDLE, "netem"]
            tc(*words, *tc_arguments(wanted))
            if not same(shown_values(look()), wanted):
                module.fail_json(msg=f"tc took the values for {interface} but shows others")
    result = {"wanted": wanted, "command": " ".join(tc_arguments(wanted))} if present else {}
    module.exit_json(changed=changed, found=root["kind"], **result)


if __name__ == "__main__":
    main()
