"""A unit without systemd: one of a name, its words, its end and the end of all it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from paretopipe_runtime.supervisor import MARK
from paretopipe_runtime.unit import Unit, stop
from tests.playbooks.conftest import load

ROOT = Path(__file__).parents[2]
Do = Callable[..., Any]


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    one = Unit(tmp_path / "units", "one")
    yield one
    stop(one)


@pytest.fixture
def do(unit: Unit) -> Do:
    """Return the function that runs a subcommand; where it fails, it returns the sentence."""

    def call(what: str, *options: str, command: str = "") -> Any:
        words = [what, unit.name, "--dir", str(unit.folder), *options]
        words += ["--", "sh", "-c", command] if command else []
        done = subprocess.run(
            [sys.executable, "-m", "paretopipe_runtime.cli", "unit", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            return done.stderr.strip()
        return json.loads(done.stdout) if what != "hold" else done.stdout.strip()

    return call


@pytest.fixture(scope="module")
def follow() -> ModuleType:
    return load("roles/job/action_plugins/follow_job.py")


def seen(follow: ModuleType, unit: Unit) -> Any:
    """What a controller's poll sees of the unit."""
    lease = unit.folder / "lease"
    line = follow.poll_command(unit.name, str(lease), "/nonexistent", str(unit.folder))
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True)
    assert lease.exists()
    assert not done.stderr
    return follow.parse(done.stdout)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def marked(unit: Unit, mark: str = "") -> list[int]:
    """The processes that the unit has started, wherever they have gone."""
    mark = f"{MARK}={mark or unit.state()['Mark']}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_how_it_ended_is_told_as_systemd_tells_it(
    do: Do, unit: Unit, follow: ModuleType, tmp_path: Path
) -> None:
    unit.folder.mkdir()
    assert follow.verdict(seen(follow, unit)).startswith("the sweep was stopped from outside")
    for command, state, words in (
        ("exit 0", "inactive", "stopped from outside"),
        ("echo E_PLAN: no; exit 2", "failed", "E_PLAN: no"),
        ("kill -9 $$", "failed", "ended without a word (signal, status 9)"),
    ):
        go = tmp_path / "go"
        go.unlink(missing_ok=True)
        assert do("start", command=f"until [ -e {go} ]; do sleep 0.05; done; {command}")["changed"]
        assert seen(follow, unit).running
        go.touch()
        until(lambda: not seen(follow, unit).running)
        assert seen(follow, unit).unit["ActiveState"] == state
        assert words in follow.verdict(seen(follow, unit))


def test_there_is_one_of_a_name(do: Do, unit: Unit) -> None:
    do("start", command="exec sleep 100")
    (pid,) = marked(unit)
    kept = unit.folder / "progress"
    kept.touch()
    os.utime(kept, (0, 0))
    said = do("start", "--touch", str(kept), "--remove", str(kept), command="exec sleep 100")
    assert kept.stat().st_mtime == 0, "nor are its files touched"
    assert said.startswith(f"E_BUSY: one is running already, as process {unit.state()['Pid']}")
    assert marked(unit) == [pid], "it was left alone"


def test_stopping_ends_all_that_it_started(do: Do, unit: Unit, follow: ModuleType) -> None:
    do("start", command="setsid sleep 100 & sleep 100 & wait")
    until(lambda: len(marked(unit)) == 3)
    mark = unit.state()["Mark"]
    assert do("stop", "--check") == {"changed": True}
    assert len(marked(unit)) == 3
    assert do("stop") == {"changed": True}
    assert not unit.running()
    assert not marked(unit, mark)
    assert follow.verdict(seen(follow, unit)).startswith("the sweep was stopped from outside")
    assert do("stop") == {"changed": False}


