"""Lines that no import may cross, and calls that nobody may make."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTROLLER_ONLY = {"pandas", "seaborn", "matplotlib", "jinja2", "moocore", "ansible", "reports"}
RPC = "torch.distributed"  # it unpickles whatever comes; torch imports it by itself
UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", RPC}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "yaml.load", "os.system"}
RPC_FILES = set((ROOT / "paretopipe_runtime/worker/backends").glob("rpc*.py"))
RPC_MODULES = {f"paretopipe_runtime.worker.backends.{path.stem}" for path in RPC_FILES}
TRAINING = {"paretopipe_runtime.finetune"}  # it may start CUDA and reads foreign files
# The one file that reads a state dict as PyTorch writes them; see what is asked of its call below.
STATE_DICT = ROOT / "paretopipe_runtime/finetune/state_dict.py"
SOURCES = sorted(
    path
    for folder in ("paretopipe_runtime", "reports", "plugins", "roles")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (
            "paretopipe_runtime.orchestrator.sweep, paretopipe_runtime.orchestrator.outlook, "
            "paretopipe_runtime.worker.agent, paretopipe_runtime.cli",
            CONTROLLER_ONLY | {"torch"},
        ),
        ("paretopipe_runtime.worker.stage", CONTROLLER_ONLY | RPC_MODULES | TRAINING),
        ("paretopipe_runtime.worker.backends.socket", CONTROLLER_ONLY | RPC_MODULES | TRAINING),
        (
            "paretopipe_runtime.cli, paretopipe_runtime.relay.serve, "
            "paretopipe_runtime.relay.probe",
            CONTROLLER_ONLY | {"torch", "numpy", "psutil", "safetensors", "xxhash"},
        ),
        ("reports.cli", {"torch", "torchvision", "ansible", "paretopipe_runtime"}),
    ],
    ids=["measuring process", "stage process", "socket backend", "relay", "report"],
)
def test_imports_stay_on_their_side(modules: str, forbidden: set[str]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert not forbidden & set(done.stdout.split())


def within(module: str, name: str) -> bool:
    """Whether a dotted name is a module or something inside it."""
    return f"{name}.".startswith(f"{module}.")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_deserialises_code(path: Path) -> None:
    allowed = {RPC} if path in RPC_FILES else set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        found = {unsafe for unsafe in UNSAFE_MODULES for name in names if within(unsafe, name)}
        assert found <= allowed, f"line {getattr(node, 'lineno', '?')}"
        if isinstance(node, ast.Call):
            if path == STATE_DICT and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in map(ast.unparse, node.keywords)
                continue
            assert ast.unparse(node.func) not in UNSAFE_CALLS, f"line {node.lineno}"
            for keyword in node.keywords:
                allows = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                assert not (keyword.arg in {"allow_pickle", "shell"} and allows)


def test_no_backend_needs_another() -> None:
    """A backend takes what they share from `backend`; RPC is one backend in several files."""
    for path in (ROOT / "paretopipe_runtime/worker/backends").glob("*.py"):
        imported = set(re.findall(r"backends(?:\.| import )(\w+)", path.read_text()))
        assert path.stem.startswith("rpc") or imported <= {"backend"}, path
        assert "socket" not in imported, path


def test_the_wire_has_no_circle() -> None:
    order = ["strict", "frames", "tcp", "sending", "receiving", "channel"]
    order += ["tls_socket", "tls", "handshake", "connect"]
    for path in (ROOT / "paretopipe_runtime/wire").glob("[!_]*.py"):
        below = set(order[: order.index(path.stem)])
        imported = set(re.findall(r"runtime\.wire\.(\w+)", path.read_text()))
        for line in re.findall(r"runtime\.wire import (.*)", path.read_text()):
            imported |= set(line.split(", "))
        assert imported <= below, path
