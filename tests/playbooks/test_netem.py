"""The netem role's units and probes, and its module on a fake host."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roles.netem.shaping import conditions
from tests.as_ansible import part, program
from tests.playbooks.fake_host import INTERFACE, PFIFO, ROLE, TOOLS, FakeHost

WAN = {"delay_s": 0.2, "rate_bit": 5e6}
WAN_WORDS = "limit 1000 delay 200000us rate 5000000bit"
TIMER = f"paretopipe-netem-revert-{INTERFACE}"
PEERS = ["192.0.2.10", "192.0.2.12"]
FOREIGN = {"kind": "netem", "handle": "8001:", "root": True, "options": {"limit": 7}}


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.fixture(scope="module")
def tc_netem(plugin: Callable[[str], ModuleType]) -> ModuleType:
    part("netem_host")
    return plugin("roles/netem/library/tc_netem.py")


@pytest.fixture
def module(
    host: FakeHost, tc_netem: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Call the module in this process, which is fast."""
    tools = part("netem_lease").Tools(*(str(host.bin / tool) for tool in TOOLS))
    parts = part("netem_host")

    def run(
        *, state: str = "present", dry: bool = False, caller: Any = None, **arguments: Any
    ) -> dict[str, Any]:
        monkeypatch.setattr(parts, "ssh_client", lambda: caller)
        defaults = {key: spec.get("default") for key, spec in tc_netem.ARGUMENTS.items()}
        asked = {key: arguments.pop(key) for key in arguments.keys() - tc_netem.ARGUMENTS.keys()}
        params = {**defaults, "interface": INTERFACE, "asked": asked, **arguments}
        try:
            on = tc_netem.Host(params["interface"], tools, host.call)
            result: dict[str, Any] = getattr(tc_netem, state)(on, params, dry)
        except tc_netem.NetemError as error:
            return {"failed": True, "msg": str(error)}
        return result

    return run


