"""The live line, the verdict on a sweep that ended, and its records: none lost, none doubled."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from hypothesis import given
from hypothesis import strategies as st

PROGRESS = {
    "runs_total": 100,
    "runs_done": 37,
    "failed": 0,
    "invalid": 0,
    "left_s": 250.2,
    "left_sd_s": 50.0,
    "later": {"ratio": 1.2, "spread": 0.1},
    "current": "P3 repeat 2/5",
    "finished": False,
}


@pytest.fixture(scope="module")
def follow(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/job/action_plugins/follow_job.py")


NOON = 12 * 3600.0  # UTC, of a Thursday


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_line_says_where_the_sweep_is(follow: ModuleType) -> None:
    assert follow.line("cell 2/4 vgg16 socket pi_to_gpu wan", PROGRESS, now=NOON) == (
        "37/100 runs, ends between 12:02 and 12:06, in about 3 to 6 min, now P3 repeat 2/5 "
        "[cell 2/4 vgg16 socket pi_to_gpu wan]"
    )
    assert follow.line("c", PROGRESS, 1200, NOON).split(", ", 1)[1] == (
        "everything ends between 12:22 and 12:35, in about 22 to 35 min, now P3 repeat 2/5 [c]"
    )
    assert follow.line("c", {}) == "[c] starting"
    done = {**PROGRESS, "runs_done": 100, "finished": True, "invalid": 2}
    assert follow.line("c", done) == "[c] 100/100 runs, 2 invalid"
    assert follow.line("c", {"runs_total": 0, "finished": True}) == "[c] nothing left to measure"


def test_a_job_that_does_not_measure_counts_what_it_says(follow: ModuleType) -> None:
    training = {**PROGRESS, "noun": "batches", "current": "epoch 3/20, best 88.9 % in epoch 2"}
    for name in ("failed", "left_sd_s", "later"):
        del training[name]
    assert follow.line("fine-tuning vgg16 cifar10", training, now=NOON) == (
        "37/100 batches, ends at 12:04, in about 4 min, now epoch 3/20, best 88.9 % in epoch 2 "
        "[fine-tuning vgg16 cifar10]"
    )
    lost = follow.Snapshot({}, {"ActiveState": "failed", "ExecMainStatus": "75"}, "")
    assert "the fine-tuning lost its controller" in follow.verdict(lost, "fine-tuning")


@pytest.mark.parametrize(
    ("left_s", "deviation_s", "text"),
    [
        (30, 10, "ends at 12:00, in about 15 to 54 s"),
        (3600, 600, "ends between 12:42 and 13:22, in about 43 to 82 min"),
        (7200, 1800, "ends between 13:11 and 15:10, in about 1 h 11 min to 3 h 10 min"),
        (6000, 3600, "ends between 12:28 and 16:19, in about 28 min to 4 h 20 min"),
        (
            86400,
            7200,
            "ends between Fri 08:15 and Fri 16:14, in about 20 h 15 min to 28 h 15 min",
        ),
        (50, 100, "ends between 12:00 and 12:04, in about 0 to 5 min"),
        (0, 0, "ends at 12:00, in about 0 s"),
    ],
)
def test_an_end_is_a_range_and_a_time_of_day(
    follow: ModuleType, left_s: float, deviation_s: float, text: str
) -> None:
    assert follow.ending(left_s, deviation_s, NOON) == text


def test_the_estimate_before_a_sweep_has_a_time_of_day_and_the_first_report(
    plugin: Callable[[str], ModuleType],
) -> None:
    foretell = plugin("roles/sweep/action_plugins/foretell_sweep.py")
    visits = {"a first": 100.0, "b first": 100.0, "a": 400.0, "b": 400.0}
    scatter = {"pi1": 0.029, "pi2": 0.031, "server": 0.031}
    outlook = {"visits_s": visits, "left_sd_s": 100.0, "runs_left": 240, "scatter": scatter}
    told, note = foretell.lines(outlook).splitlines()
    assert told.startswith("240 runs: ends between ")
    assert foretell.lines({**outlook, "at_most": True}).startswith("at most 240 runs: ends ")
    assert told.endswith(", in about 14 to 20 min; a first report after about 3 to 4 min")
    assert note.startswith(
        "note: pi2, server: the same work, timed again and again, scattered by 3.1 %"
    )
    done = dict.fromkeys(visits, 0.0)
    left = {"visits_s": done, "left_sd_s": 0.0, "runs_left": 0, "scatter": {}}
    assert foretell.lines(left) == "nothing left to measure"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (300, "5 min"), (3599, "60 min"), (7500, "2 h 5 min")],
)
def test_durations_are_for_people(follow: ModuleType, seconds: float, text: str) -> None:
    assert follow.duration(seconds) == text


def test_a_poll_is_read_back(follow: ModuleType) -> None:
    mark = follow.MARK
    output = (
        f"Result=exit-code\r\nExecMainStatus=2\r\nActiveState=failed\r\n{mark}\r\n"
        f'{{"runs_done": 3}}\r\n\r\n{mark}\r\nE_PLAN: no such model\r\n'
    )
    seen = follow.parse(output)
    assert (seen.running, seen.exit_status) == (False, 2)
    assert seen.progress == {"runs_done": 3}
    assert seen.error == "E_PLAN: no such model"


@pytest.mark.parametrize("progress", ["", '{"runs_', "[]"])
def test_a_progress_file_may_be_missing_or_odd(follow: ModuleType, progress: str) -> None:
    seen = follow.parse(f"ActiveState=active\n{follow.MARK}\n{progress}\n{follow.MARK}\n")
    assert seen.running
    assert seen.progress == {}


@pytest.mark.parametrize(
    ("unit", "progress", "error", "words"),
    [
        ({"ActiveState": "inactive"}, {"finished": True}, "", ""),
        ({"ActiveState": "inactive"}, {}, "", "stopped from outside"),
        ({"ActiveState": "failed", "ExecMainStatus": "2"}, {}, "E_PLAN: bad", "E_PLAN: bad"),
        ({"ActiveState": "failed", "ExecMainStatus": "75"}, {}, "", "lost its controller"),
        (
            {"ActiveState": "failed", "ExecMainStatus": "9", "Result": "signal"},
            {},
            "",
            "ended without a word (signal, status 9)",
        ),
    ],
)
def test_the_verdict_on_a_unit_that_ended(
    follow: ModuleType, unit: dict[str, str], progress: dict[str, Any], error: str, words: str
) -> None:
    verdict = follow.verdict(follow.Snapshot(progress, unit, error))
    assert words in verdict
    assert bool(words) == bool(verdict)


def test_off_a_terminal_lines_are_few(follow: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    seconds = itertools.count(step=10)
    monkeypatch.setattr(follow.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(follow.display, "display", lambda text, **_: shown.append(text))
    screen = follow.Screen(on_terminal=False)
    for done in range(21):
        screen.show(str(done), last=done == 20)
    assert shown == ["5", "11", "17", "20"]


def test_on_a_terminal_one_line_is_rewritten_and_fits(
    follow: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, bool]] = []
    logged: list[str] = []

    def display(text: str, newline: bool = True, log_only: bool = False, **_: bool) -> None:
        logged.append(text) if log_only else shown.append((text, newline))

    monkeypatch.setattr(follow.display, "display", display)
    screen = follow.Screen(on_terminal=True, columns=10)
    screen.show("a long line that would fold")
    screen.show("short", last=True)
    assert shown == [("\ra long li", False), ("\rshort    ", True)]
    assert logged == ["short"]


def test_names_are_quoted_for_the_shell(follow: ModuleType) -> None:
    command = follow.poll_command("u.service", "/a b/lease", "/tmp/x;y")
    assert "touch '/a b/lease'" in command
    assert "cat '/tmp/x;y'" in command


@pytest.fixture(scope="module")
def collect(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/sweep/action_plugins/collect_records.py")


def test_a_file_that_has_all_of_ours_replaces_it(collect: ModuleType) -> None:
    assert collect.joined(b"a\nb\n", b"p\na\nb\nc\n") == b"p\na\nb\nc\n"


def test_a_file_that_lacks_some_of_ours_is_joined(collect: ModuleType) -> None:
    assert collect.joined(b"a\nb\n", b"b\nc\n") == b"a\nb\nc\n"
    assert collect.joined(b"a\n", b"") == b"a\n"


def test_a_torn_last_line_stays_where_it_is(collect: ModuleType) -> None:
    assert collect.joined(b"a\n", b"a\nb\nhalf") == b"a\nb\n"


def test_no_line_is_ever_lost(collect: ModuleType) -> None:
    content = st.lists(st.binary(max_size=3)).map(lambda lines: b"".join(x + b"\n" for x in lines))

    @given(ours=content, theirs=content)
    def check(ours: bytes, theirs: bytes) -> None:
        lines = set(collect.whole_lines(collect.joined(ours, theirs)))
        assert lines == set(collect.whole_lines(ours)) | set(collect.whole_lines(theirs))

    check()


def run(line: str) -> dict[str, Any]:
    """Run a shell line as Ansible's local connection does."""
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True)
    return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def test_what_comes_over_is_the_file_to_the_last_byte(collect: ModuleType, tmp_path: Path) -> None:
    content = bytes(range(256)) * 400
    source = tmp_path / "it's a cell.jsonl"
    assert collect.fetched(run, str(source)) is None
    source.write_bytes(content)
    assert collect.fetched(run, str(source)) == content
    source.write_bytes(b"")
    assert collect.fetched(run, str(source)) == b""


