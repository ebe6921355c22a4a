"""Read weight sets published by playbooks/finetune.yml."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.models import file_name, is_found, is_onnx

from .values import OptionError, text

SEEDED, DEFAULT = "seeded", "finetuned"
#: Said of models that are files with weights.
FILE = "file"
#: How files of weights end; all but the first are pickles.
_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pkl", ".tar")
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
    if (path := file_of(options)) is not None:
        return _set_of(path, path.stat().st_mtime_ns)
    name = text("weights", options.get("weights", SEEDED))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise OptionError(f"weights={name} cannot name a set: use letters, digits, '-' and '_'")
    return name


def file_of(options: Mapping[str, Any]) -> Path | None:
    """Return the file of weights that is requested; None for a set's name."""
    typed = text("weights", options.get("weights", SEEDED))
    if not typed.endswith(_FILES) and not typed.startswith(("/", "~/")):
        return None
    if not typed.endswith(_FILES[0]):
        raise OptionError(
            f"weights={typed} is no .safetensors file; others, such as PyTorch's .pth, are "
            "pickles, which can run code: save the weights with safetensors.torch.save_file("
            "model.state_dict(), 'net.safetensors') and name that file"
        )
    path = Path(typed).expanduser().resolve()
    if not path.is_file():
        raise OptionError(f"weights={typed}: there is no file {path} on this machine")
    return path


@functools.cache
def _set_of(path: Path, _changed: int) -> str:
    """Return the name of a file's set: another for another content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stem = re.sub(r"[^A-Za-z0-9_-]", "-", path.stem).lstrip("_-")[:40]
    return f"{stem or 'file'}-{digest[:12]}"


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
            model = str(manifest["model"])
            found[model] = Weights(name, int(manifest["classes"]), plan, image)
            whole = (plan["weights"], file_name(model)) == (name, path.stem)
        except (KeyError, OSError, TypeError, ValueError):
            whole = False
        if not whole:
            raise OptionError(f"{path} is damaged: remove it and run playbooks/finetune.yml again")
    return found


def path_of_set(folder: Path, name: str, model: str) -> Path:
    """Return where a model's weights in a set are kept."""
    return folder / name / f"{file_name(model)}.json"


def of_model(model: str, options: Mapping[str, Any], sets: Mapping[str, Weights]) -> Weights | None:
    """Return weights in the requested set; None for seeded ones, and for a file not yet taken."""
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
    path = file_of(options)
    if is_found(model) and path is None:
        raise OptionError(
            f"weights={name}: playbooks/finetune.yml trains the paper's models only, and {model} "
            "is none of them; leave weights out, for those of a seed, or name your own file with "
            "-e weights=PATH.safetensors"
        )
    if is_found(model):
        return sets.get(model)
    if path is not None:
        raise OptionError(
            f"weights={path}: a file is taken for models as torchvision:NAME, timm:NAME and "
            f"module:NAME; {model} takes it with playbooks/finetune.yml -e pretrained=…, a path on "
            "the orchestrator, and -e weights=NAME"
        )
    if model not in sets:
        more = "" if name == DEFAULT else f" -e weights={name}"
        raise OptionError(
            f"there are no weights '{name}' for {model}: make them with ansible-playbook "
            f"playbooks/finetune.yml -e model={model}{more}"
        )
    return sets[model]
