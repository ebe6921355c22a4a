"""Verdicts of the checks, at the edges, and the lines that people read of them."""

from __future__ import annotations

import importlib
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roles.preflight.judging import hardware, network, sizes
from roles.preflight.judging.findings import Asked, Load
from roles.preflight.judging.judge import judge, lines, stops
from roles.preflight.judging.sizes import asked_of
from tests.preflight import real
from tests.preflight.good import ASKED, LOADS, MIB, host
from tests.preflight.planted import found

ROOT = Path(__file__).resolve().parents[2]


def test_every_combination_of_throttle_bits_is_told_apart() -> None:
    """The kernel's sticky bits are of the last seconds, vcgencmd's of any time since the boot."""
    for live, sticky in itertools.product(range(16), range(16)):
        bits = sticky << 16 | live
        for watched, spoils in (("all", live | sticky), ("nothing", live)):
            told = {"bits": bits, "since_boot": bits, "watched": watched}
            finding = hardware.throttling(host(throttling=told), ASKED)
            fine = "ok" if watched == "all" else "note"
            assert finding.level == ("stop" if spoils else "note" if sticky else fine), hex(bits)
            assert (
                "was short of voltage" in finding.text or "is short of" in finding.text
            ) is bool((spoils or sticky) & 1), hex(bits)


@pytest.mark.parametrize(
    ("text", "limit"),
    [("85%", 850), ("100%", 1000), ("512", 512), ("2K", 1000), ("0K", 0), ("infinity", 1000)],
)
def test_a_memory_limit_is_read_as_systemd_does(text: str, limit: int) -> None:
    assert hardware.memory_limit(text, 1000) == limit


@pytest.mark.parametrize(("scatter", "level"), [(0.029, "ok"), (0.031, "note")])
def test_a_machine_is_noted_from_three_per_cent_on(scatter: float, level: str) -> None:
    seen = host(noise={"scatter": scatter})
    (verdict,) = (one for one in judge([seen], ASKED) if one.check == "noise")
    assert (verdict.host, verdict.level) == ("pi1", level)
    assert f"{100 * scatter:.1f} %" in verdict.text


def test_an_old_arm_is_known_by_what_it_lacks() -> None:
    bad = {"torch": "2.10.0", "torchvision": "0.25.0"}
    none: dict[str, Any] = {"torch": None, "torchvision": None, "convolution": None}
    newer = ["fp", "asimd", "atomics", "asimddp"]
    assert [finding.check for finding in found(host(duty=bad, **none))] == ["convolution"]
    assert found(host(duty=bad, **none, cpu_features=newer)) == []
    own = {**bad, "plain_index": False}
    assert found(host(duty=own, **none, machine="x86_64", cpu_features=None)) == []
    for release in ("2.3.1", "2.8.0", "2.9.1"):
        fine = {"torch": release, "torchvision": f"0.{int(release.split('.')[1]) + 15}.0"}
        assert found(host(duty=fine, **none)) == []


def test_a_model_that_nobody_asked_for_stops_nothing() -> None:
    small = {"total_bytes": 925 * MIB, "available_bytes": 700 * MIB}
    levels = [
        [finding.level for finding in found(host(memory=small), asked=replace(ASKED, named=named))]
        for named in (True, False)
    ]
    assert levels == [["stop"], ["note"]]


def test_a_host_that_cannot_be_looked_at_keeps_no_other_from_it() -> None:
    lost = replace(host("pi1"), facts={}, trouble={"kind": "login", "said": "Connection closed"})
    findings = judge([lost, host("pi2")], ASKED)
    assert stops(findings) == [
        "pi1: logging in failed (Connection closed): log in there by hand with ssh first, with -v "
        "to see where"
    ]
    assert {finding.host for finding in findings if finding.level == "ok"} == {"pi2"}


UNREAD = "Module result deserialization failed: No start of json char found"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"module_stderr": "a\nsudo: b\nShared connection to pi1 closed.\n"}, "sudo: b"),
        ({"module_stderr": "", "module_stdout": "a minimum of Python 3.8\n"}, "a minimum of Pyth"),
        ({"module_stderr": "", "rc": 139}, UNREAD),
        ({"_ansible_parsed": True, "module_stderr": "a warning", "msg": "no such unit"}, "no such"),
        ({"msg": None, "rc": 137}, "exit status 137"),
        ({"msg": None}, "no reason given"),
    ],
)
def test_what_failed_is_said_in_its_own_words(answer: dict[str, Any], said: str) -> None:
    action = real.load(ROOT / "roles/preflight/action_plugins/look_at_host.py")
    looked = {"_ansible_parsed": False, "msg": UNREAD, **answer}
    assert action.complaint(looked).startswith(said)


def test_people_read_a_line_a_host_and_what_is_wrong_below() -> None:
    hosts = [host("pi1", login_s=9.0, shaped=None), host("server", congestion_control="bbr")]
    text = lines(judge(hosts, ASKED))
    assert text[0].startswith("pi1     clock +0.02 ± 0.04 s, Python 3.11.2, torch 2.9.1 runs, ")
    assert max(map(len, text)) <= 100
    assert [line.split(": ")[0] for line in text if ": " in line] == [
        *("        note", "        STOP", "note")
    ]


