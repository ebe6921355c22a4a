"""Models that are asked for: their names, classes, image sizes, and the name of their sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.models import (
    FORMS,
    MODEL_NAMES,
    ModelInfo,
    file_name,
    is_found,
    model_info,
)

from .listings import of
from .onnx_files import named
from .sets import Weights
from .values import OptionError, folder, known, listed, whole

#: Of the paper's models; found ones may have any number from the second.
CLASSES = (10, 1000)
FEWEST_CLASSES = 2
#: Characters of a sweep's name; those of its cells follow in their files' names.
LONGEST = 128


@dataclass(frozen=True)
class Model:
    """A model; without `blocks` one that is still to be traced."""

    name: str
    blocks: int
    classes: int
    image: int
    weights: Weights | None = None


def model_names(chosen: Mapping[str, Any]) -> list[str]:
    """Return the requested models, or raise a sentence with the choices."""
    choices = [*MODEL_NAMES, *FORMS]
    if "model" not in chosen:
        raise OptionError(f"no model given: choose with -e model=… from {', '.join(choices)}")
    names = named(listed(chosen["model"]))
    if names == ["all"]:
        return [*MODEL_NAMES]
    others = [name for name in names if not is_found(name)]
    if others or not names:
        known("model", others, choices)
    return names


def model_of(
    name: str,
    options: Mapping[str, Any],
    experiment: Mapping[str, Any],
    weights: Weights | None,
) -> Model:
    """Return a model as its options and its experiment's, checked, have it."""
    info = _info(name)
    # An experiment's image size holds for its own models: 32 px is too small for others.
    chosen = {**experiment, **options}
    own = chosen if "image" in options or info.name in listed(experiment.get("model", ())) else {}
    default = weights.classes if weights else info.default_classes
    classes = whole("classes", chosen.get("classes", default))
    if weights and classes != weights.classes:
        raise OptionError(
            f"weights={weights.name} of {info.name} have {weights.classes} classes, not {classes}: "
            f"leave classes out, or fine-tune with -e classes={classes}"
        )
    if is_found(info.name):
        if info.blocks and classes != info.default_classes:
            raise OptionError(
                f"{info.name} has {info.default_classes} classes, whatever is asked for: leave "
                "classes out"
            )
        if classes < FEWEST_CLASSES:
            raise OptionError(f"classes={classes} leaves nothing to tell apart: write 2 or more")
    elif not weights and classes not in CLASSES:
        raise OptionError(f"classes={classes} is not offered: choose 10 or 1000")
    # What the weights were trained with: images of another size look like others to them.
    usual = (weights and weights.image) or info.image_px
    image = whole("image", own.get("image", usual))
    return Model(info.name, info.blocks, classes, image, weights)


def sweep_name(chosen: Mapping[str, Any]) -> str:
    """Return what `sweep` or, without it, `model` calls the results' folder."""
    if "sweep" in chosen:
        return folder("sweep", chosen["sweep"])
    names = model_names(chosen)
    if len(names) > 1 and set(names) == set(MODEL_NAMES):
        return "all"
    joined = "-".join(map(file_name, names))
    if len(joined) > LONGEST:
        raise OptionError(
            f"the names of {len(names)} model(s) together are too long for a folder's: name the "
            "results with -e sweep=…"
        )
    return joined


def _info(name: str) -> ModelInfo:
    """Return what is known of a model: of one still to be traced, no blocks."""
    if not is_found(name):
        return model_info(name)
    listing = of(name)
    return listing.info if listing else ModelInfo(name, (), 1000, image_px=224)
