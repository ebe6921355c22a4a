"""ask_host: its results, and its cost to a task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
QUOTES = "two  spaces, 'quotes', \"more\", $HOME, a;b|c&d > e, `f` and \\g"


def ask(folder: Path, *tasks: dict[str, Any], check: bool = False) -> list[dict[str, Any]]:
    named = [{"name": f"Ask {number}", **task} for number, task in enumerate(tasks)]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": named}
    (folder / "ask.yml").write_text(yaml.safe_dump([play]))
    binary = Path(sys.executable).with_name("ansible-playbook")
    command = [str(binary), "-i", "localhost,", "-c", "local", str(folder / "ask.yml")]
    done = subprocess.run(
        [*command, *(["--check"] if check else [])],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_VERBOSITY": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "changed=0" in done.stdout, done.stdout + done.stderr
    found = [line.split(" => ", 1)[1] for line in done.stdout.splitlines() if " => {" in line]
    return [json.loads(text) for text in found]


def test_it_answers_as_command_does_and_leaves_no_words_to_a_shell(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; print(sys.argv[1]); print(sys.stdin.read())"]
    (spoken,) = ask(tmp_path, {"ask_host": {"argv": [*words, QUOTES], "stdin": "x"}}, check=True)
    assert (spoken["rc"], spoken["changed"]) == (0, False)
    assert spoken["stdout_lines"] == [QUOTES, "x", ""]
    assert spoken["stdout"] == f"{QUOTES}\nx\n"


def test_it_fails_as_command_does_and_sees_no_terminal(tmp_path: Path) -> None:
    fails = {"argv": ["sh", "-c", "test ! -t 0 && echo heard; echo why >&2; exit 3"]}
    (told,) = ask(tmp_path, {"ask_host": fails, "failed_when": False})
    assert (told["rc"], told["stdout"], told["stderr"]) == (3, "heard", "why\n")