def test_what_is_asked_comes_from_the_plans() -> None:
    cells = importlib.import_module("roles.plan.planning.cells")
    yaml = importlib.import_module("yaml")
    files = {
        name: yaml.safe_load((ROOT / f"experiments/{name}.yml").read_text())
        for name in ("full", "scenarios")
    }
    hosts = {
        name: {
            "address": f"192.0.2.{number}",
            "allocator": "tuned",
            "allow_insecure_rpc": False,
            "device": "cpu",
        }
        for number, name in enumerate(("pi1", "pi2", "server"), 1)
    }
    options = {"model": "alexnet", "engine": "eager,onnxruntime", "batch": "4"}
    planned = cells.plan_cells(options, files["full"], files["scenarios"], hosts, {}, "server")
    asked = asked_of(planned, "server", named=True)
    both = tuple(Load("alexnet", 4, 224, engine, "tuned") for engine in ("eager", "onnxruntime"))
    assert asked.loads["pi1"] == asked.loads["pi2"] == both
    assert set(asked.loads["server"]) == {*both, Load("alexnet", 4, 224, "eager", "default")}
    assert (asked.backends, asked.shaped) == (("socket",), True)
    alexnet = sizes.MODELS["alexnet"]
    assert asked.cached_mib["pi1"] == 2 * alexnet.weights + alexnet.firsts
    assert asked.cached_mib["pi2"] == 2 * alexnet.weights + alexnet.lasts
    only = cells.plan_cells(
        {**options, "scenarios": "baseline"},
        *(files["full"], files["scenarios"], hosts, {}, "server"),
    )
    assert not asked_of(only, "server", named=True).shaped


def test_memory_grows_with_the_images_of_a_batch() -> None:
    (one,) = LOADS
    first, eight = (sizes.MARGIN * mib for mib in sizes.PEAKS["vgg16", "eager"]["tuned"])
    for batch, mib in ((1, first), (8, eight), (15, 2 * eight - first)):
        assert sizes.peak_mib(replace(one, batch=batch)) == pytest.approx(mib, abs=1)
    assert sizes.peak_mib(replace(one, batch=32, image_px=112)) == sizes.peak_mib(one)
    unmeasured = sizes.peak_mib(replace(one, engine="compile"))
    engines = [sizes.peak_mib(replace(one, engine=name)) for name in ("eager", "onnxruntime")]
    assert unmeasured == max(engines)


def test_the_sizes_are_those_that_were_measured() -> None:
    text = (ROOT / "docs/campaigns/memory.txt").read_text()
    row = r"(?m)^(\w+) +(\w+) +(\w+) +(\d+) MiB of .*, +(\d+) MiB with .* 1, +(\d+) MiB"
    measured = re.findall(row, text)
    peaks = {tuple(row[:3]): (int(row[4]), int(row[5])) for row in measured}
    known = {(*key, name): mib for key, both in sizes.PEAKS.items() for name, mib in both.items()}
    assert peaks == known
    weights = {row[0]: int(row[3]) for row in measured}
    assert weights == {name: model.weights for name, model in sizes.MODELS.items()}


def test_disk_is_wanted_twice_over_for_weights_and_once_for_what_engines_keep() -> None:
    assert sizes.disk_mib([], 0) == 2 * sizes.RECORDS_MIB
    (vgg,) = LOADS
    weights = 2 * (sizes.MODELS["vgg16"].weights + sizes.RECORDS_MIB)
    assert sizes.disk_mib([vgg, replace(vgg, batch=1)], 0) == weights
    assert sizes.disk_mib([vgg], 1000) == weights + 1000


def test_what_an_engine_keeps_follows_the_splits() -> None:
    plan = {"model": "vgg16", "engine": "onnxruntime", "splits": "all"}
    vgg = sizes.MODELS["vgg16"]
    assert sizes.cached_mib(plan, 0) == 2 * vgg.weights + vgg.firsts
    assert sizes.cached_mib(plan, 1) == 2 * vgg.weights + vgg.lasts
    two = {**plan, "splits": [[1], [2]]}
    assert sizes.cached_mib(two, 1) == 2 * vgg.weights + vgg.lasts * 2 // 38
    assert sizes.cached_mib({**plan, "engine": "eager"}, 1) == 0
    there = {"kept_bytes": 20_000 * MIB, "torch": "2.9.1"}
    asked = replace(ASKED, cached_mib={"pi1": 20_000})
    (full,) = found(host(), asked=asked)
    assert "MiB are free for /var/lib/paretopipe, expected 21184 for weights" in full.text
    assert found(host(**there), asked=asked) == []


def test_a_host_that_only_shapes_needs_no_more() -> None:
    duty = {"runtime": False, "worker": False, "address": "", "interface": "up0"}
    small: dict[str, Any] = {
        "python": {"path": "/usr/bin/python3", "version": "3.9.2", "bits": 32, "said": ""},
        "home": {"path": "/opt/paretopipe", "device": 1, "free_bytes": MIB},
        **{"torch": None, "torchvision": None, "convolution": None},
    }
    box = host("wan", duty=duty, shaped="up0", experiment=None, **small)
    asked = Asked({}, {}, ("rpc",), shaped=True)
    assert found(box, asked=asked) == []
    assert "netem works" in lines(judge([box], asked))[-1]


@pytest.mark.parametrize(("handle", "level"), [("0:", "ok"), ("8001:", "stop"), ("5a5a:", "note")])
def test_a_qdisc_of_any_kind_is_somebody_s_if_it_has_a_handle(handle: str, level: str) -> None:
    for kind in ("fq", "cake", "mqprio"):
        found = network.qdisc(host(qdiscs={"eth0": {"kind": kind, "handle": handle}}), ASKED)
        assert found.level == level


def test_whose_qdisc_it_is_agrees_with_those_who_set_them() -> None:
    netem = "".join(path.read_text() for path in (ROOT / "roles/netem").rglob("*.py"))
    bench = (ROOT / "roles/bench/vars/main.yml").read_text()
    assert f'HANDLE = "{network.OURS[0]}"' in netem
    assert f'__bench_handle: "{network.OURS[1]}"' in bench
