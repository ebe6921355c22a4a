"""A detached sweep: its order, what fails, what stops it, and runs whose network was another."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.cli import main
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.job import COMPLETE, INCOMPLETE, INTERRUPTED
from paretopipe_runtime.orchestrator import loop
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.night import Night, measure
from paretopipe_runtime.wire.keys import Keys
from tests.runtime.cluster import Cluster

NETEM = {"delay": "0ms", "rate": "1gbit"}
KEYS = Keys(bytes(32))
Asked = list[tuple[str, int | None]]


def plan(cell: str, scenario: str = "") -> dict[str, Any]:
    named = {"name": scenario or "baseline", "netem": NETEM if scenario else None}
    return {"cell_id": cell, "workers": [{"host": "pi1"}, {"host": "pi2"}], "scenario": named}


def document(plans: Sequence[dict[str, Any]], visits: Sequence[str], **more: Any) -> dict[str, Any]:
    measured = {"pi1": {"pi2": {"rtt_ms": 1.0, "rate_mbit": 900.0}}}
    return {
        "sweep": "x",
        "plans": plans,
        "visits": visits,
        "networks": {name: {"measured": measured, "ways": None} for name in ("", "lan")},
        "first": 1,
        "expected_s": {"b": 60.0},
        "keepers": [],
        "relay": {},
        "report": {},
        **more,
    }


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return the visits of a loop that measures nothing."""
    visits: Asked = []

    def visit(plan: dict[str, Any], _files: Any, _keys: Any, first: Any, stopping: Any) -> Any:
        cell = plan["cell_id"]
        visits.append((cell, first))
        assert plan["scenario"]["measured"]["rtt_ms"] == 1.0
        if cell == "broken":
            raise ParetoPipeError("E_PLAN", "it is broken")
        if cell == "stopped":
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopping
            return INTERRUPTED, "stopped"
        return (INCOMPLETE, "2 of 4") if cell == "bad" else (COMPLETE, "all")

    monkeypatch.setattr(loop, "measure", visit)
    return visits


@pytest.mark.parametrize(
    ("cells", "code", "done", "failures"),
    [
        (["a", "b"], COMPLETE, 3, {}),
        (["a", "bad", "broken"], INCOMPLETE, 4, {"bad": "2 of 4", "broken": "it is broken"}),
        (["a", "stopped", "b"], INTERRUPTED, 2, {}),
    ],
)
def test_every_visit_gets_its_turn_until_it_is_stopped(
    asked: Asked, tmp_path: Path, cells: list[str], code: int, done: int, failures: dict[str, str]
) -> None:
    visits = ["a first", *cells, "not planned"]
    night = Night.of(document([plan(cell) for cell in cells], visits))
    told = tmp_path / "told.json"
    assert measure(night, tmp_path, KEYS, told)[0] == code
    every = [("a", 1), *((cell, None) for cell in cells)]
    assert asked == every[: done + (code == INTERRUPTED)]
    seen = json.loads(told.read_text())
    assert (seen["done"], seen["visits"], seen["failures"]) == (done, len(every), failures)
    assert seen["finished"] == (code != INTERRUPTED)


@pytest.mark.usefixtures("asked")
def test_the_network_is_put_back_at_the_end(tmp_path: Path) -> None:
    def says(word: str) -> list[str]:
        return ["sh", "-c", f'echo {word} >> {tmp_path}/log; echo \'{{"mark": "1"}}\'']

    relay = {"start": {"lan": says("lan")}, "stop": says("stop")}
    night = Night.of(document([plan("a"), plan("b", "lan")], ["a", "b"], relay=relay))
    assert measure(night, tmp_path, KEYS, tmp_path / "told.json")[0] == COMPLETE
    assert (tmp_path / "log").read_text().split() == ["stop"], "the loop asks for the others"


def test_a_malformed_list_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.json").write_text(json.dumps(document([{"cell_id": "a"}], ["a"])))
    (tmp_path / "key").write_text("00" * 32)
    words = ["--key-file", str(tmp_path / "key"), "--state-dir", str(tmp_path)]
    told = ["--told", str(tmp_path / "told.json")]
    assert main(["night", str(tmp_path / "list.json"), *told, *words]) == 2
    assert capsys.readouterr().err.startswith("E_PLAN: the sweep's list is malformed: KeyError")


def test_a_run_whose_network_was_interrupted_does_not_count_and_is_measured_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    shaped = {**cluster.plan(), "scenario": {"name": "lan", "netem": NETEM}}
    prepare_cells([shaped], cluster.state_dir, cluster.keys, lambda _: None)
    cell = shaped["cell_id"]
    # Held from the first to the second run's end; then there is another shaping.
    count = f"echo >> {tmp_path}/log; test $(wc -l < {tmp_path}/log) -lt 3 && echo"
    start = ["sh", "-c", f'{count} \'{{"mark": "1"}}\' || echo \'{{"mark": "2"}}\'']
    relay = {"start": {"lan": start}, "stop": ["echo", "{}"]}
    found = {"measured": {}, "ways": None}
    todo = document([shaped], [cell], relay=relay, networks={"lan": found}, first=0)
    (tmp_path / "list.json").write_text(json.dumps(todo))
    words = ["--key-file", str(cluster.key_file), "--state-dir", str(cluster.state_dir)]
    told = ["--told", str(tmp_path / "told.json")]
    assert main(["night", str(tmp_path / "list.json"), *told, *words]) == 0
    lines = (cluster.state_dir / f"sweeps/x/{cell}.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "run"]
    statuses = [row["status"] for row in rows]
    assert statuses.count("invalid:shaping_lost") == 1
    assert statuses[1] == "invalid:shaping_lost"
    assert "was interrupted" in rows[1]["message"]
    assert statuses.count("ok") == len({row["run_key"] for row in rows})
