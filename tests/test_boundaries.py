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
            "paretopipe_runtime.orchestrator.sweep, paretopipe_runtime.orchestrator.outlook, "
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


# Each may import what stands before it, and its own kind. The longest name that fits counts.
LAYERS = (
    ("reports.errors", "reports.words", "reports.parallel", "reports.objectives"),
    ("reports.paper",),
    ("reports.data",),
    ("reports.statistics",),
    ("reports.prediction",),
    ("reports.page",),
    ("reports.page.draw",),
    ("reports.page.sections",),
    ("reports.page.render", "reports.page.index"),
    ("reports.cli", "reports.__main__"),
)
REPORTS = [path for path in SOURCES if path.is_relative_to(ROOT / "reports")]


def imported(path: Path) -> set[str]:
    """Return the modules of its own package that a module imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # Of a package the modules in it, not the package around them.
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inside if name in MODULES} or {node.module}
    return found & MODULES.keys() - {module(path)}


def module(path: Path) -> str:
    """Return a file's dotted name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in REPORTS}


def layer(name: str) -> int:
    """Return how high a module stands."""
    fits = {part: height for height, parts in enumerate(LAYERS) for part in parts}
    return fits[max((part for part in fits if within(part, name)), key=len)]


@pytest.mark.parametrize("path", REPORTS, ids=module)
def test_the_report_imports_downwards_only(path: Path) -> None:
    if module(path) == "reports":
        return
    assert [name for name in imported(path) if layer(name) > layer(module(path))] == []


def test_no_module_of_the_report_imports_itself_by_way_of_others() -> None:
    left = {name: imported(path) for name, path in MODULES.items()}
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert left == {}
