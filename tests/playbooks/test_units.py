"""Every unit of ours is as tight by systemd's own measure as it can be, and none is left out."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.playbooks import units

PLAN = {"workers": [{"address": "192.0.2.11"}], "hub": {"address": "192.0.2.12"}}
SWEEP = {"sweep_plan": PLAN, "sweep_name": "x", "sweep_results_dir": "/x"}
PROBE = {
    "netem_peers": [{"host": "pi2", "address": "192.0.2.12"}],
    "netem_source": {"address": "192.0.2.11"},
}
NETWORK_FACING, WITH_A_GPU = 2.0, 2.5
UNITS: dict[str, tuple[Callable[[], str], float]] = {
    "agent": (units.worker, NETWORK_FACING),
    "agent with RPC": (lambda: units.worker(worker_allow_insecure_rpc=True), NETWORK_FACING),
    "agent with a GPU": (lambda: units.worker(worker_device="cuda:1"), WITH_A_GPU),
    "sweep": (lambda: units.job("sweep", "__sweep_sandbox", **SWEEP), 2.0),
    # A GPU, any address of the internet, and a data set in /tmp or below somebody's home.
    "training": (lambda: units.job("finetune", "__finetune_sandbox"), 2.5),
    "rate probe": (
        lambda: units.transient(units.words("netem", "__netem_probe_run", **PROBE)),
        NETWORK_FACING,
    ),
    "bench node": (
        lambda: units.job("bench", "__bench_sandbox_node", bench_peers=["192.0.2.11"]),
        NETWORK_FACING,
    ),
    # It listens nowhere. Its agents' addresses are in a document that the role does not read.
    "bench": (lambda: units.job("bench", "__bench_sandbox"), 2.0),
    # Root, for it writes below /sys; no network.
    "governor": (
        lambda: units.written(
            "worker", "paretopipe-governor.service.j2", worker_governor="performance"
        ),
        2.0,
    ),
    # Root with CAP_NET_ADMIN, for it calls tc in the host's own network; nothing that may fail.
    "end of the shaping": (units.netem_revert, 4.5),
}


@pytest.mark.parametrize("name", UNITS)
def test_systemd_rates_it_as_safe(tmp_path: Path, name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt install systemd")
    make, most = UNITS[name]
    path = tmp_path / "paretopipe-unit.service"
    path.write_text(make())
    command = ["systemd-analyze", "security", "--no-pager", "--offline=yes"]
    done = subprocess.run(
        [*command, f"--threshold={round(10 * most)}", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    print(done.stdout[-100:])
    assert done.returncode == 0, done.stdout[-400:] + done.stderr
    assert "Unknown" not in done.stderr, done.stderr


def test_no_role_starts_a_unit_that_is_not_rated() -> None:
    """A new template or `systemd-run` has to be entered above; the testbed's are no host's."""
    found = sorted(
        str(path.relative_to(units.ROLES))
        for role in units.ROLES.iterdir()
        for path in role.rglob("*")
        if role.name != "testbed" and path.is_file() and starts_a_unit(path)
    )
    assert found == [
        "job/vars/main.yml",
        "netem/library/tc_netem.py",
        "netem/module_utils/netem_lease.py",
        "netem/vars/main.yml",
        "worker/templates/paretopipe-governor.service.j2",
        "worker/templates/paretopipe-worker.service.j2",
    ]


def starts_a_unit(path: Path) -> bool:
    if path.suffix in {".pyc", ".md"}:
        return False
    return ".service" in path.name or bool(re.search(r"\bsystemd[-_]run\b", path.read_text()))
