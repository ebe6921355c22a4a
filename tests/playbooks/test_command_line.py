"""Words typed at every playbook: they do what they say, or are answered with a sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.playbooks.conftest import ROOT, load

#: What JSON, YAML and -e make of the same value.
TYPED: list[tuple[str, Any, Any]] = [
    ("splits", 3, [[3]]),
    ("splits", [1, 14.0], [[1], [14]]),
    ("splits", " 1 , 3 ", [[1], [3]]),
    ("splits", "08", [[8]]),
    ("splits", True, "splits=true is not a split"),
    ("splits", None, "splits is empty"),
    ("splits", [[1], [2]], r"splits=\[\[1\], \[2\]\] is nested: write splits=a or splits=a,b"),
    ("splits", "9" * 5000, "is not a split"),
    ("splits", "١", "splits=١ is not a split"),
    ("batch", 16.0, 16),
    ("batch", 1e2, 100),
    ("batch", " 3 ", 3),
    ("batch", [8, 16], "batch=8,16 is not a positive whole number"),
    ("batch", True, "batch=true is not a positive whole number"),
    ("batch", 1.5, "batch=1.5 is not a positive whole number"),
    ("batch", float("inf"), "batch=Infinity is not a positive whole number"),
    ("batch", "", "batch= is not a positive whole number"),
    ("repeats", "٣", "repeats=٣ is not a positive whole number"),
    ("drift_limit", 5e-05, 5e-05),
    ("drift_limit", "5e-05", 5e-05),
    ("drift_limit", "0.00000000001", 1e-11),
    ("drift_limit", 0, 0.0),
    ("drift_limit", 1, "drift_limit=1 is not a fraction from 0 up to 1"),
    ("drift_limit", -0.05, "drift_limit=-0.05 is not a fraction"),
    ("drift_limit", float("nan"), "drift_limit=NaN is not a fraction"),
    ("end_points", "on", True),
    ("end_points", 0, False),
    ("end_points", None, "end_points= says neither yes nor no: write end_points=true"),
    ("end_points", "flase", "end_points=flase says neither yes nor no"),
    ("end_points", {"a": 1}, "end_points={'a': 1} is nested"),
]
#: A playbook, what is typed, and the sentence; "" for none.
NAMES = [
    ("netem", "dealy", "unknown option 'dealy': did you mean delay=…?"),
    ("netem", "netem_rat", "did you mean netem_rate=…?"),
    ("netem", "netem_lease", ""),
    ("report", "aganst", "did you mean against=…?"),
    ("report", "Goal", "did you mean goal=…?"),
    ("full_sweep", "repeat", "did you mean repeats=…?"),
    ("measure", "drift-limit", "did you mean drift_limit=…?"),
    ("prepare", "scenario", "did you mean scenarios=…?"),
    ("profile", "split", "did you mean splits=…?"),
    ("preflight", "models", "did you mean model=…?"),
    ("finetune", "epoch", "did you mean epochs=…?"),
    ("bench", "bench_network", "did you mean bench_networks=…?"),
    ("bootstrap", "fingerprint_checked", "did you mean fingerprints_checked=…?"),
    ("provision", "provison", "did you mean provision=…?"),
    ("provision", "worker_devise", "did you mean worker_device=…?"),
    ("deprovision", "processes_stat", "did you mean processes_state=…?"),
    ("reset", "preflight_timeot", "did you mean preflight_timeout=…?"),
    ("testbed", "testbed_stat", "did you mean testbed_state=…?"),
    ("wheelhouse", "runtime_version", "did you mean runtime_versions=…?"),
    ("reset", "_raw_params", "-e needs name=value, without a space: write -e model=vgg16"),
    ("measure", "runtime_versions", ""),
    ("reset", "ansible_user", ""),
    ("provision", "rack_of_the_lab", ""),
    ("netem", "model", "netem.yml has no option model, but cut.yml, finetune.yml, full_sweep.yml"),
    ("measure", "netem_delay", "measure.yml has no option netem_delay, but netem.yml: it changes"),
    ("reset", "colour", "reset.yml has no option colour: it changes nothing here"),
]
LIMITS = [
    ("provision", "pi1", ["pi1"], ""),
    ("deprovision", "all:!pi2", ["pi1"], ""),
    ("full_sweep", "all", ["pi1"], ""),
    ("reset", "localhost", [], "--limit localhost leaves reset.yml no host: name some of the"),
    ("measure", "pi1", ["pi1"], "does not go with measure.yml: it needs all hosts: choose with -e"),
    ("preflight", "workers", ["pi1"], "preflight.yml: it is about all hosts together, so leave it"),
    ("report", "localhost", [], "does not go with report.yml: it asks no host, so leave it out"),
]
SWEEPS = ["../../..", "/tmp", "", " ", ".", "..", "a b", "a/b", "-x", "é", "a" * 65, None, [1, 2]]


@pytest.fixture(scope="module")
def command() -> ModuleType:
    module: ModuleType = load("roles/plan/callback_plugins/command_line.py").command
    return module


@pytest.mark.parametrize(("name", "value", "right"), TYPED, ids=str)
def test_a_value_is_what_was_typed_however_it_comes(
    experiments: dict[str, Any], name: str, value: Any, right: Any
) -> None:
    cells = load("roles/plan/action_plugins/plan_cells.py")
    hosts = {
        host: {"address": f"192.0.2.{last}", "allow_insecure_rpc": False}
        for last, host in enumerate(("pi1", "server"), 1)
    }
    typed = {"model": ["mobilenetv2"], "pairings": "pi_to_gpu", name: value}

    def plan() -> Any:
        given = (typed, experiments["full"], experiments["scenarios"], hosts, {}, "server")
        planned = cells.plan_cells(*given)
        return planned["scenarios"][0]["cells"][0]["plan"][
            "batch_size" if name == "batch" else name
        ]

    if isinstance(right, str):
        with pytest.raises(cells.OptionError, match=right):
            plan()
    else:
        assert plan() == right


@pytest.mark.parametrize("name", SWEEPS, ids=str)
@pytest.mark.parametrize("option", ["sweep", "against"])
def test_a_sweep_s_name_leaves_no_folder(command: ModuleType, option: str, name: Any) -> None:
    if option == "against" and not str(name or "").strip():
        return  # none is meant
    with pytest.raises(command.OptionError, match="cannot name a folder"):
        command.valued({f"report_{option}": name})
    with pytest.raises(command.OptionError, match="cannot name a folder"):
        command.report.plan_report({"model": "vgg16", option: name})


def test_a_report_s_options_come_as_lists_too(command: ModuleType) -> None:
    typed = {"model": ["vgg16", "resnet18"], "dominance": 5e-05, "paper": "yes", "against": 2024}
    assert command.report.plan_report(typed) == {
        **{"sweep": "vgg16-resnet18", "against": "2024", "dominance": 5e-05, "paper": True},
        **{"goal": "", "accuracy_margin": 0.5},
    }


@pytest.mark.parametrize(("playbook", "name", "sentence"), NAMES)
def test_a_name_is_known_or_told(
    command: ModuleType, playbook: str, name: str, sentence: str
) -> None:
    if "did you mean" in sentence or name == "_raw_params":
        with pytest.raises(command.OptionError, match=re.escape(sentence)):
            command.named(playbook, [name])
    else:
        told = command.named(playbook, [name], ["rack_of_the_lab"])
        assert [sentence in line for line in told] == ([True] if sentence else [])


def test_every_playbook_knows_the_options_that_its_head_and_the_docs_name(
    command: ModuleType,
) -> None:
    heads = {path.stem: path.read_text() for path in (ROOT / "playbooks").glob("*.yml")}
    assert heads.keys() == command.PLAYBOOKS.keys()
    for playbook, text in heads.items():
        head = "".join(line for line in text.splitlines() if line.startswith("#"))
        typed = set(re.findall(r"\b([a-z_]+)=", head))
        assert typed <= command.legal(playbook), playbook
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for line in "\n".join(path.read_text() for path in documents).splitlines():
        for playbook in re.findall(r"(\w+)\.yml", line):
            if playbook in heads and "-e" in line:
                typed = {*re.findall(r"-e \"?([a-z_]+)=", line)} - {"name"}
                assert typed <= command.legal(playbook), line


@pytest.mark.parametrize(("playbook", "limit", "left", "sentence"), LIMITS)
def test_a_limit_serves_or_is_refused(
    command: ModuleType, playbook: str, limit: str, left: list[str], sentence: str
) -> None:
    if not sentence:
        command.limited(playbook, limit, left)
        return
    with pytest.raises(command.OptionError, match=re.escape(sentence)):
        command.limited(playbook, limit, left)


def test_tags_are_those_that_there_are(command: ModuleType) -> None:
    command.tagged(["all"], [], ["measure"])
    command.tagged(["untagged", "measure"], ["preflight"], ["measure", "preflight"])
    for asked, skipped, sentence in (
        (["mesure"], [], "unknown tag 'mesure': choose from measure"),
        (["all"], ["mesure"], "did you mean measure?"),
        (["all"], ["always"], "--skip-tags always leaves out checks that nothing repeats"),
    ):
        with pytest.raises(command.OptionError, match=re.escape(sentence)):
            command.tagged(asked, skipped, ["measure", "always"])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"preflight": "flase"}, "preflight=flase says neither yes nor no"),
        ({"quick": None}, "quick= says neither yes nor no"),
        ({"bench_networks": ["wan"]}, "bench_networks=wan is no text: write bench_networks=a,b"),
        ({"preflight_timeout": "soon"}, "preflight_timeout=soon is no number of seconds"),
        ({"provision": "ful"}, "did you mean full?"),
    ],
)
def test_a_value_that_no_plan_checks_is_checked(
    command: ModuleType, value: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(command.OptionError, match=re.escape(sentence)):
        command.valued(value)


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that calls ansible-playbook from elsewhere."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}

    def called(*words: object, cwd: Path = tmp_path, **more: str) -> Any:
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), *map(str, words)],
            cwd=cwd,
            env={**own, "ANSIBLE_NOCOLOR": "1", **more},
            capture_output=True,
            text=True,
            check=False,
        )

    return called


# The playbooks whose plays Ansible would skip or could not read without its settings.
@pytest.mark.parametrize("name", ["prepare", "provision"])
def test_from_another_folder_it_says_what_to_type(call: Callable[..., Any], name: str) -> None:
    done = call(ROOT / f"playbooks/{name}.yml")
    assert done.returncode == 1
    assert (
        f"no ansible.cfg instead of {ROOT}/ansible.cfg: say export ANSIBLE_CONFIG=" in done.stderr
    )


def test_a_link_an_inventory_and_a_name_are_told_before_anything_starts(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    config = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    (tmp_path / "plays").symlink_to(ROOT / "playbooks")
    done = call("plays/report.yml", **config)
    assert (done.returncode, "report.yml is a link" in done.stderr) == (1, True)
    # Without settings nothing of ours is asked.
    (tmp_path / "netem.yml").symlink_to(ROOT / "playbooks/netem.yml")
    assert call("netem.yml", "-e", "netem_delay=1ms").returncode != 0
    done = call(ROOT / "playbooks/netem.yml", "-i", "localhost,", **config)
    assert "netem.yml finds no group orchestrator, or nobody in it: name an inve" in done.stderr
    (tmp_path / "mine.yml").write_text("dealy: 200ms\n")
    done = call(ROOT / "playbooks/netem.yml", "-e", f"@{tmp_path}/mine.yml", **config)
    assert (done.returncode, "did you mean delay=…?" in done.stderr) == (1, True)
    assert "Shape the network" not in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.thorough)])
def test_a_terminal_that_lacks_a_letter_gets_the_rest(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "é").mkdir()
    for words in (
        ["-m", "paretopipe_runtime.cli", "models"],
        ["-m", "reports", str(tmp_path / "é"), "--out", str(tmp_path)],
    ):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert b"Traceback" not in done.stdout
        assert b"blocks, splits 1?38" in done.stdout or b"E_NO_R" in done.stdout, done.stdout