def as_ansible_does(host: FakeHost, **arguments: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program(ROLE / "library/tc_netem.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"interface": INTERFACE, **arguments}}),
        env=host.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def shell(host: FakeHost, line: str) -> str:
    return host.call(["/bin/sh", "-c", line])[1].strip()


def caller(port: int = 22) -> Any:
    return part("netem_host").SshClient("192.0.2.10", "", port)


def test_the_module_itself_shapes_and_puts_back(host: FakeHost) -> None:
    before = host.state
    dry = as_ansible_does(host, asked=WAN, _ansible_check_mode=True)
    assert (dry["changed"], host.state) == (True, before)
    done = as_ansible_does(host, asked=WAN)
    assert (done["changed"], done["command"], done["lease_s"]) == (True, WAN_WORDS, 7200)
    assert "paretopipe-netem-revert-eth9.timer" in done["renew"]
    assert host.state["qdiscs"][INTERFACE][0]["kind"] == "netem"
    refused = as_ansible_does(host, asked=WAN | {"direction": "symmetric"})
    assert "set netem_peer_addresses" in refused["msg"]
    assert as_ansible_does(host, state="absent")["changed"]
    assert host.state == before


def test_apply_twice_then_reset_twice(module: Any, host: FakeHost) -> None:
    before = host.state
    assert module(**WAN, dry=True)["changed"]
    assert host.state == before
    assert module(**WAN, lease_s=180)["changed"]
    assert host.state["timers"][TIMER]["seconds"] == 180
    assert not module(**WAN)["changed"]
    assert not module(**WAN, dry=True)["changed"]
    assert host.state["timers"][TIMER]["seconds"] == 7200, "a second call renews the lease"
    assert module(state="absent", dry=True)["changed"]
    assert module(state="absent")["changed"]
    assert host.state == before
    assert not module(state="absent")["changed"]
    assert host.log == [
        f"systemd-run {TIMER} 180",
        f"tc qdisc add dev {INTERFACE} root handle 5a5a: netem {WAN_WORDS}",
        f"systemctl restart {TIMER}.timer",
        f"systemctl stop {TIMER}.timer",
        f"systemd-run {TIMER} 7200",
        f"tc qdisc del dev {INTERFACE} root",
        f"systemctl stop {TIMER}.timer",
    ]


def test_only_what_goes_to_the_next_host_may_be_shaped(module: Any, host: FakeHost) -> None:
    before = host.state
    assert module(**WAN, only_peers=True, peers=PEERS[:1])["beside_ssh"] is False
    root, child = host.state["qdiscs"][INTERFACE]
    assert (root["kind"], child["kind"]) == ("prio", "netem")
    (filters,) = [line for line in host.log if "flowid 5a5a:2" in line]
    assert "match u32 0xc000020a 0xffffffff at 16" in filters
    assert not module(**WAN, only_peers=True, peers=PEERS[:1])["changed"]
    assert module(**WAN, peers=PEERS[:1])["changed"], "all of it is another shaping"
    refused = module(**WAN, only_peers=True)
    assert "is to be shaped for some hosts, so only traffic with the peers may" in refused["msg"]
    assert module(state="absent")["changed"]
    assert host.state == before


def test_a_host_without_anything_of_ours_needs_no_module_to_see_that(
    module: Any, host: FakeHost, plugin: Callable[[str], ModuleType]
) -> None:
    line = plugin("roles/netem/action_plugins/tc_netem.py").clear_command(INTERFACE)
    assert shell(host, line) == "clear"
    host.set(qdiscs={INTERFACE: [FOREIGN]})
    assert shell(host, line) == "clear", "it is none of our business"
    host.set(qdiscs={INTERFACE: [PFIFO]})
    module(**WAN, direction="symmetric", peers=PEERS)
    shaped = host.state
    assert shell(host, line) == ""
    # Each part alone.
    clean = {"qdiscs": {INTERFACE: [PFIFO]}, "links": {INTERFACE: 7}, "timers": {}}
    for part_of_it in clean:
        host.state = {**shaped, **clean, part_of_it: shaped[part_of_it]}
        assert shell(host, line) == "", part_of_it
    host.state = {**shaped, **clean}
    assert shell(host, line) == "clear"
    host.state = {**shaped, **clean, "links": {}}
    assert shell(host, line) == "", "the module says that there is no such interface"
    assert host.log == [each for each in host.log if "show" not in each]


def test_a_host_that_shapes_slowly_has_its_whole_lease_from_then_on(
    module: Any, host: FakeHost
) -> None:
    module(**WAN, lease_s=30)
    assert host.log[-1] == f"systemctl restart {TIMER}.timer"
    module(state="absent")
    host.set(late=True)
    assert module(**WAN, lease_s=30)["msg"] == (
        f"shaping {INTERFACE} took longer than its lease of 30 s: give it a longer one with "
        "netem_lease"
    )
    assert host.state["qdiscs"][INTERFACE][0]["kind"] != "netem"


def test_other_values_start_from_a_fresh_qdisc(module: Any, host: FakeHost) -> None:
    module(delay_s=0.1)
    changes = len(host.log)
    assert module(**WAN)["changed"]
    assert [line.split()[:3] for line in host.log[changes:]] == [
        ["systemctl", "stop", f"{TIMER}.timer"],
        ["systemd-run", TIMER, "7200"],
        ["tc", "qdisc", "del"],
        ["tc", "qdisc", "add"],
        ["systemctl", "restart", f"{TIMER}.timer"],
    ]


def test_what_tc_does_not_show_the_lease_knows(module: Any, host: FakeHost) -> None:
    asked = {"delay_s": 0.05, "jitter_s": 0.005}
    module(**asked)
    assert module(**asked, distribution="normal")["changed"]
    assert not module(**asked, distribution="normal")["changed"]
    module(**asked, distribution="pareto", loss=0.01)
    words = "limit 8257 delay 50000us 5000us distribution pareto loss 1%"
    assert host.log[-2] == f"tc qdisc add dev {INTERFACE} root handle 5a5a: netem {words}"


def test_nothing_is_shaped_without_a_lease(module: Any, host: FakeHost) -> None:
    host.set(lacks=["systemd"])
    before = host.state
    refused = module(**WAN)
    assert "does not arm the timer that would end the shaping" in refused["msg"]
    assert "Connection timed out" in refused["msg"]
    assert host.state == before
    host.set(lacks=[])
    module(**WAN)
    host.set(lacks=["systemd"])
    assert module(**WAN)["failed"]
    assert host.state["qdiscs"] == {INTERFACE: [PFIFO]}, "what is there may not stay for ever"


def test_a_timer_that_systemd_only_says_it_armed_is_none(module: Any, host: FakeHost) -> None:
    module(**WAN)
    host.set(forgetful=True)
    assert "does not arm the timer that would end the shaping" in module(**WAN)["msg"]
    assert host.state["qdiscs"] == {INTERFACE: [PFIFO]}


@pytest.mark.parametrize(
    "theirs", [FOREIGN, {**PFIFO, "handle": "8002:"}], ids=["netem", "a default made by hand"]
)
def test_someone_else_s_qdisc_is_left_alone(
    module: Any, host: FakeHost, theirs: dict[str, Any]
) -> None:
    host.set(qdiscs={INTERFACE: [theirs]})
    refused = module(delay_s=0.2)
    name = f"{theirs['kind']} qdisc ({theirs['handle']})"
    assert f"eth9 already has a {name} that is not ParetoPipe's" in refused["msg"]
    assert not module(state="absent")["changed"]
    assert host.log == []


@pytest.mark.parametrize("kind", ["cake", "mqprio"])
def test_a_default_of_any_kind_is_replaced(module: Any, host: FakeHost, kind: str) -> None:
    host.set(qdiscs={INTERFACE: [{**PFIFO, "kind": kind}]})
    assert module(**WAN)["found"] == kind


def test_the_lease_takes_away_what_is_ours_and_nothing_else(module: Any, host: FakeHost) -> None:
    before = host.state
    module(**WAN, direction="symmetric", peers=PEERS)
    (timer,) = host.state["timers"].values()
    assert "$" not in timer["command"][-1], "systemd would replace it"
    assert "The lease is over" in shell(host, timer["command"][-1])
    assert host.state["qdiscs"] == before["qdiscs"]
    assert host.state["links"] == before["links"]
    host.set(qdiscs={INTERFACE: [FOREIGN]})
    changes = host.log
    shell(host, timer["command"][-1])
    assert host.log == changes


def test_a_lease_is_renewed_while_what_it_is_on_is_there(module: Any, host: FakeHost) -> None:
    renew = module(**WAN)["renew"]
    assert shell(host, renew) == "held"
    assert host.log[-1] == f"systemctl restart {TIMER}.timer"
    first = host.state
    module(delay_s=0.1)
    assert shell(host, renew) == "lost", "it is another one's now"
    host.state = {**first, "qdiscs": {INTERFACE: [PFIFO]}}
    assert shell(host, renew) == "lost", "the qdisc has gone"
    host.state = {**first, "timers": {}}
    assert shell(host, renew) == "lost", "the timer has run out"
    renew = module(**WAN, direction="symmetric", peers=PEERS)["renew"]
    assert shell(host, renew) == "held"
    host.set(filters={})
    assert shell(host, renew) == "lost", "what comes in is not redirected any more"


def test_ssh_through_the_same_interface_is_not_shaped(module: Any, host: FakeHost) -> None:
    host.set(route=INTERFACE)
    over_ssh = {**WAN, "caller": caller()}
    assert "also carries SSH, so only traffic with the peers" in module(**over_ssh)["msg"]
    assert "'pi2' is no IP address" in module(**over_ssh, peers=["pi2"])["msg"]
    assert host.log == []
    done = module(**WAN, caller=caller(2222), peers=PEERS)
    assert done["beside_ssh"]
    add, tcp = f"tc filter add dev {INTERFACE} parent 5a5a:", "match u32 0x00060000 0x00ff0000 at 8"
    add += " protocol ip pref 23130 u32"
    unshaped = "flowid 5a5a:1"
    assert host.log[1:-1] == [
        f"tc qdisc add dev {INTERFACE} root handle 5a5a: prio bands 2 priomap" + " 0" * 16,
        f"tc qdisc add dev {INTERFACE} parent 5a5a:2 handle 5a5c: netem {WAN_WORDS}",
        f"{add} {tcp} match u32 0x00160000 0xffff0000 at 20 {unshaped}",
        f"{add} {tcp} match u32 0x00000016 0x0000ffff at 20 {unshaped}",
        f"{add} {tcp} match u32 0x08ae0000 0xffff0000 at 20 {unshaped}",
        f"{add} {tcp} match u32 0x000008ae 0x0000ffff at 20 {unshaped}",
        f"{add} match u32 0xc000020a 0xffffffff at 16 flowid 5a5a:2",
        f"{add} match u32 0xc000020c 0xffffffff at 16 flowid 5a5a:2",
    ]
    assert module(**over_ssh, peers=PEERS)["changed"], "the port is another"
    assert not module(**over_ssh, peers=PEERS)["changed"]
    assert not module(**over_ssh, peers=PEERS[::-1])["changed"], "the same peers"
    assert module(**over_ssh, peers=PEERS[:1])["changed"], "the peers are others"
    host.set(route="mgmt0")
    assert module(**over_ssh, peers=PEERS)["changed"]
    assert host.log[-2].split()[:9][-2:] == ["5a5a:", "netem"]


def test_symmetric_shapes_what_comes_in_as_well(module: Any, host: FakeHost) -> None:
    before = host.state
    asked = {**WAN, "direction": "symmetric", "peers": PEERS}
    assert "to be shaped both ways, so only" in module(**{**asked, "peers": []})["msg"]
    assert module(**asked)["changed"]
    assert not module(**asked)["changed"]
    adding = [line for line in host.log if line.split()[2] == "add"]
    assert [line.split(" match")[0] for line in adding] == [
        "ip link add ppifb7 type ifb",
        f"tc qdisc add dev ppifb7 root handle 5a5a: netem {WAN_WORDS}",
        f"tc qdisc add dev {INTERFACE} handle ffff: ingress",
        *[f"tc filter add dev {INTERFACE} parent ffff: protocol ip pref 23130 u32"] * 4,
        f"tc qdisc add dev {INTERFACE} root handle 5a5a: netem {WAN_WORDS}",
    ]
    assert adding[-2].endswith(
        "match u32 0xc000020c 0xffffffff at 12 action mirred egress redirect dev ppifb7"
    )
    assert module(**{**asked, "direction": "egress"})["changed"]
    assert "ppifb7" not in host.state["links"]
    module(state="absent")
    assert host.state["qdiscs"] == before["qdiscs"]


def test_filters_of_others_on_what_comes_in_are_kept(module: Any, host: FakeHost) -> None:
    theirs = {"kind": "clsact", "handle": "ffff:"}
    host.set(qdiscs={INTERFACE: [PFIFO, theirs]})
    asked = {**WAN, "direction": "symmetric", "peers": PEERS}
    assert "a qdisc for what comes in (clsact) that is not ParetoPipe's" in module(**asked)["msg"]
    assert module(**WAN)["changed"], "what leaves is no business of theirs"
    host.set(qdiscs={INTERFACE: [PFIFO]})
    module(**asked)
    state = host.state
    state["filters"][f"{INTERFACE} ffff:"].append({"pref": "5", "shown": "filter of somebody's"})
    host.state = state
    module(state="absent")
    assert [each["kind"] for each in host.state["qdiscs"][INTERFACE]] == ["pfifo_fast", "ingress"]
    (kept,) = host.state["filters"][f"{INTERFACE} ffff:"]
    assert kept["pref"] == "5"


@pytest.mark.parametrize(
    "lacking", ["sch_netem", "sch_prio", "sch_ingress", "cls_u32", "act_mirred", "ifb"]
)
def test_what_the_kernel_lacks_is_named_and_nothing_is_left(
    module: Any, host: FakeHost, lacking: str
) -> None:
    host.set(route=INTERFACE, lacks=[lacking])
    before = host.state
    refused = module(**WAN, caller=caller(), direction="symmetric", peers=PEERS)
    assert f"the kernel of this host lacks {lacking}: on Debian" in refused["msg"]
    after = host.state
    for kept in ("qdiscs", "links", "timers"):
        assert after[kept] == before[kept]
    assert not any(after["filters"].values())


def test_an_unknown_interface_is_one_sentence(module: Any) -> None:
    assert "this host has no interface 'eth8'" in module(interface="eth8", **WAN)["msg"]


def test_units_become_numbers() -> None:
    asked = {"delay": "200ms", "jitter": "1.5 s", "rate": "5mbit", "loss": "1%"}
    found = conditions.numbers(asked)
    assert found == pytest.approx(
        {"delay_s": 0.2, "jitter_s": 1.5, "rate_bit": 5e6, "loss": 0.01}
        | {"distribution": "", "direction": "egress"}
    )
    assert conditions.numbers({"delay": "", "direction": "symmetric"})["delay_s"] == 0
    assert [conditions.lease_seconds(text) for text in ("90s", "30min", "2h")] == [90, 1800, 7200]


NOTHING = (
    "nothing is asked of the network: give a delay, a rate or a loss above 0, or choose the "
    "scenario baseline, which leaves it as it is"
)


@pytest.mark.parametrize(
    ("said", "sentences"),
    [
        ({}, []),
        (
            {
                **{"delay": "200ms", "jitter": "5 ms", "distribution": "normal", "loss": "50%"},
                **{"rate": "5mbit", "direction": "symmetric"},
            },
            [],
        ),
        (
            {"delay": "40", "rate": "5Mbit", "loss": "90%"},
            [
                "delay=40 has no unit: write delay=40ms",
                "rate=5Mbit is not understood: write e.g. rate=5mbit",
            ],
        ),
        ({"delay": 200, "rate": 0}, ["delay=200 has no unit: write delay=200ms"]),
        ({"loss": 0.01}, ["loss=0.01 is not understood: write e.g. loss=1%"]),
        ({"delay": "0ms", "direction": "symmetric"}, [NOTHING]),
        ({"loss": 0}, [NOTHING]),
        ({"rate": "0mbit"}, ["rate=0mbit lets nothing through: leave it out for no limit"]),
        (
            {"rate": "12kbit"},
            ["rate=12kbit takes over a second for a full packet: use at least 13kbit"],
        ),
        (
            {"rate": "2000gbit"},
            ["rate=2000gbit is more than any link has: leave it out for no limit"],
        ),
        (
            {"delay": "5ms", "loss": "0.0000001%"},
            ["loss=0.0000001% is less than netem can do: leave it out, or use more"],
        ),
        ({"netem_lease": "2"}, ["netem_lease=2 is not understood: write e.g. netem_lease=30min"]),
        ({"netem_lease": "5s"}, ["netem_lease=5s is not from 10s to 24h"]),
        ({"netem_lease": "25h"}, ["netem_lease=25h is not from 10s to 24h"]),
        ({"loss": "60%"}, ["loss=60% would cut the host off: use at most loss=50%"]),
        ({"delay": "11s"}, ["delay=11s is longer than 10 s: did you mean ms?"]),
        (
            {"delay": "1ms", "jitter": "5ms"},
            ["jitter=5ms needs a delay at least as long, delay is '1ms'"],
        ),
        (
            {"delay": "5ms", "distribution": "normal"},
            ["distribution=normal needs a jitter: add e.g. jitter=5ms"],
        ),
        (
            {"delay": "5ms", "distribution": "flat", "direction": "both"},
            [
                "distribution=flat is not understood: choose from normal, pareto, paretonormal",
                "direction=both is not understood: choose from egress, symmetric",
            ],
        ),
        (
            {"delay_correlation": "5%", "dealy": "5ms"},
            [
                "delay_correlation is no option any more, for netem does not do what it says: "
                "leave it out",
                "dealy is nothing netem does: use " + ", ".join(conditions.OPTIONS),
            ],
        ),
    ],
)
def test_what_cannot_be_meant_is_told(said: dict[str, Any], sentences: list[str]) -> None:
    asked = {"jitter": "", **said}
    assert conditions.mistakes(asked, asked.pop("netem_lease", "2h")) == sentences


@pytest.mark.parametrize("text", ["nanms", "ms", "200 minutes", "-1ms", "1e3ms", True])
def test_a_number_without_a_known_unit_is_refused(text: object) -> None:
    said = f"delay={text} is not understood: write e.g. delay=200ms"
    assert conditions.mistakes({"delay": text}, "2h") == [said]


def test_a_relay_cannot_do_all_of_it() -> None:
    asked = {"delay": "20ms", "jitter": "0ms", "loss": "0%", "distribution": ""}
    assert conditions.mistakes(asked, "2h", relayed=True) == []
    (said,) = conditions.mistakes({**asked, "loss": "1%"}, "2h", relayed=True)
    assert said.startswith("loss 1% cannot be had from a relay")
