"""A training that is killed goes on, and makes the very weights it would have made."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.weights import read_published
from paretopipe_runtime.weights import check_store
from tests.finetune.processes import STEPS, Processes, arguments, data

# Kills the process when a function is called for the n-th time, before it does anything; with a
# checkpoint before every step, as if each took five minutes.
KILL = """
import os, signal
from paretopipe_runtime.finetune import checkpoints, job, result, training
training.CHECKPOINT_S = 0
def kill(place, name, times):
    inner, calls = getattr(place, name), [0]
    def counted(*arguments, **more):
        calls[0] += 1
        if calls[0] == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments, **more)
    setattr(place, name, counted)
kill({place}, {name!r}, {times})
"""
# Kills the process on either side of the moment in which the set's name changes its meaning.
PUBLISHING = """
import os, signal
from pathlib import Path
inner = Path.replace
def replace(self, target):
    ours = '/weights/sets/' in str(target)
    if ours and {when!r} == 'before':
        os.kill(os.getpid(), signal.SIGKILL)
    made = inner(self, target)
    if ours:
        os.kill(os.getpid(), signal.SIGKILL)
    return made
Path.replace = replace
"""
POINTS = {
    "while the first is written": ("checkpoints", "write_json", 1),
    "in the midst of an epoch": ("training.Training", "_step", 3),
    "between the tensors and what names them": ("checkpoints", "write_json", 2),
    "in a validation": ("training", "evaluate", 1),
    "at the end of another epoch": ("training.Training", "_step", STEPS + 1),
    "when the training is over": ("job", "store_blocks", 1),
    "between two blocks of the store": ("result", "write_block", 9),
    "before the result is kept": ("result", "publish", 1),
    "before its checkpoints are removed": ("checkpoints.Checkpoints", "remove", 1),
}


def published(folder: Path) -> dict[str, Any]:
    path = folder / "state/weights/sets/finetuned/mobilenetv2.json"
    document: dict[str, Any] = json.loads(path.read_text())
    weights = read_published(document)
    assert weights is not None
    check_store(weights, folder / "state/weights")
    return document


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, processes: Processes) -> dict[str, Any]:
    """What the training makes that nobody kills."""
    folder = data(tmp_path_factory.mktemp("whole"))
    done = processes.train(folder)
    assert done.status == 0, done.stderr
    return published(folder)


def test_killed_at_every_point_it_makes_the_same_weights(
    whole: dict[str, Any], folder: Path, processes: Processes
) -> None:
    for point, (place, name, times) in POINTS.items():
        kill = KILL.format(place=place, name=name, times=times)
        done = processes.train(folder, before=kill)
        assert done.status == -signal.SIGKILL, (point, done.stderr)
    done = processes.train(folder)
    assert done.status == 0, done.stderr
    again = published(folder)
    assert again["weights_digest"] == whole["weights_digest"]
    assert again["made"]["history"] == whole["made"]["history"]
    assert not list((folder / "state/finetune").rglob("*.partial"))
    assert not list((folder / "state/finetune").rglob("*.safetensors")), "checkpoints are removed"


def test_killed_while_it_publishes_the_name_means_the_old_or_the_new_set(
    folder: Path, processes: Processes
) -> None:
    train = ("--epochs", "1", "--seed")
    assert processes.train(folder, *train, "0").status == 0
    old = published(folder)
    for when, seed in (("before", 0), ("after", 1)):
        done = processes.train(folder, *train, "1", before=PUBLISHING.format(when=when))
        assert done.status == -signal.SIGKILL, done.stderr
        now = published(folder)
        assert now["weights_manifest"]["origin"]["seed"] == seed
        assert (now == old) is (when == "before")
    assert processes.train(folder, *train, "1").status == 0
    assert published(folder) == now, "what was trained before the kill is not trained again"


def test_told_to_stop_it_keeps_the_step_and_says_so(
    whole: dict[str, Any], folder: Path, processes: Processes
) -> None:
    slow = "import time; from paretopipe_runtime.finetune.training import Training as T; step = "
    slow += "T._step; T._step = lambda *given: (time.sleep(0.5), step(*given))[1]"
    pid = processes.start(folder, arguments(folder), slow)
    progress = folder / "progress.json"
    deadline = time.monotonic() + 60
    while not progress.exists() or json.loads(progress.read_text())["runs_done"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(pid, signal.SIGTERM)
    done = processes.wait()
    assert done.status == 75
    assert done.stderr == "fine-tuning stopped; the same command goes on\n"
    (checkpoint,) = (folder / "state/finetune").glob("*/checkpoint.json")
    assert json.loads(checkpoint.read_text())["step"] >= 2
    assert processes.train(folder).status == 0
    assert published(folder)["weights_digest"] == whole["weights_digest"]


def test_without_its_lease_it_stops(folder: Path, processes: Processes) -> None:
    lease = folder / "lease"
    lease.touch()
    os.utime(lease, (0, 0))
    done = processes.train(folder, "--lease", str(lease))
    assert done.status == 75
    assert "the same command goes on" in done.stderr


def test_other_settings_are_another_training_and_the_same_are_found(
    folder: Path, processes: Processes
) -> None:
    digests, spent = [], []
    for more in ((), ("--seed", "1"), (), ("--weights", "other")):
        done = processes.train(folder, "--epochs", "1", *more)
        assert done.status == 0, done.stderr
        name = "other" if "other" in more else "finetuned"
        path = folder / f"state/weights/sets/{name}/mobilenetv2.json"
        assert f"published as '{name}': {path}" in done.stdout
        digests.append(json.loads(path.read_text())["weights_digest"])
        spent.append(json.loads((folder / "progress.json").read_text())["runs_done"])
    assert digests[0] == digests[2] == digests[3] != digests[1]
    assert spent == [STEPS, STEPS, 0, 0], "what is known is not trained again"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("json", "Expecting"),
        ("name", "it names no file"),
        ("content", "has another content"),
        ("gone", "No such file"),
        ("epochs", "its epochs are not 0, 1, 2"),
        ("version", "schema_version 9"),
    ],
)
def test_a_damaged_checkpoint_says_what_to_remove(
    tmp_path: Path, damage: str, words: str, stopped: Path, processes: Processes
) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    (file,) = (tmp_path / "state/finetune").glob("*/checkpoint.json")
    document = json.loads(file.read_text())
    tensors = file.with_name(f"{document['tensors']}.safetensors")
    if damage == "json":
        file.write_text("{")
    elif damage == "content":
        content = bytearray(tensors.read_bytes())
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "gone":
        tensors.unlink()
    else:
        document |= {
            "name": {"tensors": "../../../../etc/passwd"},
            "epochs": {"history": []},
            "version": {"schema_version": 9},
        }[damage]
        file.write_text(json.dumps(document))
    # The data set is part of the training's name, its place is not.
    done = processes.train(tmp_path)
    assert done.status == 2
    assert done.stderr.startswith(f"E_CHECKPOINT: the checkpoint in {file.parent} is damaged: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, processes: Processes) -> Path:
    """A folder with a training that was killed in its first epoch."""
    folder = data(tmp_path_factory.mktemp("stopped"))
    point = KILL.format(place="training.Training", name="_step", times=3)
    assert processes.train(folder, before=point).status == -signal.SIGKILL
    return folder
