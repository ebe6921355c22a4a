"""The netem role's units, its module against a `tc` that records, and real bad values."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MODULE = Path(__file__).resolve().parents[2] / "roles/netem/library/tc_netem.py"
# As iproute2 6.1 shows them.
PFIFO = {"kind": "pfifo_fast", "handle": "0:", "root": True, "refcnt": 2}
WAN = {
    "kind": "netem",
    "handle": "5a5a:",
    "root": True,
    "options": {
        "limit": 1000,
        "delay": {"delay": 0.2, "jitter": 0, "correlation": 0},
        "rate": {"rate": 625000, "packetoverhead": 0},
        "ecn": False,
        "gap": 0,
    },
}
# Keeps the root qdisc in a file, and a log of what it was asked to change.
FAKE_TC = """#!{python}
import json, pathlib, sys
here, words = pathlib.Path({folder!r}), sys.argv[1:]
if words[:1] == ["-j"]:
    print((here / "qdisc.json").read_text())
elif (here / "error").exists():
    sys.exit((here / "error").read_text())
else:
    with (here / "log").open("a") as log:
        print(*words, file=log)
    after = "wanted.json" if words[1] == "add" else "default.json"
    (here / "qdisc.json").write_text((here / after).read_text())
"""


@pytest.fixture(scope="module")
def netem(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/netem/library/tc_netem.py")


@pytest.fixture(scope="module")
def units(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/netem/filter_plugins/netem_units.py")


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the module as Ansible does, with the recording `tc` first on the path."""
    script = tmp_path / "bin" / "tc"
    script.parent.mkdir()
    script.write_text(FAKE_TC.format(python=sys.executable, folder=str(tmp_path)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    for name, qdisc in (("qdisc", PFIFO), ("default", PFIFO), ("wanted", WAN)):
        (tmp_path / f"{name}.json").write_text(json.dumps([qdisc]))

    def run(**arguments: Any) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(MODULE)],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": {"interface": "eth9", **arguments}}),
            env={**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        result: dict[str, Any] = json.loads(done.stdout or f'{{"msg": {json.dumps(done.stderr)}}}')
        return result

    return run


def test_units_become_numbers(units: ModuleType) -> None:
    assert units.netem_seconds("200ms") == pytest.approx(0.2)
    assert units.netem_seconds("1.5 s") == pytest.approx(1.5)
    assert units.netem_seconds("") == 0
    assert units.netem_bits("5Mbit") == 5e6
    assert units.netem_share("1%") == pytest.approx(0.01)


@pytest.mark.parametrize("text", ["200", "ms", "200 minutes", "-1ms", "1e3ms"])
def test_a_number_without_a_known_unit_is_refused(units: ModuleType, text: str) -> None:
    with pytest.raises(Exception, match=r"has no known unit: write e\.g\. 200ms"):
        units.netem_seconds(text)


def test_the_queue_holds_twice_the_bandwidth_delay_product(netem: ModuleType) -> None:
    assert netem.queue_limit(0.2, 5e6) == 1000
    assert netem.queue_limit(0.2, 100e6) == 3303
    assert netem.queue_limit(0.2, 0) == 33026


def test_tc_is_asked_in_its_smallest_units(netem: ModuleType) -> None:
    wanted = {"delay_s": 0.05, "jitter_s": 0.005, "loss": 0.01, "rate_bit": 2e7, "limit": 1000}
    words = "limit 1000 delay 50000us 5000us loss 1% rate 20000000bit"
    assert " ".join(netem.tc_arguments(wanted)) == words
    empty = dict.fromkeys(wanted, 0) | {"limit": 1000}
    assert netem.tc_arguments(empty) == ["limit", "1000"]


def test_what_tc_shows_is_compared_up_to_its_rounding(netem: ModuleType) -> None:
    wanted = {"delay_s": 0.2, "jitter_s": 0, "loss": 0, "rate_bit": 5e6, "limit": 1000}
    shown = netem.shown_values(WAN)
    assert netem.same(shown, wanted)
    assert netem.same(shown | {"delay_s": 0.199999}, wanted)
    for key, value in (("delay_s", 0.19), ("loss", 0.01), ("rate_bit", 4e6), ("limit", 999)):
        assert not netem.same(shown | {key: value}, wanted)


def test_apply_twice_then_reset_twice(module: Any, tmp_path: Path) -> None:
    asked = {"delay_s": 0.2, "rate_bit": 5e6}
    assert module(**asked, _ansible_check_mode=True)["changed"]
    assert not (tmp_path / "log").exists()
    assert module(**asked)["changed"]
    assert not module(**asked)["changed"]
    assert module(state="absent", _ansible_check_mode=True)["changed"]
    assert module(state="absent")["changed"]
    assert not module(state="absent")["changed"]
    assert (tmp_path / "log").read_text().splitlines() == [
        "qdisc add dev eth9 root handle 5a5a: netem limit 1000 delay 200000us rate 5000000bit",
        "qdisc del dev eth9 root",
    ]


def test_other_values_start_from_a_fresh_qdisc(module: Any, tmp_path: Path) -> None:
    (tmp_path / "qdisc.json").write_text(json.dumps([WAN | {"options": {"limit": 7}}]))
    assert module(delay_s=0.2, rate_bit=5e6)["changed"]
    assert [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()] == [
        "del",
        "add",
    ]


def test_someone_else_s_qdisc_is_left_alone(module: Any, tmp_path: Path) -> None:
    theirs = WAN | {"handle": "8001:"}
    (tmp_path / "qdisc.json").write_text(json.dumps([theirs]))
    refused = module(delay_s=0.2)
    assert refused["failed"]
    assert "eth9 already has a netem qdisc (8001:) that is not ParetoPipe's" in refused["msg"]
    assert not module(state="absent")["changed"]
    assert json.loads((tmp_path / "qdisc.json").read_text()) == [theirs]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("Error: Specified qdisc kind is unknown.", "the kernel of this host lacks sch_netem"),
        ('Cannot find device "eth9"', "this host has no interface 'eth9'"),
        ("RTNETLINK answers: Operation not permitted", "tc refused: RTNETLINK answers"),
    ],
)
def test_tc_s_complaint_becomes_a_sentence(
    module: Any, tmp_path: Path, error: str, sentence: str
) -> None:
    (tmp_path / "error").write_text(error)
    refused = module(delay_s=0.2)
    assert refused["failed"]
    assert sentence in refused["msg"]
