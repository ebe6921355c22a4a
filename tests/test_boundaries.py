"""Lines that no import may cross, and calls that nobody may make."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTROLLER_ONLY = {"pandas", "seaborn", "matplotlib", "jinja2", "moocore", "ansible", "reports"}
RPC = "torch.distributed"  # it unpickles whatever comes; torch imports it by itself
UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", RPC}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "yaml.load", "os.system"}
RPC_FILES = set((ROOT / "paretopipe_runtime/worker").glob("rpc_*.py"))
RPC_MODULES = {f"paretopipe_runtime.worker.{path.stem}" for path in RPC_FILES}
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
            "paretopipe_runtime.orchestrator.loop, paretopipe_runtime.orchestrator.forecast, "
            "paretopipe_runtime.worker.agent, paretopipe_runtime.cli",
            CONTROLLER_ONLY | {"torch"},
        ),
        ("paretopipe_runtime.worker.preload", CONTROLLER_ONLY | RPC_MODULES | TRAINING),
        ("paretopipe_runtime.worker.socket_backend", CONTROLLER_ONLY | RPC_MODULES | TRAINING),
        (
            "paretopipe_runtime.cli, paretopipe_runtime.relay.serve, "
            "paretopipe_runtime.relay.probe",
            CONTROLLER_ONLY | {"torch", "numpy", "psutil", "safetensors", "xxhash"},
        ),
        ("reports.cli, reports.statistics.judge", {"torch", "torchvision", "ansible"}),
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


def imported(folder: str) -> set[str]:
    """Every module that the files of a folder import, at any place."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_report_takes_only_what_is_shared_from_the_runtime() -> None:
    shared = {f"paretopipe_runtime.{name}" for name in ("contract", "judging")}
    of_runtime = {name for name in imported("reports") if within("paretopipe_runtime", name)}
    assert {n for n in of_runtime if not any(within(known, n) for known in shared)} == set()


def test_judging_needs_numpy_and_itself() -> None:
    needed = {name.partition(".")[0] for name in imported("paretopipe_runtime/judging")}
    assert needed - sys.stdlib_module_names == {"numpy", "paretopipe_runtime"}
    own = {n for n in imported("paretopipe_runtime/judging") if within("paretopipe_runtime", n)}
    assert all(within("paretopipe_runtime.judging", name) for name in own)


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
