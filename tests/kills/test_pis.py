"""A pretended Pi 4B and Pi 5 from preflight to records: low voltage, swap, a reboot in mid-run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paretopipe_runtime.worker.usage import throttling
from roles.preflight.judging.findings import Finding
from roles.preflight.judging.judge import judge
from tests.kills import trial
from tests.kills.test_frozen import rows
from tests.kills.trial import Bench
from tests.made.raspberry import LIVE_VOLTAGE, PI4, PI5, Raspberry
from tests.preflight import real
from tests.preflight.good import ASKED, host

Pis = dict[str, Raspberry]
AWAY_S = 9.0  # after 8 s of failed runs a cell was once given up


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pis")


@pytest.fixture(scope="module")
def pis(folder: Path) -> Pis:
    """The Pi 5's kernel tells of low voltage alone, as Ubuntu's does."""
    return {
        "pi1": Raspberry(folder / "pi1/root", PI4, swap="/var/swap file 2097148 0 -2"),
        "pi2": Raspberry(folder / "pi2/root", PI5, get_throttled=False, limits=True),
    }


@pytest.fixture(scope="module")
def bench(folder: Path, pis: Pis) -> Iterator[Bench]:
    assert pis
    with Bench.ready(folder, stub=True) as made:
        yield made


def test_preflight_tells_what_a_pi_is_delivered_with(pis: Pis) -> None:
    found = judge([host(name, **real.look_at(pi.root)) for name, pi in pis.items()], ASKED)

    def noted(name: str) -> dict[str, Finding]:
        return {one.check: one for one in found if one.host == name and one.level != "ok"}

    assert set(noted("pi1")) == {"memory limit", "swap", "governor"}
    assert set(noted("pi2")) == {"throttling", "governor"}
    assert {one.level for name in pis for one in noted(name).values()} == {"note"}


def short_of_voltage(_: Bench, pis: Pis) -> None:
    """For one second between two looks of the driver; it sees the sticky bit, once."""
    for pi in pis.values():
        pi.hold_back(LIVE_VOLTAGE)
    time.sleep(1)
    for pi in pis.values():
        pi.hold_back(0)
        pi.poll()
    time.sleep(1.5 * throttling.EVERY_S)
    for pi in pis.values():
        pi.poll()


def swap(_: Bench, pis: Pis) -> None:
    pis["pi2"].swapped(300)


def reboot(bench: Bench, pis: Pis) -> None:
    """The agent is gone at once, and comes back late from another boot."""
    bench.cluster.stop("pi2")
    pis["pi2"].boot()


@pytest.mark.parametrize(
    ("happens", "status", "said"),
    [
        (
            short_of_voltage,
            "invalid:throttled",
            "pi1 was short of voltage (0x1) while it was measured, pi2 was short of voltage (0x1) "
            "while it was measured — the run does not count: ",
        ),
        (
            swap,
            "invalid:swapped",
            "pi2 swapped 300 pages out and 150 in while it was measured — the run does not count: ",
        ),
        (reboot, "failed:E_", "pi2"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_happens_in_mid_run_costs_that_run_alone(
    bench: Bench,
    pis: Pis,
    tmp_path: Path,
    happens: Callable[[Bench, Pis], None],
    status: str,
    said: str,
) -> None:
    gate = {"folder": str(tmp_path), "phase": "between_batches", "run": 1}
    controller = bench.control(tmp_path, gate=gate)
    trial.reach(tmp_path, "between_batches")
    happens(bench, pis)
    (tmp_path / "go").touch()
    if "pi2" not in bench.cluster.agents:
        time.sleep(AWAY_S)
        bench.cluster.start("pi2")
    assert bench.zygote.status(controller) == 0, (tmp_path / "log").read_text()
    bench.settle()
    first, *others = rows(tmp_path)
    assert first["status"].startswith(status), first["message"]
    assert said in first["message"]  # of a reboot its neighbour may be the first to tell
    assert [row["status"] for row in others] == ["ok", "ok"]
    trial.assert_complete((tmp_path / "home.jsonl").read_bytes(), bench.keys)
    watches = {host: facts["throttle_watch"] for host, facts in others[0]["hosts"].items()}
    assert {row["hosts"]["pi2"]["boot_id"] for row in others} == {pis["pi2"].boot_id}
    assert watches == {"pi1": "the kernel", "pi2": "the kernel, of voltage alone"}
