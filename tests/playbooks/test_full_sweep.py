"""A sweep through Ansible: measured, reported, repeated without work, killed and resumed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import reader
from tests.effort import THOROUGH, trials
from tests.playbooks import strangers
from tests.reader import Tab, empty_tab, headless

# Three to eight minutes for a whole sweep, twice that on a busy machine.
pytestmark = [pytest.mark.testbed, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
SWEEP = "pytest-full"
RESULTS = ROOT / "experiments/results" / SWEEP
REPORT = ROOT / f"reports/html/{SWEEP}"
REPEATS = trials(1, 2)
# The profile and the links are measured on the network as it is, whatever the scenarios are.
SCENARIOS = ("baseline", "metro") if THOROUGH else ("metro",)
SMALL = (
    f"experiment=demo image=32 sweep={SWEEP} splits=3,17 repeats={REPEATS} noise=1 "
    f"scenarios={','.join(SCENARIOS)} "
    "pairings=pi_to_pi first_report=0 backend=socket,rpc allow_insecure_rpc=true drift_limit=0"
)
ONE_CELL = "scenarios=metro pairings=pi_to_pi backend=socket"
CELL = "mobilenetv2.socket.pi_to_pi.metro"
MORE = (
    f"experiment=demo first_report=0 image=32 sweep={SWEEP} splits=3,17 repeats=10 {ONE_CELL} "
    "end_points=false sentinel=false profile=false"
)
A_BLOCK = 2 + 2 + 2  # two splits, two end points, the sentinel twice
SECTIONS = {
    *("verdict", "fronts", "splits", "time", "resources", "blocks", "model", "memory"),
    *("backends", "whatif", "provenance", "methods", "downloads"),
}
On = Callable[[str, str], str]
Run = Callable[..., Any]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module", autouse=True)
def _clean(testbed: On) -> Iterator[None]:
    def remove() -> None:
        shutil.rmtree(RESULTS, ignore_errors=True)
        shutil.rmtree(REPORT, ignore_errors=True)

    remove()
    testbed("server", f"rm -rf /var/lib/paretopipe/sweeps/{SWEEP}")
    yield
    remove()


def rows(kind: str = "run") -> dict[str, list[dict[str, Any]]]:
    found = {
        path.stem: [
            row for row in map(json.loads, path.read_text().splitlines()) if row["kind"] == kind
        ]
        for path in sorted(RESULTS.glob("*.jsonl"))
    }
    return {cell: records for cell, records in found.items() if records}


def test_one_command_measures_every_cell_and_writes_the_report(
    testbed: On, starting: Start
) -> None:
    process = starting("full_sweep", "-e", SMALL)
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.append(process.communicate()[0]))
    reader.start()
    listeners: set[str] = set()  # seen during the sweep, PyTorch RPC's included
    met: dict[str, str] = {}  # answers of all but SSH to a foreign host
    arguments: set[str] = set()
    with strangers.stranger(testbed) as meets:
        while reader.is_alive():
            for host in ("pi1", "pi2"):
                seen = testbed(host, "ss -Hltn | awk '{print $4}'; echo; ps -eo args")
                found, _, running = seen.partition("\n\n")
                listeners |= set(found.split())
                arguments |= set(running.splitlines())
                # Only once the sweep has provisioned the agent with RPC allowed.
                if "--allow-insecure-rpc" in running:
                    theirs = {one for one in found.split() if one.startswith("10.78.")} - set(met)
                    met |= meets(one for one in theirs if not one.endswith(":22"))
            time.sleep(1)  # the hosts are measuring
    reader.join()
    assert process.returncode == 0, output[0]
    assert len(met) > 2
    assert set(met.values()) <= {"refused", "unanswered"}, met
    key = strangers.key_of(testbed)
    assert not strangers.holds("\n".join([*arguments, output[0]]), key)
    texts = [path.read_text() for path in RESULTS.rglob("*") if path.is_file()]
    assert not strangers.holds("\n".join(texts), key)
    for host in ("pi1", "pi2", "server"):
        assert not strangers.holds(testbed(host, strangers.LEAKS), key), host
    assert len({address for address in listeners if address.startswith("10.78.")}) > 2
    assert not [address for address in listeners if address.startswith(("*", "0.0.0.0", "[::]"))]
    cells = rows()
    assert list(cells) == [
        f"mobilenetv2.{backend}.pi_to_pi.{scenario}"
        for backend in ("rpc", "socket")
        for scenario in SCENARIOS
    ]
    for cell, every in cells.items():
        assert [row["status"] for row in every] == ["ok"] * REPEATS * A_BLOCK, cell
        assert all(row["proof"]["max_rel_err"] <= 1e-5 for row in every)
        runs = [row for row in every if "role" not in row["factors"]]
        assert len(runs) == 2 * REPEATS
        assert {row["stages"][1]["host"] for row in runs} == {"pi2"}
        assert {row["security"] for row in runs} == {"rpc-insecure" if ".rpc." in cell else "hmac"}
        measured = runs[0]["network"]["measured"]
        if cell.endswith("metro"):
            assert measured["rtt_ms"] == pytest.approx(20, abs=2)
            assert measured["rate_mbit"] == pytest.approx(50, rel=0.1)
            # netem's delay is a lower bound.
            assert min(min(row["network_s"]["latency"]) for row in runs) > 0.0195
        else:
            assert measured["rtt_ms"] < 5
    assert {cell: len(found) for cell, found in rows("profile").items()} == {
        "mobilenetv2.profile": 2 * REPEATS
    }
    links = rows("link")
    assert {cell: len(found) for cell, found in links.items()} == {
        "link.pi1-pi2.rpc": REPEATS,
        "link.pi1-pi2.socket": REPEATS,
    }
    for row in (row for found in links.values() for row in found):
        assert row["network"]["measured"]["rtt_ms"] < 5
    assert "Where to split MobileNetV2" in (REPORT / "mobilenetv2.html").read_text()
    assert re.search(r"\d+ runs: ends (at|between) .+ min", output[0])
    assert f"reports/html/{SWEEP}/index.html" in output[0]


@pytest.mark.parametrize(
    "look",
    [
        reader.come_from_the_index,
        reader.follow_a_point,
        reader.move_the_sliders,
        reader.sort_every_table,
        reader.hold_it_narrow,
    ],
)
def test_its_report_works_in_a_browser(look: Callable[[Tab, Path], None]) -> None:
    with headless() as browser, empty_tab(browser) as tab:
        look(tab, REPORT / "mobilenetv2.html")


def test_its_report_has_every_section() -> None:
    text = (REPORT / "mobilenetv2.html").read_text()
    ids = re.findall(r'<section id="([a-z]+)"', text)
    assert set(ids) >= SECTIONS, ids
    assert len(text.encode()) < 400_000


@pytest.mark.thorough
def test_the_same_command_again_measures_nothing(playbook: Run) -> None:
    before = {path: path.read_bytes() for path in RESULTS.glob("*.jsonl")}
    done = playbook("full_sweep", "-e", f"{SMALL} {ONE_CELL}")
    assert done.status == 0, done.output
    assert {path: path.read_bytes() for path in RESULTS.glob("*.jsonl")} == before


@pytest.mark.thorough
def test_a_killed_controller_costs_one_run_at_most(
    testbed: On, playbook: Run, starting: Start
) -> None:
    earlier = {path: path.read_bytes() for path in RESULTS.glob("*.jsonl")}
    controller = starting("measure", "-e", MORE)  # the hosts are ready
    on_node = "/var/lib/paretopipe/sweeps/" + SWEEP
    deadline = time.monotonic() + 480
    while (
        int(testbed("server", f"grep -c kind.:.run {on_node}/{CELL}.jsonl; true"))
        < REPEATS * A_BLOCK + 8
    ):
        assert controller.poll() is None
        assert time.monotonic() < deadline
        time.sleep(1)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.communicate(timeout=30)
    on_disk = testbed("server", f"cat {on_node}/*.jsonl").splitlines()

    done = playbook("full_sweep", "-e", MORE, timeout_s=580)
    assert done.status == 0, done.output
    assert "netem" not in testbed("wan", "tc qdisc show dev up0")
    lines = {line for path in RESULTS.glob("*.jsonl") for line in path.read_text().splitlines()}
    assert set(on_disk) <= lines, "a record was lost"
    for path, content in earlier.items():
        assert path.read_bytes().startswith(content), "an earlier record changed"
    ordinary = [row for row in rows()[CELL] if "role" not in row["factors"]]
    counts = Counter(row["run_key"] for row in ordinary if row["status"] == "ok")
    assert len(counts) == 2 * 10
    assert set(counts.values()) == {1}, "a run was measured twice"
