"""Keys of nodes: who may ask what of whom, and what a stolen node's are good for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.keys import Keys
from roles.runtime.filter_plugins.node_keys import command_keys, node_keys, other_keys
from tests.runtime.cluster import ADDRESSES, Cluster
from tests.runtime.test_pipeline import runs, sweep

SECRET, OWNER = "5a" * 32, "anna@laptop:/home/anna/paretopipe"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two agents with keys as provisioning makes them."""
    folder = tmp_path_factory.mktemp("keyed")
    for node in ADDRESSES:
        (folder / f"key-{node}").write_text(node_keys(SECRET, OWNER, node, ADDRESSES))
    (folder / "commands").write_text(command_keys(SECRET, OWNER, ADDRESSES))
    with Cluster.running(folder, forked=True) as made:
        yield made


def ask(cluster: Cluster, node: str, key: bytes, role: str) -> dict[str, Any]:
    hello = {"role": role, "run_id": "r", "stage": 0}
    address = (cluster.addresses[node], cluster.port)
    sock, server = handshake.connect(address, key, hello, timeout=5)
    try:
        sock.settimeout(5)
        assert sock.recv(1) == b""
    finally:
        sock.close()
    return server


def test_a_cell_is_measured_with_keys_of_their_own(cluster: Cluster, tmp_path: Path) -> None:
    plan = cluster.plan(repeats=1)
    prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
    done = sweep(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in runs(tmp_path)} == {"ok"}


@pytest.mark.parametrize("role", ["run", "deploy", "end", "anything"])
def test_a_stolen_node_commands_no_other(cluster: Cluster, role: str) -> None:
    stolen = Keys.read(cluster.folder / "key-pi2")
    log = cluster.folder / "pi1.log"
    before = log.read_text().count("E_ROLE")
    ask(cluster, "pi1", stolen.towards("pi1"), role)
    assert log.read_text().count("E_ROLE") == before + 1
    with pytest.raises(ParetoPipeError, match="E_AUTH"):
        ask(cluster, "pi1", stolen.own, role)


def test_every_key_is_another_and_both_ends_of_a_link_have_the_same(tmp_path: Path) -> None:
    nodes = ["pi1", "pi2", "server"]
    kept = {}
    for node in nodes:
        path = tmp_path / node
        path.write_text(node_keys(SECRET, OWNER, node, nodes))
        kept[node] = Keys.read(path)
    assert kept["pi1"].towards("pi2") == kept["pi2"].towards("pi1")
    every = [key for keys in kept.values() for key in (keys.own, *keys.links)]
    assert len(set(every)) == 3 + 3
    path = tmp_path / "orchestrator"
    path.write_text(command_keys(SECRET, OWNER, nodes))
    commands = Keys.read(path)
    assert (commands.own, commands.identity) == (b"", None)
    assert [commands.towards(node) for node in nodes] == [kept[node].own for node in nodes]
    with pytest.raises(ParetoPipeError, match="E_KEY: this host has no key for pi3, only for pi1"):
        commands.towards("pi3")
    assert not {key.hex() for key in every} & {SECRET}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no usable key in .*No such file"),
        ("", "holds no keys"),
        ("# of someone (00000000)\n", "holds no keys"),
        ("abcd", "a key has 2 bytes, expected 32"),
        ("- xyz", "no usable key"),
        (f"pi1 pi2 {SECRET}", "holds no keys"),
    ],
)
def test_a_file_without_keys_is_one_sentence(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ParetoPipeError, match=f"E_KEY: .*{words}.*playbooks/provision"):
        Keys.read(path)


def test_another_checkout_s_keys_are_known_by_their_first_line() -> None:
    ours = node_keys(SECRET, OWNER, "pi1", ["pi1"]).splitlines()[0]
    ben = "ben@desk:/srv/paretopipe"
    theirs = node_keys("b5" * 32, ben, "pi1", ["pi1"]).splitlines()[0]
    rotated = node_keys("b5" * 32, OWNER, "pi1", ["pi1"]).splitlines()[0]
    assert other_keys(theirs, SECRET, OWNER) == ben
    # Moved, rotated, from before keys were marked, or none yet.
    for line in (ours, rotated, "5a" * 32, ""):
        assert other_keys(line, SECRET, OWNER) == ""
    assert other_keys(ours, SECRET, ben) == ""
