"""What models of the user's own come from, brought to hosts; and what is found of them, kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roles.plan.planning import listings
from tests.made.listings import MODEL, document
from tests.playbooks.conftest import play_here

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = '[project]\nname = "my_models"\nversion = "1.0"\n'
INSTALL = """
- hosts: localhost
  gather_facts: false
  tasks:
    - &wheel
      name: Have its wheel
      model_wheels: {sources: ["{{ model_package }}", "{{ pins }}"], cache: "{{ model_cache }}"}
      register: model_wheels
    - &install
      name: Install it
      ansible.builtin.include_role: {name: runtime, tasks_from: models}
      vars: {runtime_model_wheels: "{{ model_wheels.wheels }}"}
    - name: Change it
      ansible.builtin.copy: {content: SIZE = 2, dest: "{{ model_package }}/my_models/__init__.py"}
    - *wheel
    - *install
"""
CUT = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: sweep, tasks_from: bring}
    - ansible.builtin.include_role: {name: sweep, tasks_from: cut}
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a package, and beside it what is none of it."""
    source = tmp_path / "a source"
    (source / "my_models").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "my_models/__init__.py").write_text("SIZE = 1\n")
    (source / ".venv").mkdir()
    (source / ".venv/large").write_text("never read")
    return source


@pytest.fixture
def packages(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/runtime/provisioning/packages.py")


def test_a_folder_s_wheel_is_built_once_for_its_content(
    packages: ModuleType, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    assert packages.wheel_of(str(package), cache, dry=True) is None
    first = packages.wheel_of(str(package), cache)
    assert first.name == "my-models"
    assert first.sha256 == hashlib.sha256(Path(first.path).read_bytes()).hexdigest()
    assert "my_models/__init__.py" in zipfile.ZipFile(first.path).namelist()
    assert sorted(path.name for path in package.iterdir()) == [
        ".venv",
        "my_models",
        "pyproject.toml",
    ]
    with monkeypatch.context() as patched:
        patched.setattr(packages.subprocess, "run", None)
        (package / ".venv/large").write_text("nor is this")
        assert packages.wheel_of(str(package), cache) == first
        assert packages.wheel_of(first.path, cache) == first
    (package / "my_models/__init__.py").write_text("SIZE = 2\n")
    assert packages.wheel_of(str(package), cache).path != first.path


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda _: None, "there is nothing at .*/it on this machine"),
        (lambda path: path.mkdir(), "has no pyproject.toml, which says what its package is"),
        (lambda path: path.write_text("x"), "is neither a wheel .* nor a folder with"),
        (
            lambda path: (path.mkdir(), (path / "pyproject.toml").write_text("[project\n")),
            "pip cannot build a wheel from .*/it: .*rror",
        ),
    ],
    ids=["nothing", "no package", "another file", "broken"],
)
def test_what_is_no_package_is_one_sentence(
    packages: ModuleType, tmp_path: Path, make: Callable[[Path], Any], sentence: str
) -> None:
    make(tmp_path / "it")
    with pytest.raises(ValueError, match=sentence):
        packages.wheel_of(str(tmp_path / "it"), tmp_path / "cache")


