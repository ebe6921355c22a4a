"""Every role's defaults and argument specs have the same inputs and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(
    path.parent.parent
    for path in (Path(__file__).resolve().parents[2] / "roles").glob("*/meta/argument_specs.yml")
)


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
