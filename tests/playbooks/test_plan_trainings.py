"""Options for fine-tuning become arguments, and published weights become plans."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from paretopipe_runtime.contract import plan as runtime_plan
from paretopipe_runtime.weights import publish
from tests.made.weights import unwritten

ROOT = Path(__file__).resolve().parents[2]
PROVENANCE = {"commit": "0" * 40, "dirty": False, "controller": {}}
HOSTS = {
    host: {
        **{"address": address, "allocator": "tuned", "device": "cpu"},
        "allow_insecure_rpc": False,
    }
    for host, address in {"pi1": "192.0.2.11", "pi2": "192.0.2.12", "server": "192.0.2.10"}.items()
}


@pytest.fixture(scope="module")
def trainings(plugin: Callable[[str], ModuleType]) -> ModuleType:
    module: ModuleType = plugin("roles/plan/action_plugins/plan_options.py").training
    return module


@pytest.fixture
def plan(trainings: ModuleType) -> Callable[..., dict[str, Any]]:
    def planned(**options: str) -> dict[str, Any]:
        result: dict[str, Any] = trainings.plan_trainings(options)
        return result

    return planned


@pytest.fixture
def cells(
    plugin: Callable[[str], ModuleType], experiments: dict[str, Any], tmp_path: Path
) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that plans cells with the sets in a folder."""
    module = plugin("roles/plan/action_plugins/plan_cells.py")

    def planned(**options: str) -> list[dict[str, Any]]:
        sets = module.read_sets(tmp_path, module.set_name(options))
        given = (experiments["full"], experiments["scenarios"], HOSTS)
        made = module.plan_cells(options, *given, PROVENANCE, "server", sets)
        plans = [cell["plan"] for group in made["scenarios"] for cell in group["cells"]]
        return [*plans, *(labelled["plan"] for labelled in made["profiles"])]

    return planned


def home(folder: Path, model: str, classes: int = 10, name: str = "finetuned") -> Path:
    """Write a manifest where finetune.yml does."""
    store = folder / "orchestrator"
    path = publish(store, unwritten(model, classes, name), {})
    (folder / name).mkdir(exist_ok=True)
    return path.rename(folder / name / f"{model}.json")


def test_nothing_but_the_model_leaves_everything_to_the_command(plan: Any) -> None:
    planned = plan(model="vgg16")
    assert planned["weights"] == "finetuned"
    assert planned["trainings"] == [
        {
            "model": "vgg16",
            "label": "fine-tuning vgg16 cifar10",
            "arguments": ["vgg16", "--weights=finetuned"],
        }
    ]


def test_options_become_arguments_that_the_command_knows(plan: Any) -> None:
    planned = plan(
        **{"model": "vgg16,alexnet", "weights": "mine", "dataset": "/data/my images"},
        **{"pretrained": "/data/x.pth", "epochs": "0", "patience": "3", "batch": "32"},
        **{"lr": "1e-3", "image": "64", "classes": "1000", "seed": "0", "device": "cuda"},
    )
    assert [training["model"] for training in planned["trainings"]] == ["vgg16", "alexnet"]
    arguments = planned["trainings"][0]["arguments"]
    assert "--dataset=/data/my images" in arguments
    help_ = subprocess.run(
        [sys.executable, "-m", "paretopipe_runtime.cli", "finetune", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(argument.partition("=")[0] in help_ for argument in arguments[1:])
    assert len(plan(model="all")["trainings"]) == 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "no model given: choose with -e model=… from mobilenetv2"),
        ({"model": "vgg61"}, "unknown model 'vgg61'"),
        ({"dataset": "cifar100"}, "dataset=cifar100 is unknown: choose from cifar10, digits, or"),
        ({"dataset": "here/it/is"}, "the absolute path of one on the orchestrator"),
        ({"pretrained": "cifar"}, "pretrained=cifar is unknown: choose from imagenet, none"),
        ({"epochs": "many"}, "epochs=many is not a whole number"),
        ({"patience": "0"}, "patience=0 is not a positive whole number"),
        ({"lr": "fast"}, "lr=fast is not a number above 0"),
        ({"lr": "0.0"}, "lr=0.0 is not a number above 0"),
        ({"device": "tpu"}, "unknown device 'tpu': choose from auto, cpu, cuda"),
        ({"weights": "seeded"}, "weights=seeded stands for weights that are not trained"),
        ({"weights": "a/b"}, "weights=a/b cannot name a set"),
    ],
)
def test_a_mistake_is_one_sentence(
    plan: Any, trainings: ModuleType, options: dict[str, str], sentence: str
) -> None:
    model = {"model": "vgg16"} if options else {}
    with pytest.raises(trainings.OptionError) as raised:
        plan(**{**model, **options})
    assert sentence in str(raised.value)


def test_a_plan_carries_the_weights_that_it_names(cells: Any, tmp_path: Path) -> None:
    home(tmp_path, "vgg16")
    for document in cells(model="vgg16", weights="finetuned"):
        # The weights' classes and images are the default.
        assert (document["classes"], document["image_px"]) == (10, 32)
        assert document["weights"] == "finetuned"
        assert document["provenance"]["options"]["weights"] == "finetuned"
        if "kind" not in document:
            weights = runtime_plan.read_plan(document).workload.weights
            assert weights == unwritten("vgg16")
    for document in cells(model="vgg16"):
        assert (document["classes"], document["image_px"]) == (1000, 224)
        assert "weights" not in document
        assert document["provenance"]["options"]["weights"] == "seeded"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"model": "vgg16,alexnet"},
            "there are no weights 'finetuned' for alexnet: make them with ansible-playbook "
            "playbooks/finetune.yml -e model=alexnet",
        ),
        ({"model": "vgg16", "weights": "other"}, "-e model=vgg16 -e weights=other"),
        (
            {"model": "vgg16", "classes": "1000"},
            "weights=finetuned of vgg16 have 10 classes, not 1000: leave classes out",
        ),
        ({"model": "vgg16", "weights": "../finetuned"}, "cannot name a set"),
    ],
)
def test_weights_that_are_not_there_say_how_to_make_them(
    cells: Any, tmp_path: Path, options: dict[str, str], sentence: str
) -> None:
    home(tmp_path, "vgg16")
    with pytest.raises(ValueError, match="weights") as raised:
        cells(**{"weights": "finetuned", **options})
    assert sentence in str(raised.value)


@pytest.mark.parametrize("damage", ["{", "[]", '{"weights": "finetuned"}', "other model"])
def test_a_damaged_manifest_says_what_to_remove(cells: Any, tmp_path: Path, damage: str) -> None:
    path = home(tmp_path, "vgg16")
    if damage == "other model":
        damage = json.dumps({**json.loads(path.read_text()), "weights": "mine"})
    path.write_text(damage)
    with pytest.raises(ValueError, match=r"vgg16\.json is damaged: remove it and run playbooks/"):
        cells(model="vgg16", weights="finetuned")
