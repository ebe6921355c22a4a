"""Read weight sets published by playbooks/finetune.yml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.models import is_found, is_onnx

from .values import OptionError, text

SEEDED, DEFAULT = "seeded", "finetuned"
#: Said of models that are files with weights.
FILE = "file"
_PARTS = ("weights", "weights_digest", "weights_manifest")


@dataclass(frozen=True)
class Weights:
    """One model's weights in a set; `plan` has the keys for a plan.

    `image`: side of the images it was trained with; None for seeded ones.
    """

    name: str
    classes: int
    plan: Mapping[str, Any]
    image: int | None = None


def set_name(options: Mapping[str, Any]) -> str:
    """Return the requested set's name; ``seeded`` means none."""
    name = text("weights", options.get("weights", SEEDED))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise OptionError(f"weights={name} cannot name a set: use letters, digits, '-' and '_'")
    return name


def read_sets(folder: Path, name: str) -> dict[str, Weights]:
    """Return each model's weights in a set.

    Raises
    ------
    OptionError
        For a damaged file.
    """
    found = {}
    for path in sorted((folder / name).glob("*.json")) if name != SEEDED else ():
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            plan = {part: document[part] for part in _PARTS}
            manifest = plan["weights_manifest"]
            image = manifest["origin"]["image_px"] if "origin" in manifest else None
            found[path.stem] = Weights(name, int(manifest["classes"]), plan, image)
            whole = (plan["weights"], manifest["model"]) == (name, path.stem)
        except (KeyError, OSError, TypeError, ValueError):
            whole = False
        if not whole:
            raise OptionError(f"{path} is damaged: remove it and run playbooks/finetune.yml again")
    return found


def of_model(model: str, options: Mapping[str, Any], sets: Mapping[str, Weights]) -> Weights | None:
    """Return weights in the requested set; None for seeded ones."""
    name = set_name(options)
    if is_onnx(model) and name != FILE and "weights" in options:
        raise OptionError(
            f"weights={name}: {model} has its own, in its file; leave weights out, and measure "
            "others in a sweep of their own"
        )
    if is_onnx(model) or name == SEEDED:
        return None
    if name == FILE:
        raise OptionError(f"weights={FILE}: {model} is no file with weights; leave weights out")
    if is_found(model):
        raise OptionError(
            f"weights={name}: playbooks/finetune.yml trains the paper's models only, and {model} "
            f"is none of them; leave weights out, for those of a seed"
        )
    if model not in sets:
        more = "" if name == DEFAULT else f" -e weights={name}"
        raise OptionError(
            f"there are no weights '{name}' for {model}: make them with ansible-playbook "
            f"playbooks/finetune.yml -e model={model}{more}"
        )
    return sets[model]
