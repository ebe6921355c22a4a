"""The preflight on a real SSH server in a network namespace."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import namespaces
from tests.effort import THOROUGH
from tests.preflight import real

ROOT = Path(__file__).resolve().parents[2]
SWEEP = "pytest-preflight"
KEPT = ROOT / f"experiments/results/{SWEEP}"
OURS, THEIRS, ALSO_THEIRS = "10.99.77.1", "10.99.77.11", "10.99.77.12"
OTHER_PORT = 2222  # or both hosts would share one connection
ASKED = f"model=alexnet pairings=pi_to_pi sweep={SWEEP}"
Run = Callable[..., Any]


def do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the host's key, an authorised user's and another."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("host", "user", "stranger"):
        do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"{THEIRS} {key}[{THEIRS}]:{OTHER_PORT} {key}")
    return folder


@pytest.fixture(scope="module")
def server(keys: Path) -> Iterator[int]:
    """An SSH server at a cable's other end, in namespace ppf0; yields its process ID."""
    if why := namespaces.refused("ip", "tc"):
        pytest.skip(why)
    if shutil.which("sshd", path="/usr/sbin") is None:
        pytest.skip("there is no sshd: apt install openssh-server")
    config = keys / "sshd_config"
    config.write_text(
        f"ListenAddress {THEIRS}:22\nListenAddress {THEIRS}:{OTHER_PORT}\n"
        f"HostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\n"
        "StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nUsePAM no\nPidFile none\n"
    )
    needed = Path("/run/sshd")
    made = not needed.exists()
    needed.mkdir(mode=0o755, exist_ok=True)
    do("ip", "netns", "add", "ppf0")
    inside = ("ip", "netns", "exec", "ppf0")
    daemon = None
    try:
        do("ip", "link", "add", "ppfa", "type", "veth", "peer", "name", "ppfb", "netns", "ppf0")
        do("ip", "address", "add", f"{OURS}/24", "dev", "ppfa")
        do("ip", "link", "set", "ppfa", "up")
        for address in (THEIRS, ALSO_THEIRS):
            do(*inside, "ip", "address", "add", f"{address}/24", "dev", "ppfb")
        do(*inside, "ip", "link", "set", "ppfb", "up")
        with (keys / "sshd.log").open("wb") as log:
            daemon = subprocess.Popen(
                [*inside, "/usr/sbin/sshd", "-D", "-e", "-f", str(config)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for_sshd(daemon, keys / "sshd.log")
        yield daemon.pid
    finally:
        listed = subprocess.run(["ip", "netns", "pids", "ppf0"], capture_output=True, text=True)
        for pid in listed.stdout.split():  # the server, and Ansible's open sessions
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if daemon:
            daemon.wait(10)
        subprocess.run(["ip", "link", "del", "ppfa"], capture_output=True)
        do("ip", "netns", "del", "ppf0")
        if made:
            needed.rmdir()


def wait_for_sshd(daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while "Server listening" not in log.read_text():
        assert daemon.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    shutil.rmtree(KEPT, ignore_errors=True)
    yield
    shutil.rmtree(KEPT, ignore_errors=True)


def inventory(keys: Path, folder: Path, **pi2: Any) -> Path:
    """Write an inventory with this host as both Pis; `folder` has their installations."""
    options = f"-F /dev/null -o UserKnownHostsFile={keys}/known_hosts -o IdentitiesOnly=yes"
    common = {
        "ansible_host": THEIRS,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": f"{keys}/user",
        "ansible_ssh_common_args": f"{options} -o StrictHostKeyChecking=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
        "experiment_ip": THEIRS,
        "experiment_interface": "ppfb",
        "emulation": "processes",  # or one host with two names would stop it
        "runtime_state_dir": f"{folder}/state",
        "runtime_home": f"{folder}/home",
    }
    local = {"ansible_connection": "local"}
    other = {"ansible_port": OTHER_PORT, "experiment_ip": ALSO_THEIRS}
    groups = {
        "controller": {"hosts": {"localhost": local}},
        "orchestrator": {"hosts": {"pi2": None}},
        "workers": {"hosts": {"pi1": common, "pi2": {**common, **other, **pi2}}},
        "pis": {"hosts": {"pi1": None, "pi2": None}},
        "netem_hosts": {"hosts": {"pi1": None}},
    }
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(groups, sort_keys=False))
    return path


@pytest.mark.usefixtures("server")
def test_without_a_model_all_are_looked_at(playbook: Run, keys: Path, tmp_path: Path) -> None:
    hosts = str(inventory(keys, tmp_path, worker_memory_max="900M"))
    done = playbook("preflight", "-i", hosts, "-e", "pairings=pi_to_pi scenarios=baseline")
    assert done.status == 0, done.output  # a model not asked for stops nothing
    assert "note: vgg16 takes about 1444 MiB in one stage" in done.output
    assert not (ROOT / "experiments/results/all/preflight.json").exists()


@pytest.mark.usefixtures("server")
def test_fit_hosts_pass_and_what_was_seen_is_kept(
    playbook: Run, keys: Path, tmp_path: Path
) -> None:
    hosts = str(inventory(keys, tmp_path))
    if THOROUGH:
        asked = f"{ASKED} scenarios=baseline"
        checked = playbook("preflight", "-i", hosts, "-e", asked, "--check")
        assert checked.status == 0, checked.output
        assert not KEPT.exists()
    done = playbook("preflight", "-i", hosts, "-e", f"{ASKED} scenarios=baseline")
    assert done.status == 0, done.output
    assert "pi1  login " in done.output
    assert "torch 2.13.0 to be tried after provisioning" in done.output
    kept = json.loads((KEPT / "preflight.json").read_text())
    assert set(kept["hosts"]) == {"pi1", "pi2"}
    pi1 = kept["hosts"]["pi1"]
    assert (pi1["experiment"], pi1["shaped"], pi1["ssh"]) == ("ppfb", "ppfb", "ppfb")
    assert 0 < pi1["answer_s"] < 5
    assert 0 < pi1["login_s"] < 5
    assert abs(pi1["clock_offset_s"]) <= pi1["clock_slack_s"] < 2
    assert not [finding for finding in kept["findings"] if finding["level"] == "stop"]


def test_all_that_is_wrong_is_told_at_once(
    server: int, playbook: Run, keys: Path, tmp_path: Path
) -> None:
    real.sigill(tmp_path / "home")
    (tmp_path / "state").mkdir()
    stranger = {"ansible_ssh_private_key_file": f"{keys}/stranger"}
    hosts = str(inventory(keys, tmp_path, **stranger))
    versions = '{"runtime_versions": {"torch": "2.10.0", "torchvision": "0.25.0"}}'
    inside = ("nsenter", "--net", "--mount", f"--target={server}")
    shaping = ("tc", "qdisc", "add", "dev", "ppfb", "root", "handle", "1:")
    do(*inside, *shaping, *("tbf", "rate", "100mbit", "burst", "32kb", "latency", "50ms"))
    do(*inside, "mount", "-t", "tmpfs", "-o", "size=2m", "ppf", str(tmp_path / "state"))
    try:
        done = playbook("preflight", "-i", hosts, "-e", f"{ASKED} scenarios=wan", "-e", versions)
    finally:
        do(*inside, "umount", str(tmp_path / "state"))
        do(*inside, "tc", "qdisc", "del", "dev", "ppfb", "root")
    assert done.status != 0
    (sentence,) = done.errors
    assert "pi1: torch 2.10.0 dies with an illegal instruction in a convolution" in sentence
    assert f"pi1: 2 MiB are free for {tmp_path}/state, expected " in sentence
    assert "pi1: ppfb has a tbf qdisc (1:) that is not ParetoPipe's" in sentence
    assert "pi2: logging in failed (" in sentence
    assert "Permission denied" in sentence
    assert sentence.endswith("-e preflight=false goes on regardless")
    assert "note: SSH comes in over ppfb too, which is to be shaped" in " ".join(
        done.output.split()
    )


def test_it_is_left_out_when_told_so(playbook: Run) -> None:
    done = playbook("preflight", "-i", "inventory/lab", "-e", "preflight=false model=alexnet")
    assert done.status == 0, done.output
    assert "preflight=false: no host is looked at before it is used" in done.output
    assert not (ROOT / "experiments/results/alexnet/preflight.json").exists()
