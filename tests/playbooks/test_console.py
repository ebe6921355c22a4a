"""Sight of a playbook: lines on the console, and the rest in the log."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAY = """
- name: Look at hosts at length
  hosts: pi1:pi2
  gather_facts: false
  tasks:
    - name: Say something
      ansible.builtin.debug: {msg: ["a first line", "a second – and this one is far longer than"]}
      run_once: true
    - name: Say it at length
      tell: {msg: at length, brief: "in brief"}
      run_once: true
    - name: Change {{ whatever }} here
      ansible.builtin.set_stats: {data: {}}
      changed_when: true
    - name: Try something
      block:
        - name: Fail
          ansible.builtin.assert: {that: false, fail_msg: "no power: plug it in", quiet: true}
      when: broken | default(false) | bool
- name: Look at nobody
  hosts: nobody
- name: Do nothing
  hosts: pi1
  gather_facts: false
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("console")
    (folder / "part.yml").write_text(PLAY)
    (folder / "whole.yml").write_text("- import_playbook: part.yml\n")
    binary = Path(sys.executable).with_name("ansible-playbook")
    return [str(binary), "-i", "pi1,pi2,", "-c", "local", str(folder / "part.yml")]


def environment(**more: str) -> dict[str, str]:
    own = ("ANSIBLE_STDOUT_CALLBACK", "COLUMNS")  # the width that xdist tells its workers
    kept = {k: v for k, v in os.environ.items() if k not in own}
    return {**kept, "ANSIBLE_NOCOLOR": "1", **more}


def play(command: list[str], *words: str, **more: str) -> tuple[int, str]:
    done = subprocess.run(
        [*command, *words],
        cwd=ROOT,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=120,
    )
    return done.returncode, done.stdout.decode()


def log_of(shown: str) -> str:
    return (ROOT / re.findall(r"details(?: in|:) (\S+\.log)", shown)[-1]).read_text()


def test_a_failure_is_one_sentence_and_the_log_has_the_rest(command: list[str]) -> None:
    status, shown = play(command, "-e", "broken=true")
    assert status == 2
    assert "\r" not in shown
    lines = [re.sub(r"^\d\d:\d\d ", "", line) for line in shown.splitlines()]
    assert lines[1:-1] == [
        "Look at hosts at length",
        "a first line",
        "a second – and this one is far longer than",
        "at length",
        "FAILED pi1, pi2: no power: plug it in",
    ]
    assert lines[-1].startswith("Failed. All details: ")
    log = log_of(shown)
    for said in ("TASK [Fail]", "fatal: [pi2]: FAILED!", "PLAY RECAP", "no power", "unreachable=0"):
        assert said in log
    assert "a second –" in log


def test_a_part_of_another_is_brief_and_check_mode_says_what_would_change(
    command: list[str],
) -> None:
    whole = [*command[:-1], command[-1].replace("part", "whole")]
    status, shown = play(whole, "--check", PYTHONIOENCODING="ascii")
    assert status == 0
    lines = [re.sub(r"^\d\d:\d\d ", "", line) for line in shown.splitlines()]
    assert lines[3:-1] == [
        "a second - and this one is far longer than",
        "in brief",
        "would change pi1, pi2: Change ... here",
        "Look at nobody",
        "Left out: no such host in the inventory, or within --limit.",
    ]
    assert lines[-1].startswith("Done after ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-v"], "TASK [Say something]"),
        (["--list-tasks"], "Say it at length"),
    ],
)
def test_what_ansible_shows_is_an_option_away(
    command: list[str], words: list[str], said: str
) -> None:
    status, shown = play(command, *words)
    assert status == 0
    assert said in shown


def test_a_narrow_terminal_folds_between_words(command: list[str]) -> None:
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=side, stderr=subprocess.DEVNULL
    )
    os.close(side)
    shown = b"".join(read(main)).decode()
    assert process.wait(120) == 0
    lines = shown.splitlines()
    assert "a second – and this one is far" in lines
    assert "longer than" in lines


def read(main: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            return
        yield part


@pytest.fixture(scope="module")
def console(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/job/callback_plugins/console.py")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"msg": "Task failed: Action failed: no: try"}, "no: try"),
        ({"msg": ["one", "two"]}, "one; two"),
        ({"msg": "non-zero return code", "stderr": "a\nb\n"}, "non-zero return code: b"),
        (
            {
                "results": [
                    {"failed": True, "msg": "x"},
                    {"msg": "ok"},
                    {"failed": True, "msg": "x"},
                ]
            },
            "x",
        ),
        ({}, "no reason given"),
    ],
)
def test_a_reason_is_what_we_said(
    console: ModuleType, result: dict[str, object], said: str
) -> None:
    assert console.sentence(result) == said