def made_timm(folder: Path) -> str:
    """Write a wheel named timm, and return its line of requirements."""
    stem = "timm-1.0.31"
    files = {
        "timm/__init__.py": "",
        f"{stem}.dist-info/METADATA": "Metadata-Version: 2.1\nName: timm\nVersion: 1.0.31\n"
        "Requires-Dist: torch==1.0\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{stem}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
    folder.mkdir()
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"timm==1.0.31 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="the role becomes root: sudo make test")
def test_a_host_gets_what_it_lacks_and_again_what_is_another(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shop"))
    home = tmp_path / "home"
    venv.create(home / "venv", with_pip=True)
    (tmp_path / "models.txt").write_text(made_timm(tmp_path / "shop"))
    words = json.dumps(
        {
            "ansible_python_interpreter": sys.executable,
            "runtime_source": str(ROOT),
            "runtime_home": str(home),
            "pins": str(tmp_path / "models.txt"),
            "model_package": str(package),
            "model_cache": str(tmp_path / "cache"),
        }
    )
    size = [str(home / "venv/bin/python"), "-c", "import timm, my_models; print(my_models.SIZE)"]
    done = play_here(tmp_path, INSTALL, {}, "-e", words)
    assert done.status == 0, done.output
    # A folder made, two wheels copied and installed; one changed, copied and installed.
    assert done.changed == 6, done.output
    assert subprocess.check_output(size, text=True).strip() == "2"


def cut(
    tmp_path: Path, program: str, model: str = MODEL, files: Sequence[Path] = (), **more: Any
) -> Any:
    """Find a model's blocks where `paretopipe` is this shell script."""
    path = tmp_path / "home/venv/bin/paretopipe"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    words = {
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "job_home": str(tmp_path / "home"),
        "job_units": str(tmp_path / "units"),
        "sweep_model": model,
        "sweep_model_files": [{"path": str(file), "name": file.name} for file in files],
        "job_state_dir": str(tmp_path / "state"),
        "sweep_classes": 7,
        "sweep_models_dir": str(tmp_path / "models"),
        **more,
    }
    return play_here(tmp_path, CUT, {}, "-e", json.dumps(words))


def test_what_is_found_is_kept_and_what_is_not_is_the_node_s_sentence(tmp_path: Path) -> None:
    said = json.dumps(document(classes=7))
    done = cut(tmp_path, f"echo loading; echo '{said}'; echo warning >&2")
    assert done.status == 0, done.output
    assert f"{MODEL}: 5 blocks, 4 cuts found by torch.fx" in done.output
    assert listings.read((tmp_path / "models/timm-made_tiny-7.json").read_text(), MODEL)
    done = cut(tmp_path, "echo 'E_MODEL: timm has no model made_tiny' >&2; exit 1")
    assert done.errors == ["E_MODEL: timm has no model made_tiny"]


def test_a_file_of_weights_goes_there_and_its_set_comes_home(tmp_path: Path) -> None:
    file, state = tmp_path / "net.safetensors", tmp_path / "state"
    file.write_text("tensors")
    state.mkdir()
    said = json.dumps(document(classes=7, published={"weights": "net-1"}))
    # It says what it was given, and what lay there, where its answer comes from.
    program = f'echo "$@" > {tmp_path}/given; cat "$6" >> {tmp_path}/given; echo \'{said}\''
    weights = {"file": str(file), "name": "net-1"}
    done = cut(tmp_path, program, sweep_weights=weights, job_state_dir=str(state))
    assert done.status == 0, done.output
    there = f"{state}/net-1.safetensors"
    given = (tmp_path / "given").read_text()
    asked = f"cut {MODEL} --classes 7 --weights {there} --state-dir {state}"
    assert given == f"{asked}\ntensors"
    assert "with the weights net-1" in done.output
    kept = tmp_path / "weights/net-1/timm-made_tiny.json"
    assert json.loads(kept.read_text()) == {"weights": "net-1"}
    assert not [*state.rglob("*.safetensors")]


def test_a_file_is_brought_once_and_cut_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"one")
    (tmp_path / "state").mkdir()
    there = tmp_path / "state/models/net.onnx"
    own = {"sha256": "0" * 64, "batch": None, "image_px": 64}
    said = json.dumps(document("onnx:net", 7, file=own))
    program = f"[ $2 = onnx:{there} ] && echo '{said}'"
    changed = []
    for content in (b"one", b"one", b"two"):
        file.write_bytes(content)
        done = cut(tmp_path, program, "onnx:net", [file])
        assert done.status == 0, done.output
        assert there.read_bytes() == content
        changed.append(done.changed)
    # The folder and the file; nothing; the file.
    assert [count - changed[1] for count in changed] == [2, 0, 1]
