"""Check the options of `playbooks/finetune.yml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from paretopipe_runtime.contract.models import MODEL_NAMES

from .models import model_names
from .sets import DEFAULT, SEEDED, file_of, set_name
from .values import OptionError, known, text, whole

OPTIONS = (
    *("model", "weights", "dataset", "pretrained", "epochs", "patience", "batch", "lr"),
    *("image", "classes", "seed", "device"),
)
DEVICES = ("auto", "cpu", "cuda")
_NAMES = {"dataset": ("cifar10", "digits"), "pretrained": ("imagenet", "none")}
_POSITIVE = ("patience", "batch", "image", "classes")


def plan_trainings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the set's name and a training per model: label and command arguments.

    Raises
    ------
    OptionError
        For an unknown name, or a number out of range.
    """
    names = known("model", model_names(options), MODEL_NAMES)  # others' weights nobody publishes
    if path := file_of(options):
        raise OptionError(f"weights={path}: choose a name to publish under; pretrained takes files")
    name = set_name({"weights": DEFAULT, **options})
    if name == SEEDED:
        raise OptionError(
            f"weights={SEEDED} stands for weights that are not trained: choose a name"
        )
    told = {key: _checked(key, value) for key, value in options.items() if key != "model"}
    told["weights"] = name
    return {
        "weights": name,
        "trainings": [
            {
                "model": model,
                "label": f"fine-tuning {model} {told.get('dataset', 'cifar10')}",
                "arguments": [model, *(f"--{key}={value}" for key, value in sorted(told.items()))],
            }
            for model in names
        ],
    }


def _checked(key: str, value: Any) -> str:
    said = text(key, value)
    # systemd would expand $NAME.
    path = said.startswith("/") and "$" not in said and said.isprintable()
    if key in _NAMES and said not in _NAMES[key] and not path:
        raise OptionError(
            f"{key}={said} is unknown: choose from {', '.join(_NAMES[key])}, or give the absolute "
            "path of one on the orchestrator, without a $ in it"
        )
    if key in _POSITIVE:
        whole(key, said)
    if key in ("epochs", "seed") and not re.fullmatch(r"[0-9]{1,9}", said):
        raise OptionError(f"{key}={said} is not a whole number: write e.g. {key}=5")
    if key == "lr" and not (
        re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]{1,2})?", said) and float(said) > 0
    ):
        raise OptionError(f"lr={said} is not a number above 0: write e.g. lr=0.01")
    if key == "device":
        known("device", [said], DEVICES)
    return said
