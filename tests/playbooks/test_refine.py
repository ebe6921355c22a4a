"""`-e refine=true`: rounds of asking the report and measuring more, until nothing is undecided."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# In the report's place: it answers what the test says, and remembers what it was asked.
REPORT = """
import json, pathlib, sys
answers = json.loads(pathlib.Path("answers.json").read_text())
asked = pathlib.Path("asked.jsonl")
before = asked.read_text().splitlines() if asked.exists() else []
asked.write_text("".join(f"{line}\\n" for line in [*before, json.dumps(sys.argv[1:])]))
answer = answers[len(before)]
if isinstance(answer, str):
    sys.exit(answer)
print(json.dumps(answer))
"""
# In the cell's place: it notes what it would measure.
CELL = """
- name: Note what would be measured
  ansible.builtin.lineinfile:
    path: "{{ playbook_dir | dirname }}/measured.jsonl"
    line: "{{ {'cell_id': this_cell.plan.cell_id, 'more': cell_more} | to_json }}"
    create: true
    mode: "0644"
"""
PLAYBOOK = """
- name: Refine
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Ask and measure
      ansible.builtin.include_tasks: tasks/refine.yml
      loop: [1, 2, 3]
      loop_control:
        loop_var: this_round
"""
PLANNED = {"sweep": "demo", "options": {"dominance": 0.03}}
SCENARIO = {"cells": [{"label": name, "plan": {"cell_id": name}} for name in ("a", "b")]}


def refine(folder: Path, answers: list[Any]) -> subprocess.CompletedProcess[str]:
    (folder / "playbooks/tasks").mkdir(parents=True)
    (folder / "reports").mkdir()
    (folder / "reports/__main__.py").write_text(REPORT)
    (folder / "answers.json").write_text(json.dumps(answers))
    (folder / "playbooks/refine.yml").write_text(PLAYBOOK)
    (folder / "playbooks/tasks/cell.yml").write_text(CELL)
    task = (ROOT / "playbooks/tasks/refine.yml").read_text()
    (folder / "playbooks/tasks/refine.yml").write_text(task)
    given = json.dumps({"planned": PLANNED, "this_scenario": SCENARIO})
    binary = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [str(binary), "playbooks/refine.yml", "-e", given],
        cwd=folder,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def lines(path: Path) -> list[Any]:
    return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []


def undecided(cell: str, *splits: int, repeats: int) -> dict[str, Any]:
    return {"cell_id": cell, "splits": [[split] for split in splits], "repeats": repeats}


def test_only_what_is_undecided_here_is_measured_until_nothing_is(tmp_path: Path) -> None:
    first = [
        undecided("a", 3, 4, repeats=10),
        undecided("a", 9, repeats=8),
        undecided("of another scenario", 1, repeats=10),
    ]
    second = [undecided("b", 5, repeats=15)]
    done = refine(tmp_path, [first, second, []])
    assert done.returncode == 0, done.stdout
    assert lines(tmp_path / "measured.jsonl") == [
        {"cell_id": "a", "more": first[:2]},
        {"cell_id": "b", "more": second},
    ]
    asked = lines(tmp_path / "asked.jsonl")
    results = str(tmp_path / "experiments/results/demo")
    assert asked == [[results, "--undecided", "--delta", "0.03"]] * 3


def test_a_round_that_finds_nothing_is_the_last(tmp_path: Path) -> None:
    done = refine(tmp_path, [[undecided("of another scenario", 1, repeats=10)]])
    assert done.returncode == 0, done.stdout
    assert len(lines(tmp_path / "asked.jsonl")) == 1
    assert not (tmp_path / "measured.jsonl").exists()


@pytest.mark.parametrize("word", ["E_EMPTY: there are no records — measure first"])
def test_a_report_that_cannot_tell_is_one_sentence(tmp_path: Path, word: str) -> None:
    done = refine(tmp_path, [word])
    assert done.returncode != 0
    assert f"nothing is refined: {word}" in done.stdout + done.stderr
