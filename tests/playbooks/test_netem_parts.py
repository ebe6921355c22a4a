"""Parts of the netem role without a host: words, masks, SSH's interface, pings."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.as_ansible import part

QUIET = {"delay_s": 0.2, "jitter_s": 0.0, "loss": 0.0, "direction": "egress", "distribution": ""}
QUIET |= {"rate_bit": 0.0}


@pytest.fixture(scope="module")
def qdisc() -> ModuleType:
    return part("netem_shaping")


@pytest.fixture(scope="module")
def layout() -> ModuleType:
    return part("netem_layout")


@pytest.fixture(scope="module")
def host() -> ModuleType:
    return part("netem_host")


@pytest.fixture(scope="module")
def probes(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/netem/filter_plugins/netem_probes.py")


def test_a_place_shapes_what_its_worker_sends(plugin: Callable[[str], ModuleType]) -> None:
    places = plugin("roles/netem/filter_plugins/netem_places.py")
    workers, names = ["pi1", "pi2", "server"], ["wan", "pi2"]
    facts = {name: {"experiment_interface": "eth0"} for name in workers}
    facts["wan"] = {"experiment_interface": "up0"}
    addresses = {"pi1": "192.0.2.11", "pi2": "192.0.2.12", "server": "192.0.2.10"}
    found = places.netem_places(names, facts, workers)
    assert [tuple(each.values()) for each in found] == [
        ("wan", "up0", "pi1"),
        ("pi2", "eth0", "pi2"),
    ], "a box is on the first worker's uplink"
    facts["wan"]["netem_interfaces"] = {"pi1": "up0", "pi2": "up1"}
    box = places.netem_places(names, facts, workers)
    assert [each["interface"] for each in box] == ["up0", "up1"], "the first that shapes a worker"

    asked = {"delay": "9ms"}
    (first,) = places.netem_hop(asked, found, workers)
    assert (first["host"], first["to"]) == ("pi1", ["pi2", "server"])
    (second,) = places.netem_hop(asked, found, workers, "2")
    assert second == {"host": "pi2", "to": ["server"], "netem": asked, "only": True}
    (turned,) = places.netem_hop(asked, found, workers, 2, "server, pi2,pi1")
    assert turned == {**second, "to": ["pi1"]}
    (behind,) = places.netem_hop(asked, found[1:], workers)
    assert (behind["host"], behind["to"]) == ("pi2", ["pi1", "server"]), "the first that can be"
    ways = [{**first, "netem": None}, second]
    shaped = places.netem_shapings(found, ways, workers, addresses)
    assert [(each["sender"], each["only"], each["peers"]) for each in shaped] == [
        ("pi1", False, [*addresses.values()]),
        ("pi2", True, ["192.0.2.10"]),
    ]
    backwards = places.netem_shapings(found, [first], workers, addresses)
    assert [each["sender"] for each in backwards] == ["pi2", "pi1"], "what ends a relay comes first"
    assert backwards[0]["asked"] == {}

    scenarios = [{"name": "near", "ways": [first]}, {"name": "far", "ways": ways}]
    kept = places.netem_kept(box, scenarios, workers, addresses)
    orders = sorted(places.netem_orders(kept["wan"]), key=lambda each: each["interface"])
    assert [each["interface"] for each in orders] == ["up0", "up1"]
    assert [[name for name, own in each["scenarios"].items() if own] for each in orders] == [
        ["near"],
        ["far"],
    ]
    assert [*orders[0]["scenarios"]] == ["near", "far"], "each knows all"
    assert orders[1]["scenarios"]["far"]["asked"]["delay_s"] == pytest.approx(0.009)
    assert [*places.netem_kept(found, scenarios[:1], workers, addresses)] == ["wan"]


@pytest.mark.parametrize(
    ("hop", "chain", "sentence"),
    [
        ("1", "", ""),
        (2, "pi1,pi2,server", ""),
        (1, "pi2,pi1", ""),
        ("3", "", "hop=3: pi1, pi2, server have 2 of them, expected a number from 1 to 2; of ano"),
        (2, "pi1,pi2", "hop=2: pi1, pi2 have 1 of them, expected a number from 1 to 1"),
        *((odd, "", f"hop={odd}: pi1, pi2, server have 2") for odd in (0, -1, "1.5", "two", "")),
        (
            1,
            "pi1,pi9",
            "chain=pi1,pi9: pi9 is no worker in this inventory: workers are pi1, ",
        ),
        (1, "pi1", "chain=pi1: name two hosts or more, each once, as in chain=pi1,pi2,server"),
        (1, "pi1,pi1", "chain=pi1,pi1: name two hosts or more, each once"),
        (
            2,
            "pi1,server,pi2",
            "hop=2 is what server sends, and server is not in the inventory",
        ),
        (1, "server,pi1", "hop=1 is what server sends, and server is not in the inventory"),
    ],
)
def test_a_hop_that_is_not_there_is_told(
    plugin: Callable[[str], ModuleType], hop: Any, chain: str, sentence: str
) -> None:
    places = plugin("roles/netem/filter_plugins/netem_places.py")
    shaped = [{"host": "wan", "interface": each, "sender": each} for each in ("pi1", "pi2")]
    said = places.netem_no_hop(hop, chain, shaped, ["pi1", "pi2", "server"])
    assert [text[: len(sentence)] for text in said] == [sentence][: bool(sentence)]


def test_the_queue_holds_twice_the_bandwidth_delay_product(qdisc: ModuleType) -> None:
    assert qdisc.queue_limit(0.2, 5e6) == 1000
    assert qdisc.queue_limit(0.2, 100e6) == 3303
    assert qdisc.queue_limit(0.2, 0) == 33026


def test_tc_is_asked_in_its_smallest_units(qdisc: ModuleType) -> None:
    wanted = dict.fromkeys(qdisc.SLACK, 0.0) | {"limit": 1000}
    assert qdisc.netem_words(wanted, "") == ["limit", "1000"]
    wanted |= {"delay_s": 0.05, "jitter_s": 0.005, "loss": 0.01, "rate_bit": 2e7}
    words = "limit 1000 delay 50000us 5000us loss 1% rate 20000000bit"
    assert " ".join(qdisc.netem_words(wanted, "")) == words
    words = "limit 1000 delay 50000us 5000us distribution normal loss 1% rate 20000000bit"
    assert " ".join(qdisc.netem_words(wanted, "normal")) == words


def test_what_tc_shows_is_compared_up_to_its_rounding(qdisc: ModuleType) -> None:
    options = {
        "limit": 1000,
        "delay": {"delay": 0.2, "jitter": 0.005, "correlation": 0},
        "loss-random": {"loss": 0.01, "correlation": 0},
        "rate": {"rate": 625000, "packetoverhead": 0},
    }
    shown = qdisc.shown_values({"kind": "netem", "options": options})
    wanted = {"delay_s": 0.2, "jitter_s": 0.005, "loss": 0.01, "rate_bit": 5e6, "limit": 1000}
    assert qdisc.same(shown, wanted)
    assert qdisc.same(shown | {"delay_s": 0.199999}, wanted)
    others = {"delay_s": 0.19, "jitter_s": 0, "loss": 0.02, "rate_bit": 4e6, "limit": 999}
    for key, value in others.items():
        assert not qdisc.same(shown | {key: value}, wanted), key


def test_filters_of_both_families_know_peers_and_ssh(layout: ModuleType) -> None:
    both = layout.Layout("eth0", "", (), True, ("192.0.2.1", "2001:db8::1"), (22,))
    sent = both.filters("to")
    assert [(each.version, each.shaped) for each in sent] == [
        *[(4, False)] * 2,
        (4, True),
        *[(6, False)] * 2,
        (6, True),
    ]
    assert sent[2].keys == ((0xC0000201, 0xFFFFFFFF, 16),)
    # Next header TCP in the seventh byte; ports after a header of 40.
    assert sent[3].keys == ((0x0600, 0xFF00, 4), (22 << 16, 0xFFFF0000, 40))
    full = 0xFFFFFFFF
    assert sent[5].keys == ((0x20010DB8, full, 24), (0, full, 28), (0, full, 32), (1, full, 36))
    received = both.filters("from")
    assert [each.keys[0][2] for each in received if each.shaped] == [12, 8]


def test_shown_filters_are_read_back(layout: ModuleType) -> None:
    shown = """filter protocol ip pref 23130 u32 chain 0
