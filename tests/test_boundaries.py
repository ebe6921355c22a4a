"""Lines that no import may cross, and calls that nobody may make."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTROLLER_ONLY = {"pandas", "seaborn", "matplotlib", "jinja2", "moocore", "ansible", "reports"}
UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "yaml.load", "os.system"}
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
        ("paretopipe_runtime.worker.preload", CONTROLLER_ONLY),
        ("reports.cli", {"torch", "torchvision", "ansible", "paretopipe_runtime"}),
    ],
    ids=["measuring process", "stage process", "report"],
)
def test_imports_stay_on_their_side(modules: str, forbidden: set[str]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert not forbidden & set(done.stdout.split())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_deserialises_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        assert not UNSAFE_MODULES & set(names), f"line {getattr(node, 'lineno', '?')}"
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in UNSAFE_CALLS, f"line {node.lineno}"
            for keyword in node.keywords:
                allows = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                assert not (keyword.arg in {"allow_pickle", "shell"} and allows)
