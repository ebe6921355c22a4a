"""A first report: order of networks, cells and reports."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "playbooks/tasks"
# Stand-ins for all that touches hosts; each logs its calls.
NOTE = """
- name: Note it
  ansible.builtin.shell: echo "LINE" >> "{{ playbook_dir | dirname }}/noted"
"""
STAND_INS = {
    "playbooks/tasks/hosts.yml": "[]",
    "playbooks/tasks/profile.yml": NOTE.replace("LINE", "profile"),
    "roles/plan/tasks/cells.yml": "[]",
    # What sets a network says what is asked of it.
    "roles/netem/tasks/main.yml": NOTE.replace("LINE", "{{ netem_state }}").rstrip()
    + "\n  when: netem_asked is not defined\n",
    "roles/netem/tasks/verify.yml": NOTE.replace(
        "LINE", "{{ netem_asked.delay | default('bare') }}"
    )
    + "- {name: Tell, ansible.builtin.set_fact: {netem_measured: {}}}\n",
    "roles/report/tasks/main.yml": NOTE.replace("LINE", "report"),
    "roles/sweep/tasks/main.yml": NOTE.replace(
        "LINE",
        "{{ sweep_label }} rounds {{ sweep_rounds | string }} later {{ sweep_later | string }}",
    )
    + "- {name: Fail, ansible.builtin.fail: {msg: no}, when: sweep_label in broken}\n",
    "playbooks/prepare.yml": "- {name: Prepare nothing, hosts: localhost, gather_facts: false}\n",
}
INVENTORY = """
localhost ansible_connection=local experiment_interface=lo experiment_ip=127.0.0.1
[orchestrator]
localhost
[workers]
localhost
[netem_hosts]
localhost
[all:vars]
ansible_python_interpreter="{{ ansible_playbook_python }}"
"""


def cell(name: str) -> dict[str, Any]:
    hosts = [{"host": "localhost"}, {"host": "pi2"}]
    return {"label": name, "plan": {"cell_id": name, "workers": hosts}}


WAYS = [{"host": "localhost", "to": [], "netem": None, "only": False}]


Measure = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def measure() -> Measure:
    """Run the real measure.yml with stand-ins; return status and calls."""
    rounds_of = importlib.import_module("roles.plan.planning.cells").rounds_of

    def measured(
        folder: Path, first: int, left: dict[str, float], **more: Any
    ) -> tuple[int, list[str]]:
        return run(folder, first, {"sweep_outlook": left, "broken": [], **more}, rounds_of)

    return measured


def run(
    folder: Path, first: int, more: dict[str, Any], rounds_of: Callable[..., dict[str, Any]]
) -> tuple[int, list[str]]:
    for path, text in STAND_INS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    shutil.copy(ROOT / "playbooks/measure.yml", folder / "playbooks")
    for name in ("scenario", "network", "way", "restore", "unshape", "cell", "report"):
        shutil.copy(TASKS / f"{name}.yml", folder / "playbooks/tasks")
    (folder / "hosts").write_text(INVENTORY)
    filters = f"filter_plugins = {ROOT}/roles/netem/filter_plugins\n"
    (folder / "ansible.cfg").write_text(f"[defaults]\nroles_path = roles\n{filters}")
    scenarios = [
        {"name": "baseline", "ways": WAYS, "shaped": False, "cells": [cell("a"), cell("b")]},
        {
            **{"name": "metro", "shaped": True, "cells": [cell("c")]},
            "ways": [{**WAYS[0], "netem": {"delay": "20ms"}}],
        },
    ]
    planned = {
        **{
            "sweep": "demo",
            "ways": WAYS,
            "first_report": first,
            "scenarios": scenarios,
            "within_s": None,
            "detach": False,
        },
        "options": {"profile": True, "dominance": 0.02, "repeats": 3},
        **rounds_of(first, scenarios, [cell("p")], []),
    }
    given = {"planned": planned, **more}
    binary = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [str(binary), "-i", "hosts", "playbooks/measure.yml", "-e", json.dumps(given)],
        cwd=folder,
        # The folder's own settings: make's environment names the checkout's.
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        | {"ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (folder / "noted").exists(), done.stdout + done.stderr
    return done.returncode, (folder / "noted").read_text().splitlines()


REST = {"a": 20.0, "b": 21.0, "c": 22.0, "p": 100.0}
FIRST = {"a first": 10.0, "b first": 11.0, "c first": 12.0, **REST}


def test_the_first_rounds_then_a_report_then_the_rest_under_the_network_that_is_set(
    tmp_path: Path, measure: Measure
) -> None:
    """A failure before a first report does not count; it is tried again."""
    status, noted = measure(tmp_path, 1, FIRST, broken=["a, for a first report"])
    assert noted == [
        "bare",
        "a, for a first report rounds 1 later 186",
        "b, for a first report rounds 1 later 175",
        *("20ms", "c, for a first report rounds 1 later 163", "report"),
        *("c rounds 0 later 141", "absent"),
        *("a rounds 0 later 121", "b rounds 0 later 100", "profile", "report"),
    ]
    assert status == 0


def test_what_a_first_report_has_already_is_not_visited_again(
    tmp_path: Path, measure: Measure
) -> None:
    status, noted = measure(tmp_path, 1, {"c first": 12.0, **REST}, broken=["a"])
    assert noted == [
        *("20ms", "c, for a first report rounds 1 later 163", "report", "c rounds 0 later 141"),
        *("absent", "bare", "a rounds 0 later 121", "b rounds 0 later 100", "profile", "report"),
    ]
    assert status == 2, "a failed with the rest"


def test_without_one_every_cell_is_visited_once_after_the_profiles(
    tmp_path: Path, measure: Measure
) -> None:
    status, noted = measure(tmp_path, 0, REST)
    assert noted == [
        *("profile", "bare", "a rounds 0 later 43", "b rounds 0 later 22"),
        *("20ms", "c rounds 0 later 0", "absent", "report"),
    ]
    assert status == 0
