"""Another host finds nothing on the experiment network during runs, and the key nowhere."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.orchestrator.forecast import prepare_cells
from tests import namespaces
from tests.runtime import test_profile as profile
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import command, no_stage_left, runs, sweep, wait_until
from tests.runtime.test_rpc import plan_of
from tests.wire.neighbour import HOSTS, ROOT, WAYS, Neighbour, listeners, ports

CANARY = b"PPW-CANARY-in-no-log-nor-record!"
FORMS = (
    CANARY,
    CANARY.hex().encode(),
    base64.b64encode(CANARY)[:-4],
    CANARY.hex().upper().encode(),
)
BACKENDS = ("socket", "rpc", "rpc_hub")
LONG, ENDLESS = 300, 100_000  # batches: some seconds; longer than any stranger

pytestmark = namespaces.needed("ip", "tc", "nft")


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Neighbour]:
    with namespaces.own_network(), Neighbour.connected() as made:
        yield made


@pytest.fixture(scope="module")
def hosts(neighbour: Neighbour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start both agents where the neighbour can reach them."""
    assert neighbour
    folder = tmp_path_factory.mktemp("hosts")
    addresses = dict(zip(("pi1", "pi2"), HOSTS, strict=True))
    with Cluster.running(folder, "--allow-insecure-rpc", key=CANARY, addresses=addresses) as made:
        prepare_cells([made.plan(backend="rpc")], made.state_dir, made.keys, lambda _: None)
        yield made


def plan(cluster: Cluster, backend: str, **changes: Any) -> dict[str, Any]:
    document = plan_of(cluster, backend, splits=[[3]], repeats=1, **changes)
    if backend == "rpc_hub":
        document["hub"]["address"] = cluster.addresses["pi2"]
    return document


@contextmanager
def strangers_refused(cluster: Cluster) -> Iterator[None]:
    """Load the nftables rules of the agents' units."""
    variables = {
        "worker_allow_insecure_rpc": True,
        "worker_peers": HOSTS,
        "worker_address": HOSTS[0],
        "worker_port": cluster.port,
        "__worker_ports": Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split(),
    }
    make = [sys.executable, "-m", "tests.playbooks.units", json.dumps(variables)]
    text = subprocess.check_output(make, text=True, cwd=ROOT)
    load, unload = (
        shlex.split(re.search(rf"^{name}=-?\+(.*)$", text, re.MULTILINE)[1])
        for name in ("ExecStartPre", "ExecStopPost")
    )
    other = [word.replace(HOSTS[0] + " ", HOSTS[1] + " ") for word in load]
    assert other != load
    for rules in (load, [word.replace("paretopipe_worker", "of_pi2") for word in other]):
        subprocess.run(rules, check=True)
        subprocess.run(rules, check=True)  # as after a restart
    try:
        yield
    finally:
        subprocess.run(unload, check=True)
        subprocess.run(unload, check=True)
        subprocess.run(["nft", "delete", "table", "inet", "of_pi2"], check=True)
    assert "paretopipe" not in subprocess.check_output(["nft", "list", "ruleset"], text=True)


@contextmanager
def measuring(
    cluster: Cluster, folder: Path, backend: str, batches: int = ENDLESS
) -> Iterator[set[str]]:
    """Run until the block ends (`LONG`: to completion); yield the listeners."""
    wait_until(lambda: no_stage_left(cluster))
    idle = listeners()
    document = plan(cluster, backend, throughput_batches=batches)
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command(cluster, folder, document), stdout=said, stderr=said)
    try:
        more = 0 if backend == "socket" else 2
        wait_until(lambda: all(map(cluster.stage_processes, cluster.agents)))
        wait_until(lambda: len(listeners() - idle) >= more)
        yield listeners()
        if batches == LONG:
            assert process.poll() is None, "the run was over too soon to say anything"
            assert process.wait(120) == 0, (folder / "said").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_port_is_a_wildcards_and_every_one_refuses_a_stranger(
    hosts: Cluster, neighbour: Neighbour, tmp_path: Path, backend: str
) -> None:
    found = {}
    with strangers_refused(hosts), measuring(hosts, tmp_path, backend, LONG) as open_ports:
        for address in HOSTS:
            for port in ports(open_ports):
                for way in WAYS:
                    found[address, port, way] = neighbour.met(address, port, way)
    assert [row["status"] for row in runs(tmp_path)] == ["ok"]
    assert {where.rpartition(":")[0] for where in open_ports} <= {*HOSTS, "127.0.0.1"}
    assert set(found.values()) == {"refused"}, found


