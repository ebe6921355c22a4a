"""Images told right with a codec at the cuts: counted as a plain loop counts them, and kept."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from paretopipe_runtime import codecs, forked
from paretopipe_runtime.accuracy import Trial
from paretopipe_runtime.cli import main
from paretopipe_runtime.contract.accuracy import Accuracy, mcnemar
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.contract.splits import Cuts, codec_of, coded, split_name
from paretopipe_runtime.contract.weights import Published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.datasets import open_dataset
from paretopipe_runtime.finetune.images import Images, prepared
from paretopipe_runtime.job import Lease
from paretopipe_runtime.orchestrator import accuracy, loop
from paretopipe_runtime.orchestrator.progress import Progress
from paretopipe_runtime.orchestrator.runs import Work
from paretopipe_runtime.records import Records
from paretopipe_runtime.weights import load_stage, publish
from tests.made import plans
from tests.made import weights as made

PX = 32
SPLITS: list[Cuts] = [coded([cut], name) for cut in (4, 18) for name in ("int8", "int4")]


def test_mcnemar_by_hand() -> None:
    # Of 12 images 2 or fewer by chance: (1 + 12 + 66) / 4096, and as many on the other side.
    for pairs, p in {(10, 2): 158 / 4096, (5, 0): 2 / 32, (3, 1): 10 / 16, (0, 0): 1}.items():
        assert mcnemar(*pairs) == mcnemar(*pairs[::-1]) == pytest.approx(p)
    assert mcnemar(2, 2) == 1
    assert mcnemar(9000, 8000) == pytest.approx(1.8e-14, rel=0.1)  # by a normal: z = 7.66
    assert mcnemar(10**5, 0) == 0  # below what a float holds, and no overflow


@pytest.mark.parametrize(
    "change",
    [
        {"images": 0},
        {"images": 10**7},
        {"images": 100, "unsplit": 99, "only_split": 2},
        {"only_unsplit": 91},
        {"only_split": -1},
        {"unsplit": 90.0},
        {"unsplit": True},
        {"cuts": "3 int8"},
        {"cuts": [3, "int9"]},
        {"cuts": [None, "int8"]},
        {"cuts": {"3": "int8"}},
    ],
)
def test_counts_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    sound = {"cuts": [3, "int8"], "images": 100, "unsplit": 90, "only_unsplit": 3, "only_split": 1}
    known = Accuracy.from_json(sound)
    assert (known.right, known.percent, known.change, known.codec) == (88, 88.0, -2.0, "int8")
    assert known.to_json() == sound
    with pytest.raises((KeyError, TypeError, ValueError, ParetoPipeError)):
        Accuracy.from_json({**sound, **change})


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def trained(state: Path) -> Published:
    """MobileNetV2 that says it was trained on digits; its random values tell some by chance."""
    published = made.written(state / "weights")
    digits = open_dataset("digits", PX, state)
    origin = dataclasses.replace(made.ORIGIN, dataset_sha256=digits.sha256)
    manifest = dataclasses.replace(published.manifest, origin=origin)
    return dataclasses.replace(published, manifest=manifest)


def plan_document(published: Published, **changes: Any) -> dict[str, Any]:
    return plans.document(
        image_px=PX, batch_size=8, splits=[[4], [18]], **made.named(published), **changes
    )


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A dozen of the held-out images, a batch and a part of one; by one thread: it is little."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr("paretopipe_runtime.accuracy.IMAGES", 12)
    yield
    monkeypatch.undo()
    torch.set_num_threads(threads)


def naive(images: Images, published: Published, store: Path, cuts: Cuts) -> list[int]:
    """Run stage by stage, loaded one by one, an image at a time."""
    known = published.manifest
    ranges = itertools.pairwise([0, *cuts, len(known.blocks)])
    stages = [load_stage("mobilenetv2", 10, known, store, *part) for part in ranges]
    found = []
    with torch.inference_mode():
        for place in range(len(images)):
            tensor = stages[0](prepared(images.load(torch.tensor([place])), PX))
            for stage in stages[1:]:
                payload = codecs.encode(codec_of(cuts), tensor, "contiguous")
                size = tuple(tensor.shape)
                tensor = stage(codecs.decode(codec_of(cuts), payload, size, "contiguous"))
            found.append(int(tensor.argmax()))
    return found


@pytest.mark.usefixtures("few")
def test_a_split_tells_right_what_its_stages_do_one_by_one(state: Path, trained: Published) -> None:
    trial = Trial.of(read_plan(plan_document(trained)).workload, state)
    assert len(trial.images) == 12
    # Random weights tell hardly any digit, so that all would be equally wrong: ask for what the
    # network itself says, of every other image.
    store = state / "weights"
    said = torch.tensor(naive(trial.images, trained, store, ()))
    labels = torch.where(torch.arange(12) % 2 == 0, said, (said + 1) % 10)
    trial = dataclasses.replace(trial, images=Images(labels, trial.images.load))
    assert trial.right([()]) == [(labels == said).tolist()]
    for cut in (4, 18):
        own = [cuts for cuts in SPLITS if cuts[0] == cut]
        expected = [naive(trial.images, trained, store, cuts) for cuts in own]
        assert trial.right(own) == [(labels == torch.tensor(each)).tolist() for each in expected]
    cuts = coded([4, 18], "int4")
    through_three = torch.tensor(naive(trial.images, trained, store, cuts))
    assert trial.right([cuts]) == [(labels == through_three).tolist()]


def test_images_are_those_that_training_held_out(state: Path, trained: Published) -> None:
    trial = Trial.of(read_plan(plan_document(trained)).workload, state)
    digits = open_dataset("digits", PX, state)
    assert trial.images.labels.tolist() == digits.test.labels.tolist()
    places = torch.arange(8)
    assert torch.equal(trial.images.load(places), digits.test.load(places))


def here(function: Any) -> Any:
    """Stand in for a forked child: this process has torch's threads, and the measuring one none."""
    return json.loads(json.dumps(function()))


