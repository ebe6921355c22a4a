"""The convolution that provisioning tries: run as it runs it, with builds of torch that are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from paretopipe_runtime import try_torch

ROOT = Path(__file__).resolve().parents[2]
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
LACKS = "raise ImportError('libgomp.so.1: cannot open shared object file')"
COMPUTES = """
class nn:
    Conv2d = lambda *_: lambda _: nn
    sum = lambda: nn
    item = lambda: 0.0

zeros = lambda *_: None
"""


def tried(folder: Path, module: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Give the file to a Python whose torch is `module`, release 9.9."""
    (folder / "torch.py").write_text(module)
    about = folder / "torch-9.9.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    return subprocess.run(
        [sys.executable, "-", *map(str, files)],
        input=Path(try_torch.__file__).read_text(),
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "seen"),
    [
        (DIES, "illegal instruction"),
        (LACKS, "ImportError: libgomp.so.1: cannot open shared object file"),
        ("raise SystemExit(3)", "exit status 3"),
        ("raise SystemExit(132)", "illegal instruction"),
    ],
    ids=["dies", "lacks", "ends", "dies under a shell"],
)
def test_a_build_that_does_not_work_is_one_sentence_with_what_to_do(
    tmp_path: Path, module: str, seen: str
) -> None:
    marker = tmp_path / "tried"
    done = tried(tmp_path, module, marker)
    assert done.returncode == 1
    assert done.stderr == (
        f"torch 9.9 does not work on this host ({seen}) — set runtime_versions in the inventory to "
        "a build for this processor (on a Raspberry Pi 4 torch 2.9.1 with torchvision 0.24.1) and "
        "run playbooks/provision.yml again\n"
    )
    assert not marker.exists()


def test_the_sentence_names_what_the_example_inventory_has(tmp_path: Path) -> None:
    lab = yaml.safe_load((ROOT / "inventory/lab/hosts.yml").read_text())
    said = tried(tmp_path, DIES).stderr
    for package, version in lab["pis"]["vars"]["runtime_versions"].items():
        assert f"{package} {version}" in said


def test_a_build_that_works_leaves_the_file_it_was_named(tmp_path: Path) -> None:
    marker = tmp_path / "tried"
    done = tried(tmp_path, COMPUTES, marker)
    assert (done.returncode, done.stderr) == (0, "")
    assert marker.exists()