def test_what_cannot_be_read_is_one_sentence(collect: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=f"could not read {tmp_path}: .*s a directory"):
        collect.fetched(run, str(tmp_path))


def test_the_file_is_replaced_whole(collect: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "new" / "cell.jsonl"
    collect.replace(target, b"1\n")
    collect.replace(target, b"2\n")
    assert target.read_bytes() == b"2\n"
    assert [path.name for path in target.parent.iterdir()] == ["cell.jsonl"]


@pytest.mark.parametrize(
    ("told", "unit", "line", "problem"),
    [
        ({}, {"ActiveState": "active"}, "3/8 runs", ""),
        ({"failures": {"a": "gone"}}, {"ActiveState": "active"}, "failed so far: a: gone", ""),
        ({"finished": True, "done": 2}, {}, "2 of 2 cells and profiles done, it is over", ""),
        ({"finished": True, "failures": {"a": "gone"}}, {}, "it is over", "a: gone"),
        (
            {},
            {"ActiveState": "inactive"},
            "it is not running any more",
            "it ended before it was done",
        ),
        (
            {"failures": {"a": "gone"}},
            {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9"},
            "it is not running any more",
            "a: gone; the sweep ended without a word (signal, status 9)",
        ),
    ],
)
def test_a_detached_sweep_says_how_far_it_is(
    plugin: Callable[[str], ModuleType],
    told: dict[str, Any],
    unit: dict[str, str],
    line: str,
    problem: str,
) -> None:
    see = plugin("roles/sweep/action_plugins/see_sweep.py")
    file = {"sweep": "x", "began": 0, "visits": 2, "done": 1, "now": "b", "later_s": 0.0}
    file |= {"failures": {}, "finished": False, **told}
    progress = {"runs_done": 3, "runs_total": 8, "finished": file["finished"]}
    ended = {"finished": True} if unit.get("ActiveState") == "inactive" else {}
    lines, why = see.said(file, see.Snapshot({**progress, **ended}, unit))
    assert line in "\n".join(lines)
    assert why.startswith(problem)
    assert bool(why) == bool(problem)
