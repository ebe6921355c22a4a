"""Units are tightly sandboxed and all rated, and no secret is in a command."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.playbooks import units

BENCH = Path(__file__).resolve().parents[2] / "roles/bench/tasks/main.yml"
CREDENTIALS = "${CREDENTIALS_DIRECTORY}"
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
    # It listens nowhere. Its agents' addresses are in a document, unknown to the role.
    "bench": (lambda: units.job("bench", "__bench_sandbox"), 2.0),
    # Root, to write below /sys; no network.
    "governor": (
        lambda: units.written(
            "worker", "paretopipe-governor.service.j2", worker_governor="performance"
        ),
        2.0,
    ),
    # Root with CAP_NET_ADMIN, for it calls tc in the host's own network; nothing that may fail.
    "end of the shaping": (units.netem_revert, 4.5),
    # The same, and it listens, for who proves to have a sweep's key.
    "keeper": (lambda: units.transient(units.words("netem", "__netem_keeper_run")), 4.5),
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
    """Lists new templates and `systemd-run` commands, except the testbed's."""
    found = sorted(
        str(path.relative_to(units.ROLES))
        for role in units.ROLES.iterdir()
        for path in role.rglob("*")
        if role.name != "testbed" and path.is_file() and starts_a_unit(path)
    )
    assert found == [
        "job/vars/main.yml",
        "netem/files/netem_keeper.py",
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


def test_the_agent_s_command_carries_no_secret_and_no_wildcard() -> None:
    text = units.worker()
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert "--address 192.0.2.11 --port 47470" in command
    assert "--key-file ${CREDENTIALS_DIRECTORY}/key" in command
    assert "LoadCredential=key:/etc/paretopipe/key" in text
    assert "--certificate ${CREDENTIALS_DIRECTORY}/certificate --authority ${CRED" in command
    assert "LoadCredential=certificate:/etc/paretopipe/certificate.pem" in text
    assert "LoadCredential=authority:/etc/paretopipe/authority.pem" in text
    assert "Environment=OPENSSL_CONF=/etc/paretopipe/openssl.cnf" in text
    assert "LogRateLimitIntervalSec=30s\nLogRateLimitBurst=50\n" in text
    assert "IPAddressDeny=any" in text
    assert "IPAddressAllow=localhost 192.0.2.10 192.0.2.11 192.0.2.12" in text


def test_a_host_without_a_certificate_has_an_agent_without_tls() -> None:
    text = units.worker(worker_certificate_file="")
    assert "certificate" not in text
    assert "OPENSSL_CONF" not in text
    assert "LoadCredential=key:/etc/paretopipe/key" in text


def test_rpc_is_off_unless_it_is_allowed() -> None:
    assert "insecure" not in units.worker()
    assert "AF_NETLINK" not in units.worker()
    text = units.worker(worker_allow_insecure_rpc=True)
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert command.endswith("--node pi1 --allow-insecure-rpc")
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\n" in text


def test_a_host_can_drop_what_it_cannot_do() -> None:
    text = units.worker(worker_sandbox_drop=["PrivateUsers", "ProtectSystem"])
    assert "PrivateUsers" not in text
    assert "ReadWritePaths" not in text
    assert "NoNewPrivileges=yes" in text


def test_the_agent_sees_a_gpu_only_where_it_is_to_compute_there() -> None:
    hidden, shown = units.worker(), units.worker(worker_device="cuda")
    for line in ("PrivateDevices=", "PrivateUsers=", "ProtectClock="):
        assert f"{line}yes\n" in hidden
        assert f"{line}no\n" in shown
    assert "nvidia" not in hidden
    assert "SupplementaryGroups" not in hidden
    assert "SupplementaryGroups=video\n" in shown
    assert shown.count("ExecStartPre=-+/usr/bin/nvidia-modprobe -c 0 -u\n") == 1
    second = units.worker(worker_device="cuda:1")
    assert re.findall(r"nvidia-modprobe -c (\d)", shown + second) == ["0", "0", "1"]
    # Protects the clock without ProtectClock.
    assert "CapabilityBoundingSet=\n" in shown
    assert "SystemCallFilter=~@privileged\n" in shown


def command(**variables: str) -> list[str]:
    tasks = yaml.safe_load(BENCH.read_text())
    (node,) = [task for task in tasks if task["name"] == "Have a node of the benchmark"]
    (task,) = [task for task in node["block"] if task["name"] == "Start the node"]
    told = {"bench_address": "192.0.2.11", "bench_peers": ["192.0.2.11"], **variables}
    job = {
        name: units.value("bench", text.strip("{} "), **told) for name, text in task["vars"].items()
    }
    words = units.words("job", "__job_start + job_command", **job, job_units="")
    return [str(word) for word in words]


def test_its_certificate_reaches_it_as_a_credential() -> None:
    words = command()
    before, after = words[: words.index("-m")], words[words.index("-m") :]
    assert "--property=LoadCredential=certificate:/etc/paretopipe/certificate.pem" in before
    assert "--property=LoadCredential=authority:/etc/paretopipe/authority.pem" in before
    assert "--setenv=OPENSSL_CONF=/etc/paretopipe/openssl.cnf" in before
    assert after[after.index("--certificate") + 1] == f"{CREDENTIALS}/certificate"
    assert after[after.index("--authority") + 1] == f"{CREDENTIALS}/authority"
    assert after[after.index("--key-file") + 1] == f"{CREDENTIALS}/key"


def test_a_host_without_a_certificate_has_a_node_without_tls() -> None:
    words = command(bench_certificate_file="")
    assert not [word for word in words if "certificate" in word or "OPENSSL" in word]
    assert "--property=LoadCredential=key:/etc/paretopipe/key" in words
