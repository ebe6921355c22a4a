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
RPC_FILES = set((ROOT / "paretopipe_runtime/worker/backends").glob("rpc*.py"))
RPC_MODULES = {f"paretopipe_runtime.worker.backends.{path.stem}" for path in RPC_FILES}
TRAINING = {"paretopipe_runtime.finetune"}  # it may start CUDA and reads foreign files
# What reports and planning may import of the runtime; errors has one class. Planning says which
# runs there are and how long they take, too, before any host is touched.
ERRORS = "paretopipe_runtime.errors"
SCHEDULE = tuple(
    f"paretopipe_runtime.orchestrator.{m}" for m in ("runs", "foreseen", "duration", "pace")
)
SHARED = tuple(f"paretopipe_runtime.{name}" for name in ("judging", "prediction"))
OPEN = ("paretopipe_runtime.contract", *SHARED, ERRORS)
# The one file that reads a state dict as PyTorch writes them; see what is asked of its call below.
STATE_DICT = ROOT / "paretopipe_runtime/finetune/state_dict.py"
SOURCES = sorted(
    path
    for folder in ("paretopipe_runtime", "reports", "roles")
    for path in (ROOT / folder).rglob("*.py")
    if "benchmarks" not in path.parts  # it unpickles: see tests/benchmarks/test_settings.py
)


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (
            "paretopipe_runtime.orchestrator.loop, paretopipe_runtime.orchestrator.forecast, "
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
        ("reports.cli, reports.statistics.judge", {"torch", "torchvision", "ansible"}),
        (", ".join(SCHEDULE), CONTROLLER_ONLY | {"torch", "numpy", "psutil", "safetensors"}),
    ],
    ids=["measuring process", "stage process", "socket backend", "relay", "report", "schedule"],
)
def test_imports_stay_on_their_side(modules: str, forbidden: set[str]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert not forbidden & set(done.stdout.split())


def imports_of(path: Path) -> set[str]:
    """Every module that a file names in an import, as far as it is named."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
    return names


def test_the_contract_needs_python_s_own_library_only() -> None:
    for path in (ROOT / "paretopipe_runtime/contract").glob("*.py"):
        for name in imports_of(path):
            ours = within("paretopipe_runtime.contract", name) or name == ERRORS
            assert ours or name.split(".")[0] in sys.stdlib_module_names, f"{path.name}: {name}"


@pytest.mark.parametrize("folder", ["reports", "roles/plan", "roles/netem", "roles/preflight"])
def test_reports_and_planning_know_of_the_runtime_what_the_contract_says(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for name in imports_of(path):
            if within("paretopipe_runtime", name):
                known = (*OPEN, *SCHEDULE) if folder == "roles/plan" else OPEN
                assert any(within(package, name) for package in known), f"{path}: {name}"


def within(module: str, name: str) -> bool:
    """Whether a dotted name is a module or something inside it."""
    return f"{name}.".startswith(f"{module}.")


@pytest.mark.parametrize(
    ("package", "needed"),
    [
        ("judging", ("numpy",)),
        ("prediction", ("paretopipe_runtime.contract", "paretopipe_runtime.records", ERRORS)),
    ],
)
def test_what_schedule_and_report_share_needs_little(package: str, needed: tuple[str, ...]) -> None:
    known = (f"paretopipe_runtime.{package}", *needed)
    for path in (ROOT / "paretopipe_runtime" / package).glob("*.py"):
        for name in imports_of(path):
            ours = any(within(each, name) for each in known)
            assert ours or name.split(".")[0] in sys.stdlib_module_names, f"{path.name}: {name}"


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
    ("paretopipe_runtime", "paretopipe_runtime.errors", "paretopipe_runtime.files"),
    ("paretopipe_runtime.version", "paretopipe_runtime.judging", "paretopipe_runtime.try_torch"),
    ("paretopipe_runtime.contract", "paretopipe_runtime.environment", "paretopipe_runtime.forked"),
    ("paretopipe_runtime.job", "paretopipe_runtime.wire", "paretopipe_runtime.records"),
    ("paretopipe_runtime.relay", "paretopipe_runtime.supervisor", "paretopipe_runtime.unit"),
    ("paretopipe_runtime.models", "paretopipe_runtime.prediction", "paretopipe_runtime.codecs"),
    ("paretopipe_runtime.weights", "paretopipe_runtime.worker.usage"),
    ("paretopipe_runtime.codecs", "paretopipe_runtime.engines", "paretopipe_runtime.golden"),
    ("paretopipe_runtime.own_weights",),
    ("paretopipe_runtime.worker.devices", "paretopipe_runtime.finetune"),
    ("paretopipe_runtime.worker.node", "paretopipe_runtime.worker.order"),
    ("paretopipe_runtime.worker.backends", "paretopipe_runtime.accuracy", "paretopipe_runtime.cut"),
    ("paretopipe_runtime.cut_onnx",),
    ("paretopipe_runtime.worker",),
    ("paretopipe_runtime.orchestrator",),
    ("paretopipe_runtime.commands", "paretopipe_runtime.cli"),
    ("reports.errors", "reports.words", "reports.parallel", "reports.objectives"),
    ("reports.paper",),
    ("reports.data",),
    ("reports.statistics",),
    ("reports.prediction",),
    ("reports.page",),
    ("reports.page.draw",),
    ("reports.page.sections",),
    ("reports.latex",),
    ("reports.page.render", "reports.page.index", "reports.console"),
    ("reports.cli", "reports.__main__"),
)
REPORTS = [path for path in SOURCES if path.is_relative_to(ROOT / "reports")]
RUNTIME = [path for path in SOURCES if path.is_relative_to(ROOT / "paretopipe_runtime")]


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


MODULES = {module(path): path for path in (*REPORTS, *RUNTIME)}


def layer(name: str) -> int:
    """Return how high a module stands."""
    fits = {part: height for height, parts in enumerate(LAYERS) for part in parts}
    return fits[max((part for part in fits if within(part, name)), key=len)]


@pytest.mark.parametrize("path", [*REPORTS, *RUNTIME], ids=module)
def test_imports_go_downwards_only(path: Path) -> None:
    if path.parent.parent == ROOT and path.stem == "__init__":
        return
    assert [name for name in imported(path) if layer(name) > layer(module(path))] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    left = {name: imported(path) for name, path in MODULES.items()}
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert left == {}


def test_measuring_and_fine_tuning_share_the_job_and_nothing_of_each_other() -> None:
    one, other = "paretopipe_runtime.orchestrator", "paretopipe_runtime.finetune"
    for name, path in MODULES.items():
        for here, there in ((one, other), (other, one)):
            if within(here, name):
                assert not [needed for needed in imported(path) if within(there, needed)], name


def test_no_backend_imports_another() -> None:
    """What they share is in `backend`; RPC is one backend in several files."""
    folder = "paretopipe_runtime.worker.backends"
    for name, path in MODULES.items():
        if within(folder, name) and not name.endswith(".backend"):
            others = {other for other in imported(path) if within(folder, other)}
            rpc = {other for other in others if other in RPC_MODULES and name in RPC_MODULES}
            assert others - rpc <= {f"{folder}.backend"}, name