filter protocol ip pref 23130 u32 chain 0 fh 800: ht divisor 1
filter protocol ip pref 23130 u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 flowid 5a5a:1 \
not_in_hw
  match 00060000/00ff0000 at 8
  match 00160000/ffff0000 at 20
filter protocol ip pref 23130 u32 chain 0 fh 800::801 order 2049 key ht 800 bkt 0 not_in_hw
  match c000020c/ffffffff at 16
\taction order 1: mirred (Egress Redirect to device ppifb7) stolen
"""
    assert layout.shown_filters(shown) == [
        ((0x60000, 0xFF0000, 8), (0x160000, 0xFFFF0000, 20)),
        ((0xC000020C, 0xFFFFFFFF, 16),),
    ]
    assert layout.shown_filters("") == []


def test_the_caller_is_found_behind_sudo(host: ModuleType, tmp_path: Path) -> None:
    def process(pid: int, parent: int, environment: bytes) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "environ").write_bytes(environment)
        (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")

    assert host.ssh_client(tmp_path) is None
    process(os.getpid(), 7002, b"PATH=/bin\0SUDO_USER=pi\0")
    process(7002, 7001, b"SSH_CONNECTION=2001:db8::9 4022 2001:db8::1 2222\0HOME=/home/pi\0")
    process(7001, 1, b"")
    assert host.ssh_client(tmp_path) == host.SshClient("2001:db8::9", "", 2222)
    (tmp_path / "7002/environ").write_bytes(b"SSH_CONNECTION=fe80::1%eth0 4022 fe80::2%eth0 22\0")
    assert host.ssh_client(tmp_path) == host.SshClient("fe80::1", "eth0", 22)
    (tmp_path / "7002/environ").write_bytes(b"SSH_CONNECTION=UNKNOWN\0")
    assert host.ssh_client(tmp_path) is None


def test_a_bridge_sends_through_its_ports(host: ModuleType, tmp_path: Path) -> None:
    for path in ("br0/lower_eth0.5", "br0/lower_wlan0", "eth0.5/lower_eth0", "eth0", "mgmt0"):
        (tmp_path / path).mkdir(parents=True)
    for device in ("eth0", "eth0.5", "br0"):
        assert host.carries("eth0", device, tmp_path)
    assert not host.carries("eth0", "mgmt0", tmp_path)
    assert not host.carries("br0", "eth0", tmp_path), "what is above it is another interface"


def test_pings_become_numbers(probes: ModuleType) -> None:
    lines = [f"64 bytes from 192.0.2.1: icmp_seq={n} ttl=64 time={9 + n} ms" for n in (1, 2, 3, 5)]
    output = "\n".join([*lines, "5 packets transmitted, 4 received, 20% packet loss, time 801ms"])
    seen = probes.netem_pinged(output)
    assert seen == {
        "rtt_ms": 12.0,
        "spread_ms": pytest.approx(statistics.pstdev([11, 12, 14]), abs=1e-3),
        "pings": 4,
        "pings_lost": 1,
    }


def test_pings_are_many_and_dense_only_where_it_takes_many(probes: ModuleType) -> None:
    assert probes.netem_pings(QUIET, 10) == {"number": 11, "every_s": 0.05}
    # Pings do not queue at a low rate: 98 bytes take 78 ms.
    assert probes.netem_pings(QUIET | {"rate_bit": 1e4}, 10) == {"number": 11, "every_s": 0.157}
    assert probes.netem_pings(QUIET | {"loss": 0.01}, 10) == {"number": 501, "every_s": 0.02}
    # One every four jitters, so that pings do not queue.
    assert probes.netem_pings(QUIET | {"jitter_s": 0.05}, 10) == {"number": 51, "every_s": 0.2}


@pytest.mark.parametrize(
    ("asked", "omit_s", "window"),
    [
        ({"delay_s": 0.0}, 1.0, 0),
        ({}, 1.0, 0),
        # 125 kB are under way.
        ({"rate_bit": 5e6}, 1.0, 250_000),
        ({"rate_bit": 5e6, "direction": "symmetric"}, 2.044, 0),
        ({"rate_bit": 1e8}, 1.686, 0),
        ({"rate_bit": 1e5}, 1.0, 16_384),
    ],
)
def test_tcp_fills_the_link_and_little_of_the_queue(
    probes: ModuleType, asked: dict[str, Any], omit_s: float, window: int
) -> None:
    assert probes.netem_sending(QUIET | asked, 2) == {
        "omit_s": omit_s,
        "seconds": 2,
        "window": window,
        "back": False,
    }


PEERS = [{"host": "pi2", "address": "192.0.2.12"}, {"host": "server", "address": "192.0.2.10"}]
PINGED = (
    "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=11 ms\n"
    "64 bytes from 192.0.2.1: icmp_seq=2 ttl=64 time=9 ms\n"
    "2 packets transmitted, 2 received, 0% packet loss, time 50ms\n"
)


def test_what_a_host_measured_becomes_numbers_on_the_wire(probes: ModuleType) -> None:
    rates = {"rate_mbit": {"bit_s": 4.8e6}, "rate_back_mbit": {"bit_s": 9.6e6}}
    probed = {peer["host"]: {"pinged": PINGED, "rates": rates} for peer in PEERS}
    assert probes.netem_silent(probed, PEERS, 47471) == []
    numbers = {
        **{"rtt_ms": 9.0, "spread_ms": 0.0, "pings": 1, "pings_lost": 0},
        "rate_mbit": pytest.approx(4.8 * 1514 / 1448, abs=1e-3),
        "rate_back_mbit": pytest.approx(9.6 * 1514 / 1448, abs=1e-3),
    }
    assert probes.netem_seen(probed) == {"pi2": numbers, "server": numbers}


def test_what_could_not_be_measured_is_one_sentence_a_peer(probes: ModuleType) -> None:
    refused = {"rate_mbit": {"error": "unable to connect to server: Connection refused"}}
    probed = {
        "pi2": {"pinged": "ping: connect:\n Network is unreachable\n", "rates": refused},
        "server": {"pinged": PINGED, "rates": refused},
    }
    assert probes.netem_silent(probed, PEERS, 47471) == [
        "no ping to pi2 at 192.0.2.12 is answered; ping said: ping: connect: Network is "
        "unreachable",
        "no rate could be measured to server at 192.0.2.10: unable to connect to server: "
        "Connection refused; check that TCP port 47471 is open between the workers",
    ]


SEEN = {"rtt_ms": 200.4, "spread_ms": 0.1, "pings": 10, "pings_lost": 0, "rate_mbit": 4.9}
SAID = {"delay": "200ms", "rate": "5mbit", "jitter": "", "loss": ""}
NUMBERS = "Mbit/s, asked were 200ms and 5mbit"


@pytest.mark.parametrize(
    ("seen", "asked", "unmet"),
    [
        ({}, {}, []),
        ({"rtt_ms": 219.9}, {}, []),
        ({"rtt_ms": 221.0}, {}, [f"the way to pi2 measures 221.0 ms and 4.9 {NUMBERS}"]),
        ({"rtt_ms": 0.4}, {}, [f"the way to pi2 measures 0.4 ms and 4.9 {NUMBERS}"]),
        ({"rate_mbit": 4.4}, {}, [f"the way to pi2 measures 200.4 ms and 4.4 {NUMBERS}"]),
        ({"rate_mbit": 5.6}, {}, [f"the way to pi2 measures 200.4 ms and 5.6 {NUMBERS}"]),
        # TCP does not fill a lossy link.
        ({"rate_mbit": 2.0}, {"loss": 0.1}, []),
        ({"rate_mbit": 5.6, "pings": 500, "pings_lost": 50}, {"loss": 0.1}, [
            f"the way to pi2 measures 200.4 ms and 5.6 {NUMBERS}"
        ]),
        ({"rtt_ms": 400.1, "rate_back_mbit": 9.9}, {"direction": "symmetric"}, [
            f"the way to pi2 measures 400.1 ms and 4.9 and back 9.9 {NUMBERS} each way"
        ]),
        ({"rtt_ms": 200.4, "spread_ms": 30.0}, {"jitter_s": 0.02, "distribution": "normal"}, [
            "on the way to pi2 round trips spread by 30.0 ms, not by 20.0, asked were no jitter "
            "and no loss"
        ]),
        # Nothing was asked for.
        ({"rtt_ms": 0.4, "rate_mbit": 940.0}, {"delay_s": 0.0, "rate_bit": 0.0}, []),
    ],
)  # fmt: skip
def test_what_is_not_as_asked_is_one_sentence(
    probes: ModuleType, seen: dict[str, Any], asked: dict[str, Any], unmet: list[str]
) -> None:
    wanted = QUIET | {"rate_bit": 5e6} | asked
    assert probes.netem_unmet({"pi2": SEEN | seen}, wanted, SAID) == unmet


def test_asked_and_measured_stand_side_by_side(probes: ModuleType) -> None:
    wanted = QUIET | {"direction": "symmetric", "jitter_s": 0.005, "loss": 0.01}
    said = SAID | {"jitter": "5ms", "loss": "1%"}
    assert probes.netem_table({"pi2": SEEN | {"rate_back_mbit": 4.8}}, wanted, said, "pi1") == (
        "from pi1 to         RTT asked     measured     rate asked       measured\n"
        "pi2                   2x200ms     200.4 ms          5mbit     4.90 Mbit/s\n"
        "  and back                                          5mbit     4.80 Mbit/s\n"
        "  jitter 5ms, uniform: round trips spread by 0.1 ms, 4.082 expected (standard deviation "
        "of 10 pings)\n"
        "  loss 1%: 0 of 10 pings lost, 0.2 expected\n"
        "Rates are on the wire: TCP goodput x 1514/1448."
    )


@pytest.mark.parametrize(
    ("asked", "spread_ms"),
    [
        ({}, 5.774),
        ({"distribution": "normal"}, 10.0),
        ({"direction": "symmetric"}, 8.165),
        ({"direction": "symmetric", "distribution": "pareto"}, 11.597),
    ],
)
def test_how_much_round_trips_should_vary(
    probes: ModuleType, asked: dict[str, Any], spread_ms: float
) -> None:
    asked = QUIET | {"jitter_s": 0.01} | asked
    assert probes.netem_spread_ms(asked) == pytest.approx(spread_ms, abs=1e-3)
    seen = {"spread_ms": spread_ms, "pings": 500, "pings_lost": 0}
    assert probes.netem_unlike(seen, asked) == []
    assert probes.netem_unlike(seen | {"spread_ms": 1.3 * spread_ms}, asked) == [
        f"round trips spread by {1.3 * spread_ms} ms, not by {probes.netem_spread_ms(asked)}"
    ]
    assert probes.netem_unlike(seen | {"spread_ms": 0.0}, asked)


def test_a_round_trip_is_delayed_each_way_that_is_shaped(probes: ModuleType) -> None:
    assert probes.netem_round_trip_ms(QUIET) == 200
    assert probes.netem_round_trip_ms(QUIET | {"direction": "symmetric"}) == 400
    assert probes.netem_slack_ms(QUIET) == 20
    assert probes.netem_slack_ms(QUIET | {"delay_s": 0.01}) == 2
    assert probes.netem_slack_ms(QUIET | {"jitter_s": 0.05}) == 50


def test_losses_are_judged_as_chance_has_them(probes: ModuleType) -> None:
    asked = QUIET | {"loss": 0.1}

    def unlike(lost: int, **more: Any) -> list[str]:
        seen = {"spread_ms": 0.0, "pings": 500, "pings_lost": lost}
        found: list[str] = probes.netem_unlike(seen, asked | more)
        return found

    assert [lost for lost in range(501) if not unlike(lost)] == [*range(27, 74)]
    assert unlike(5) == ["5 of 500 pings were lost, expected were 50 give or take 23"]
    assert not unlike(95, direction="symmetric")
    assert unlike(50, direction="symmetric")
