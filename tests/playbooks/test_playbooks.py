"""Playbooks parse, stay thin, answer a mistake with a sentence; roles state each input once."""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from tests.made import sweep

PLAYBOOKS = sorted((Path(__file__).resolve().parents[2] / "playbooks").glob("*.yml"))
ROLES = sorted(
    path.parent.parent
    for path in (Path(__file__).resolve().parents[2] / "roles").glob("*/meta/argument_specs.yml")
)


def test_they_parse(playbook: Callable[..., Any]) -> None:
    """In one start of Ansible, which names the one that does not."""
    done = playbook(PLAYBOOKS[0].stem, *map(str, PLAYBOOKS[1:]), "--syntax-check")
    assert done.status == 0, done.output
    assert [f"playbook: {path}" in done.output for path in PLAYBOOKS[1:]] == [True] * (
        len(PLAYBOOKS) - 1
    )


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_it_has_roles_or_tasks_and_says_how_it_is_called(path: Path) -> None:
    text = path.read_text()
    assert "ansible-playbook playbooks/" in text
    for play in yaml.safe_load(text):
        assert not {"roles", "tasks"} <= set(play)
        assert play["name"]


def test_ansible_core_has_all_that_they_use() -> None:
    """A dot in a module's name must be ansible-core's: no collection is needed."""
    root = PLAYBOOKS[0].parents[1]
    files = [path for folder in ("playbooks", "roles") for path in (root / folder).rglob("*.yml")]
    named = [
        name
        for path in files
        for name in re.findall(r"^[ -]*(\w+\.\w+\.\w+):", path.read_text(), re.MULTILINE)
        + re.findall(r"lookup\('(\w+\.\w+\.\w+)'", path.read_text())
    ]
    assert len(named) > 100
    assert [name for name in named if not name.startswith("ansible.builtin.")] == []


@pytest.mark.parametrize("name", ["lab", "local", "processes"])
def test_every_inventory_names_the_same_groups(name: str) -> None:
    found = InventoryManager(DataLoader(), [f"{PLAYBOOKS[0].parents[1]}/inventory/{name}"])
    groups = found.get_groups_dict()
    assert groups["orchestrator"] == ["server"]
    assert {*groups["workers"]} == {"pi1", "pi2", "server"}
    assert {"controller", "netem_hosts"} <= set(groups)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("model=vgg16 splits=39", "vgg16 has 39 blocks, so splits run from 1 to 38"),
        ("experiment=dem", "choose from demo, full, prediction (did you mean demo?)"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    playbook: Callable[..., Any], options: str, sentence: str
) -> None:
    done = playbook("full_sweep", "-e", options)
    assert done.status != 0
    assert len(done.errors) == 1
    assert sentence in done.errors[0]
    assert "Bring the virtual testbed" not in done.output


def test_a_report_compares_with_another_sweep_and_writes_a_paper(
    playbook: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # no module is found in the folder it is called in
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    for seed, name in enumerate(("this", "last")):
        (tmp_path / name).mkdir()
        lines = sweep.cell(random.Random(seed), splits=[[3], [9]], repeats=2)
        sweep.write_cell(tmp_path / name, [*lines])
    where = f"report_results_dir={tmp_path}/this report_dir={tmp_path}/out"
    done = playbook("report", "-e", f"sweep=this against=last paper=true {where}")
    assert done.status == 0, done.output
    assert "Changes against last" in (tmp_path / "out/mobilenetv2.html").read_text()
    assert (tmp_path / "out/paper/paper.tex").exists()
    done = playbook("report", "-e", f"sweep=this against=lst {where}")
    assert done.status != 0
    assert f"no sweep lst in {tmp_path}, expected one of last and this" in done.errors[0]


def test_an_inventory_that_does_not_exist_is_told(playbook: Callable[..., Any]) -> None:
    done = playbook("reset", "-i", "inventory/mylab")
    assert done.status != 0
    assert len(done.errors) == 1
    assert "inventory/mylab: name one that there is (inventory/lab, inventory/local" in done.output


def test_netem_needs_something_to_do(playbook: Callable[..., Any]) -> None:
    done = playbook("netem")
    assert done.status != 0
    assert "nothing to apply" in done.errors[0]


def test_a_lab_that_does_not_answer_is_one_sentence(playbook: Callable[..., Any]) -> None:
    # 192.0.2.0/24 is for documentation and never answers.
    done = playbook("provision", "-i", "inventory/lab", "-e", "preflight_timeout=1")
    assert done.status != 0
    (sentence,) = done.errors
    for name in ("server (192.0.2.10:22)", "pi1 (192.0.2.11:22)", "pi2 (192.0.2.12:22)"):
        assert f"{name} does not answer" in sentence
    assert "mend it, or take the host out of the inventory" in sentence


@pytest.mark.parametrize("module", ["netem/library/tc_netem", "preflight/library/look_at_host"])
def test_ansible_doc_says_what_a_module_takes(module: str) -> None:
    text = (PLAYBOOKS[0].parents[1] / f"roles/{module}.py").read_text()
    # Read as ansible-doc does: the module's own imports are on the hosts only.
    (said,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION"
    ]
    documented = yaml.safe_load(said)
    assert documented == json.loads(said), "what the host reads is not what ansible-doc shows"
    assert all(option["description"] for option in documented["options"].values())


def read(role: Path, name: str) -> Any:
    return yaml.safe_load((role / name).read_text())


def options(role: Path) -> dict[str, Any]:
    specs = read(role, "meta/argument_specs.yml")["argument_specs"]
    return {key: value for spec in specs.values() for key, value in spec["options"].items()}


def test_every_role_has_a_specification() -> None:
    folder = Path(__file__).resolve().parents[2] / "roles"
    assert [role.name for role in ROLES] == sorted(
        path.name for path in folder.iterdir() if path.is_dir()
    )


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_equal_the_specification(role: Path) -> None:
    specified = {
        name: option["default"] for name, option in options(role).items() if "default" in option
    }
    assert read(role, "defaults/main.yml") == specified


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_required_input_is_named_in_the_defaults_as_a_comment(role: Path) -> None:
    text = (role / "defaults/main.yml").read_text()
    for name, option in options(role).items():
        assert option.get("required", False) != ("default" in option), name
        if option.get("required"):
            assert f"# {name}:" in text, f"{role.name} does not mention {name}"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_inputs_carry_the_role_name(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in options(role))
    constants = role / "vars/main.yml"
    if constants.exists():
        assert all(name.startswith(f"__{role.name}_") for name in read(role, "vars/main.yml"))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_readme_says_what_a_user_asks(role: Path) -> None:
    text = (role / "README.md").read_text().lower()
    for word in ("inputs", "check mode", "leave", "idempotent"):
        assert word in text, f"{role.name}/README.md does not say: {word}"
