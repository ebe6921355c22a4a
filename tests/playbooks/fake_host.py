"""Emulate `tc`, `ip`, `systemctl` and `systemd-run` of a host on one state file.

They call this module, which prints as iproute2 6.1 and logs every change. The kernel lacks the
parts in ``lacks``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOOLS = ("tc", "ip", "systemctl", "systemd-run")
PFIFO = {"kind": "pfifo_fast", "handle": "0:", "root": True, "refcnt": 2}
INTERFACE = "eth9"
ROLE = Path(__file__).resolve().parents[2] / "roles/netem"
# Started often: few imports.
PROGRAM = f"""#!{sys.executable} -IS
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fake_host
fake_host.main()
"""
UNKNOWN = {
    "qdisc": "Error: Specified qdisc kind is unknown.",
    "filter": "Error: TC classifier not found.\nWe have an error talking to the kernel",
    "link": "Error: Unknown device type.",
    "unit": "Failed to start transient timer unit: Connection timed out",
}


class FakeHost:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).write_text(PROGRAM)
            (self.bin / tool).chmod(0o755)
        self.state = {
            "links": {INTERFACE: 7},
            "qdiscs": {INTERFACE: [PFIFO]},
            "filters": {},
            "timers": {},
            "lacks": [],
            "route": "mgmt0",
        }

    @property
    def state(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return kept

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        (self.folder / "state.json").write_text(json.dumps(state))

    @property
    def log(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key != "SSH_CONNECTION"}
        return {**kept, "PATH": f"{self.bin}:{os.environ['PATH']}", "FAKE_HOST": str(self.folder)}

    def call(self, words: list[str]) -> tuple[int, str, str]:
        """Run a command as the module does: tools in this process."""
        tool = Path(words[0])
        if tool.parent == self.bin:
            try:
                return 0, Tools(self.folder).run(tool.name, words[1:]), ""
            except SystemExit as error:
                return 1, "", str(error)
        import subprocess

        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def set(self, **values: Any) -> None:
        self.state = {**self.state, **values}


class Tools:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = json.loads((folder / "state.json").read_text())

    def run(self, tool: str, words: list[str]) -> str:
        return str(getattr(self, tool.replace("-", "_"))(words))

    def changed(self, tool: str, words: Sequence[str]) -> str:
        with (self.folder / "log").open("a") as log:
            print(tool, *words, file=log)
        (self.folder / "state.json").write_text(json.dumps(self.state))
        return ""

    def need(self, part: str, kind: str) -> None:
        """Fail as the tools do without a kernel part."""
        if part in self.state["lacks"]:
            sys.exit(UNKNOWN[kind])

    def tc(self, words: list[str]) -> str:
        as_json = words[0] == "-j"
        what, verb, _, device, *rest = words[1:] if as_json else words
        if device not in self.state["links"]:
            sys.exit(f'Cannot find device "{device}"')
        if what == "filter":
            return self.tc_filter(words, verb, device, rest)
        qdiscs = self.state["qdiscs"].setdefault(device, [])
        if verb == "show" and as_json:
            return json.dumps(qdiscs)
        if verb == "show":
            return "".join(
                f"qdisc {each['kind']} {each['handle']} root refcnt 2\n"
                for each in qdiscs
                if each.get("root")
            )
        if verb == "del":
            return self.tc_qdisc_del(words, device, rest)
        handle = rest[rest.index("handle") + 1]
        kind, *options = rest[rest.index("handle") + 2 :]
        self.need(f"sch_{kind}", "qdisc")
        made: dict[str, Any] = {"kind": kind, "handle": handle}
        made |= {"root": True} if rest[0] == "root" else {}
        made |= {"options": shown_netem(options)} if kind == "netem" else {}
        kept = [each for each in qdiscs if not (made.get("root") and each.get("root"))]
        self.state["qdiscs"][device] = [*kept, made]
        return self.changed("tc", words)

    def tc_qdisc_del(self, words: list[str], device: str, rest: list[str]) -> str:
        """Delete the root with all below it, or the ingress qdisc."""
        qdiscs, root = self.state["qdiscs"][device], rest[0] == "root"
        arriving = [each for each in qdiscs if each["kind"] in ("ingress", "clsact")]
        if (not root and not arriving) or (root and qdiscs[:1] == [PFIFO]):
            sys.exit("Error: Cannot delete qdisc with handle of zero.")
        leaving = [each for each in qdiscs if each not in arriving]
        self.state["qdiscs"][device] = [PFIFO, *arriving] if root else leaving
        parent = "5a5a:" if root else "ffff:"
        self.state["filters"].pop(f"{device} {parent}", None)
        return self.changed("tc", words)

    def tc_filter(self, words: list[str], verb: str, device: str, rest: list[str]) -> str:
        parent = "ffff:" if rest[0] == "ingress" else rest[1]
        filters = self.state["filters"].setdefault(f"{device} {parent}", [])
        if verb == "show":
            return "".join(f"{each['shown']}\n" for each in filters)
        preference = rest[rest.index("pref") + 1]
        if verb == "del":
            if not any(each["pref"] == preference for each in filters):
                sys.exit("Error: Cannot find specified filter chain.")
            kept = [each for each in filters if each["pref"] != preference]
            self.state["filters"][f"{device} {parent}"] = kept
            return self.changed("tc", words)
        self.need("cls_u32", "filter")
        self.need("act_mirred" if "mirred" in rest else "", "filter")
        number = f"fh 800::{800 + len(filters)} order {2048 + len(filters)} key ht 800 bkt 0"
        head = f"filter protocol ip pref {preference} u32 chain 0 {number} flowid 5a5a:1 not_in_hw"
        keys = re.findall(r"match u32 0x(\S+) 0x(\S+) at (\S+)", " ".join(rest))
        lines = [f"  match {value}/{mask} at {offset}" for value, mask, offset in keys]
        if "mirred" in rest:
            lines.append(f"\taction order 1: mirred (Egress Redirect to device {rest[-1]}) stolen")
        filters.append({"pref": preference, "shown": "\n".join([head, *lines])})
        return self.changed("tc", words)

    def ip(self, words: list[str]) -> str:
        if words[:3] == ["-j", "route", "get"]:
            return json.dumps([{"dst": words[3], "dev": self.state["route"]}])
        _, verb, *rest = [word for word in words if word not in ("-j", "dev")]
        if verb == "add":
            self.need(rest[2], "link")
            self.state["links"][rest[0]] = 40 + len(self.state["links"])
            return self.changed("ip", words)
        if rest[0] not in self.state["links"]:
            sys.exit(f'Device "{rest[0]}" does not exist.')
        if verb == "show":
            return json.dumps([{"ifindex": self.state["links"][rest[0]], "ifname": rest[0]}])
        if verb == "del":
            del self.state["links"][rest[0]]
            self.state["qdiscs"].pop(rest[0], None)
        return self.changed("ip", words)

    def systemctl(self, words: list[str]) -> str:
        unit = words[-1].removesuffix(".timer")
        timer = self.state["timers"].get(unit)
        if words[0] == "show":
            description = timer["description"] if timer else words[-1]
            if "--value" in words:
                return "" if self.state.get("late") else f"{description}\n"
            return f"ActiveState={'active' if timer else 'inactive'}\nDescription={description}\n"
        if words[-1].endswith(".service"):
            sys.exit(5)
        if timer is None:
            sys.exit(f"Unit {words[-1]} not loaded.")
        if words[0] == "stop":
            del self.state["timers"][unit]
        return self.changed("systemctl", words)

    def systemd_run(self, words: list[str]) -> str:
        self.need("systemd", "unit")
        if not any(word.startswith("--on-active") for word in words):  # a service: not started
            self.state["service"] = [word for word in words if not word.startswith("--")]
            return self.changed("systemd-run", words)
        options = dict(word[2:].split("=", 1) for word in words if re.match(r"--[a-z-]+=", word))
        if options["unit"] in self.state["timers"]:
            sys.exit(f"Unit {options['unit']}.timer was already loaded")
        if self.state.get("forgetful"):
            return ""
        self.state["timers"][options["unit"]] = {
            "description": options["description"],
            "seconds": int(options["on-active"]),
            "command": words[words.index("/bin/sh") :],
        }
        return self.changed("systemd-run", [options["unit"], options["on-active"]])


def shown_netem(words: list[str]) -> dict[str, Any]:
    """Return netem's options as ``tc -j`` prints them, without a distribution."""
    text = " ".join(words)

    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return float(found[1]) if found else 0.0

    shown: dict[str, Any] = {"limit": int(number(r"limit (\d+)")), "ecn": False, "gap": 0}
    if "delay" in words:
        shown["delay"] = {
            "delay": number(r"delay (\d+)us") / 1e6,
            "jitter": number(r"delay \d+us (\d+)us") / 1e6,
            "correlation": number(r"delay \d+us \d+us ([\d.]+)%") / 100,
        }
    if "loss" in words:
        shown["loss-random"] = {
            "loss": number(r"loss ([\d.]+)%") / 100,
            "correlation": number(r"loss [\d.]+% ([\d.]+)%") / 100,
        }
    if "rate" in words:
        shown["rate"] = {"rate": int(number(r"rate (\d+)bit") / 8), "packetoverhead": 0}
    return shown


def main() -> None:
    tools = Tools(Path(os.environ["FAKE_HOST"]))
    print(tools.run(Path(sys.argv[0]).name, sys.argv[1:]), end="")