def test_the_agents_themselves_refuse_a_stranger(
    hosts: Cluster, neighbour: Neighbour, tmp_path: Path
) -> None:
    """Without the rules: accepted, then closed."""
    found = {}
    with measuring(hosts, tmp_path, "socket") as open_ports:
        assert open_ports == {f"{address}:{hosts.port}" for address in HOSTS}
        for address in HOSTS:
            for way in WAYS:
                found[address, way] = neighbour.met(address, hosts.port, way)
    assert set(found.values()) == {"closed"}, found


def test_without_the_rules_rpc_takes_anyone(
    hosts: Cluster, neighbour: Neighbour, tmp_path: Path
) -> None:
    """A silent connection can end a run: hence the rules."""
    with measuring(hosts, tmp_path, "rpc") as open_ports:
        theirs = [where for where in open_ports if not where.endswith(f":{hosts.port}")]
        found = {
            neighbour.met(address, port, "silence") for address in HOSTS for port in ports(theirs)
        }
    assert found & {"left open", "closed"}, found


class Watch:
    """Records all processes' arguments and environments in this network."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.found: list[str] = []
        self._over = threading.Event()
        self._here = Path("/proc/thread-self/ns/net").readlink()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if (process / "ns/net").readlink() == self._here:
                        self._read(process)
                except OSError:
                    continue

    def _read(self, process: Path) -> None:
        for name in ("cmdline", "environ"):
            if holds_the_key((process / name).read_bytes()):
                self.found.append(f"{name} of {(process / 'cmdline').read_bytes()!r}")
        self.seen.add(int(process.name))


def holds_the_key(content: bytes) -> bool:
    return any(form in content for form in FORMS)


def test_the_key_is_found_where_it_is() -> None:
    for form in (CANARY, CANARY.hex().encode(), base64.b64encode(CANARY)):
        assert holds_the_key(b"..." + form + b"...")
    with Watch() as watch:
        subprocess.run(["sleep", "0.3"], env={**os.environ, "KEY": CANARY.hex()}, check=True)
    assert watch.found


@pytest.mark.timeout(300)
def test_the_key_is_in_no_log_argument_environment_or_record(
    hosts: Cluster, tmp_path: Path
) -> None:
    with Watch() as watch:
        for backend in BACKENDS:
            folder = tmp_path / backend
            folder.mkdir()
            kill_a_stage(hosts, folder, backend)
        folder = tmp_path / "profile"
        folder.mkdir()
        document = profile.plan_of(hosts)
        told = subprocess.run(
            profile.command(hosts, folder, document), capture_output=True, timeout=120
        )
        assert told.returncode == 0, told.stderr
        (folder / "said").write_bytes(told.stdout + told.stderr)
        another_key(hosts, tmp_path)
    assert watch.found == []
    assert len(watch.seen) > 2 + 2 + 3 * 2
    files = [
        path
        for folder in (hosts.folder, tmp_path)
        for path in folder.rglob("*")
        if path.is_file() and path != hosts.key_file
    ]
    assert {path.name for path in files} >= {"pi1.log", "cell.jsonl", "profile.jsonl", "said"}
    assert [path for path in files if holds_the_key(path.read_bytes())] == []


def kill_a_stage(cluster: Cluster, folder: Path, backend: str) -> None:
    """Kill a stage, then repeat the run."""
    wait_until(lambda: no_stage_left(cluster))
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command(cluster, folder, plan(cluster, backend, throughput_batches=60)),
            stdout=said,
            stderr=said,
        )
    wait_until(lambda: cluster.stage_processes("pi2"))
    os.kill(cluster.stage_processes("pi2")[0], signal.SIGKILL)
    assert process.wait(120) == 0
    assert [row["status"] for row in runs(folder)] == ["failed:E_KILLED", "ok"]


def another_key(cluster: Cluster, folder: Path) -> None:
    here = folder / "another"
    here.mkdir()
    key = here / "key"
    for content, told in ((bytes(32).hex(), "do not share a key"), (f"{CANARY.hex()}0x", "E_KEY")):
        key.write_text(content)
        done = sweep(cluster, here, plan(cluster, "socket"), "--key-file", str(key))
        assert done.returncode, done.stdout
        with (here / "said").open("a") as said:
            said.write(done.stdout + done.stderr)
        assert told in done.stderr
    key.unlink()