def told(
    document: dict[str, Any], state: Path, recorded: dict[str, Record], path: Path
) -> list[Record]:
    plan = read_plan(document)
    plan = dataclasses.replace(plan, splits=(*plan.splits, *SPLITS))

    class Prepared:
        work = (0.05,) * 20

    return [
        *accuracy.measure(
            plan,
            Prepared(),  # type: ignore[arg-type]
            state,
            recorded,
            Progress(path, plan.cell_id, [], {}, {}),
        )
    ]


@pytest.mark.usefixtures("few")
def test_a_sweep_records_each_once_and_goes_on_where_it_was_stopped(
    tmp_path: Path, state: Path, trained: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, progress = plan_document(trained), tmp_path / "progress"
    calls = []

    def stopped(function: Any) -> Any:
        calls.append(here(function))
        if len(calls) == 2:  # the signal that stops a sweep ends its child, too
            raise ParetoPipeError("E_CRASH", "a child process ended with exit status -15")
        return calls[-1]

    monkeypatch.setattr(accuracy, "_ENOUGH_S", 0.0)
    monkeypatch.setattr(forked, "call", stopped)
    (given_up,) = told(document, state, {}, progress)
    assert "exit status -15" in given_up["reason"]
    said = json.loads(progress.read_text())["current"]
    assert said == f"accuracy from {split_name(SPLITS[0])} on, about 1 min"
    found = told(document, state, {}, progress)
    assert len(calls) == 3  # the network without a cut, and each cut once
    assert [one["cuts"] for one in found] == [[4, "int8"], [4, "int4"], [18, "int8"], [18, "int4"]]
    records = Records(tmp_path / "cell.jsonl")
    for one in [given_up, *found, *found]:
        records.append_accuracy(document["cell_id"], one)
    assert len(records.path.read_bytes().splitlines()) == 5
    again = Records(records.path)
    assert told(document, state, again.accuracies, progress) == []
    # Other weights, other accuracy.
    other = dataclasses.replace(trained, name="other")
    manifest = dataclasses.replace(other.manifest, source="another")
    other = dataclasses.replace(other, manifest=manifest)
    assert len(told(plan_document(other), state, again.accuracies, progress)) == 4


@pytest.mark.usefixtures("few")
def test_without_its_images_a_set_s_accuracy_is_not_known(
    tmp_path: Path, state: Path, trained: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "call", here)
    said = []
    for change in ({"dataset": "cifar10"}, {"dataset": "flowers"}, {"dataset_sha256": "1" * 64}):
        origin = dataclasses.replace(trained.manifest.origin, **change)  # type: ignore[type-var]
        manifest = dataclasses.replace(trained.manifest, origin=origin)
        document = plan_document(dataclasses.replace(trained, manifest=manifest))
        (line,) = told(document, state, {}, tmp_path / "progress")
        said.append(line["reason"].partition(" — ")[0])
    told_where = "accuracy is told on the host that measures, and data set"
    assert said == [
        f"{told_where} cifar10 is not there",
        f"{told_where} flowers is not there",
        f"{told_where} digits is another one there",
    ]


def test_random_weights_have_none(tmp_path: Path, state: Path) -> None:
    document = plans.document(image_px=PX, batch_size=8, splits=[[4], [18]])
    assert told(document, state, {}, tmp_path / "progress") == []


@pytest.mark.usefixtures("few")
def test_the_command_tells_a_line_a_split(
    state: Path,
    trained: Published,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(forked, "call", here)
    publish(state / "weights", trained, {})  # trained with images of PX
    command = ["accuracy", "mobilenetv2", "--state-dir", str(state), "--batch", "4"]
    assert main([*command, "--splits", "4,18", "--codec", "int8,int4"]) == 0
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert [line[:2] for line in lines] == [split_name(cuts).split() for cuts in SPLITS]
    assert all(" of 12 images, " in line for line in said.out.splitlines())
    assert "accuracy of 4 splits with a codec on 12 held-out images" in said.err
    for change, error in {
        ("--weights", "others"): "E_WEIGHTS: no weights 'others' of mobilenetv2 here",
        ("--weights", "../x"): "E_OPTION: weights=../x cannot name a set",
        ("--splits", "3;9"): "E_SPLIT: splits=3;9, expected cut points such as 3,9, or all",
        ("--splits", "21"): "E_SPLIT: split 21 of mobilenetv2 is out of range",
        ("--codec", "int8,zip"): "E_CODEC: unknown codec 'zip'",
        ("--codec", "none"): "E_OPTION: splits=all and codec=none name no split with a codec",
        ("--batch", "0"): "E_OPTION: batch=0, expected 1 or more",
    }.items():
        assert main([*command, *change]) == 2
        assert capsys.readouterr().err.startswith(error)


def test_a_sweep_tells_accuracy_first_and_a_stop_leaves_no_line_behind_it(tmp_path: Path) -> None:
    path, stopping = tmp_path / "cell.jsonl", list[int]()

    def measure(number: int) -> None:
        known = Accuracy(coded([4], "int8"), 400, 300, number, 0)

        def tell(recorded: Any, _progress: Any) -> Any:
            assert len(recorded) == (number == 3)
            yield known.to_json()
            stopping.append(15)
            yield {"reason": "a child process ended with exit status -15"}

        work = Work("run", plans.document(), [], lambda *_: {}, lambda _: {}, {}, accuracy=tell)
        files = loop.SweepFiles(path, None, None, Lease(None, 60), tmp_path)
        keys: Any = None
        looping = loop._Loop(work, keys, Records(path), files, None, stopping)
        with pytest.raises(loop._Ended):
            looping.complete()
        stopping.clear()

    measure(2)
    measure(3)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["kind"] for line in lines] == ["plan", "accuracy", "accuracy"]
    assert [line.get("only_unsplit") for line in lines] == [None, 2, 3]