def test_one_whose_supervisor_was_killed_is_not_believed(
    do: Do, unit: Unit, follow: ModuleType
) -> None:
    do("start", command="setsid sleep 100 & echo up; wait")
    until(lambda: len(marked(unit)) == 2)
    os.kill(int(unit.state()["Pid"]), signal.SIGKILL)
    until(lambda: not unit.running())
    assert "ActiveState=active" in unit.file.read_text()
    assert follow.verdict(seen(follow, unit)).startswith("up"), "failed, and its last words"
    mark = unit.state()["Mark"]
    assert marked(unit), "what left its session outlived it"
    do("start", command="exec sleep 100")
    assert not marked(unit, mark)


@pytest.mark.parametrize("word", ["Boot", "Started"])
def test_a_file_from_before_a_reboot_or_of_another_process_is_not_believed(
    do: Do, unit: Unit, follow: ModuleType, word: str
) -> None:
    do("start", command="exec sleep 100")
    assert seen(follow, unit).running
    kept = unit.file.read_text()
    unit.file.write_text(kept.replace(f"{word}=", f"{word}=1"))
    assert not seen(follow, unit).running
    unit.file.write_text(kept)


def test_it_is_started_anew_only_where_it_is_another(do: Do) -> None:
    same = ("--ensure", "--hear", "up", "--of", "code 1")
    first = do("start", *same, command="echo up; exec sleep 100")
    assert first["said"] == "up"
    assert do("start", "--check", *same, command="echo up; exec sleep 100") == {"changed": False}
    assert do("start", *same, command="echo up; exec sleep 100") == {**first, "changed": False}
    for other in ((*same[:-1], "code 2"), (*same, "--cpu", "-1")):
        assert do("start", "--check", *other, command="echo up; exec sleep 100") == {
            "changed": True
        }
        assert do("start", *other, command="echo up; exec sleep 100")["changed"]


def test_what_it_says_is_waited_for_or_its_last_words_are_told(do: Do, unit: Unit) -> None:
    heard = do("start", "--hear", "{", command='echo E_X: wait; sleep 0.3; echo "{}"; sleep 100')
    assert heard["said"] == "{}"
    do("stop")
    for command in ("echo E_X: no address >&2; exit 2", "sleep 0.2; echo E_X: no address"):
        said = do("start", "--restart", "--hear", "serves", command=command)
        assert said == "E_UNIT: one did not start: E_X: no address"
    assert "E_UNIT: one cannot be started: No such file" in do("start", "--cwd=/no", command=":")
    assert not unit.running()


def test_a_lease_is_renewed_for_the_one_it_was_made_for(do: Do, unit: Unit) -> None:
    lease = unit.folder / "lease"
    mark = do("start", "--touch", str(lease), command="exec sleep 100")["mark"]
    os.utime(lease, (0, 0))
    assert do("hold", "--mark", "another", "--lease", str(lease)) == "lost"
    assert lease.stat().st_mtime == 0
    assert do("hold", "--mark", mark, "--lease", str(lease)) == "held"
    assert lease.stat().st_mtime > 0
    do("stop")
    assert do("hold", "--mark", mark, "--lease", str(lease)) == "lost"


def test_it_has_the_processor_it_was_given(do: Do, unit: Unit) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    for number in (0, -1, len(allowed)):
        do("start", "--ensure", f"--cpu={number}", command="exec sleep 100")
        (pid,) = marked(unit)
        assert os.sched_getaffinity(pid) == {allowed[number % len(allowed)]}


def test_what_had_lived_is_started_again(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paretopipe_runtime import supervisor
    from paretopipe_runtime.unit import start

    monkeypatch.setattr(supervisor, "LIVED_S", 0.2)
    monkeypatch.setattr(supervisor, "RETRY_S", 0.05)
    unit.folder.mkdir()
    (tmp_path / "times").touch()
    script = f"echo >> {tmp_path}/times; sleep 0.3; exit 1"
    start(unit, supervisor.Command(("sh", "-c", script), Path("/"), restart=True))
    until(lambda: len((tmp_path / "times").read_text().split("\n")) > 3)
    assert unit.state()["ActiveState"] == "active"
