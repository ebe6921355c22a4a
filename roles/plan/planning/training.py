"""Check the options of `playbooks/finetune.yml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .choice import model_names
from .sets import DEFAULT, SEEDED, set_name
from .values import OptionError, known, whole

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
    names = model_names(options)
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
    text = str(value)
    # systemd would expand $NAME.
    path = text.startswith("/") and "$" not in text and text.isprintable()
    if key in _NAMES and text not in _NAMES[key] and not path:
        raise OptionError(
            f"{key}={text} is unknown: choose from {', '.join(_NAMES[key])}, or give the absolute "
            "path of one on the orchestrator, without a $ in it"
        )
    if key in _POSITIVE:
        whole(key, text)
    if key in ("epochs", "seed") and not re.fullmatch(r"[0-9]{1,9}", text):
        raise OptionError(f"{key}={text} is not a whole number: write e.g. {key}=5")
    if key == "lr" and not (re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]+)?", text) and float(text) > 0):
        raise OptionError(f"lr={text} is not a number above 0: write e.g. lr=0.01")
    if key == "device":
        known("device", [text], DEVICES)
    return text
