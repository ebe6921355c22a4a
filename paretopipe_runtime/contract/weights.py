"""What a plan, a record and both ends of a wire say of a model's weights.

A manifest names every block's file by its sha256; a set is a manifest under the name it was
published by; an origin says how trained weights were made, and is part of the digest.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.errors import ParetoPipeError

SCHEMA_VERSION = 2  # raise it for other initial values too, or a store's old ones stay in use
#: The name that stands for weights made from a seed; no set can have it.
SEEDED = "seeded"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST = 200  # characters of a text


@dataclass(frozen=True)
class Origin:
    """The training that made a model's weights.

    Nothing here says when or where: the same training twice is the same origin.

    Attributes
    ----------
    dataset, dataset_sha256 : str
        What it is called, and the digest over its images and labels.
    train_images, validation_images, test_images : int
        Trained on; chosen by, as the best epoch was; and neither: what `accuracy` was found on.
    image_px : int
        The side of the images that the model saw.
    accuracy : float
        The share of the test images whose class has the largest logit (top-1).
    base, base_sha256 : str
        What the training started from, ``none`` for random values, and its file's digest.
    epochs, best_epoch : int
        How many there were before it ended, and which one these weights are of; 0 is the base.
    batch, lr, seed
        Images a step, the largest learning rate, and what every random choice hangs on.
    """

    dataset: str
    dataset_sha256: str
    train_images: int
    validation_images: int
    test_images: int
    image_px: int
    accuracy: float
    base: str
    base_sha256: str
    epochs: int
    best_epoch: int
    batch: int
    lr: float
    seed: int

    @classmethod
    def from_json(cls, document: Any) -> Origin:
        """Check a JSON object and return the origin in it.

        Raises
        ------
        ValueError, TypeError
            What is wrong with it.
        """
        if not isinstance(document, dict):
            raise ValueError("its origin is no object")
        origin = cls(**document)
        for field in fields(cls):
            _check(field.name, str(field.type), getattr(origin, field.name))
        if not 0 <= origin.accuracy <= 1:
            raise ValueError(f"its origin's accuracy is {origin.accuracy}, expected 0 to 1")
        return origin


def _check(name: str, kind: str, value: Any) -> None:
    sound = {
        "str": isinstance(value, str) and len(value) <= _LONGEST and value.isprintable(),
        "int": isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        "float": isinstance(value, float) and math.isfinite(value),
    }
    if not sound[kind]:
        raise ValueError(f"its origin's {name} is no {kind} that one can be")


@dataclass(frozen=True)
class BlockWeights:
    """One block's file: its sha256, its size, and how many parameters the block has."""

    name: str
    sha256: str
    nbytes: int
    parameters: int


@dataclass(frozen=True)
class WeightsManifest:
    """Every block's weights of one model.

    `source` says in a word where they come from: ``seeded:0``, or ``finetuned`` with the `origin`.
    """

    model: str
    classes: int
    source: str
    blocks: tuple[BlockWeights, ...]
    origin: Origin | None = None

    @property
    def digest(self) -> str:
        """The sha256 over the manifest's canonical JSON: equal means the same weights."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON object."""
        fields = asdict(self)
        fields["blocks"] = list(fields["blocks"])
        if self.origin is None:
            del fields["origin"]
        return {"schema_version": SCHEMA_VERSION, **fields}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> WeightsManifest:
        """Check a JSON object and return the manifest in it.

        Raises
        ------
        ParetoPipeError
            ``E_WEIGHTS`` unless it is this version's manifest of a known model, block for block.
        """
        try:
            fields = dict(document)
            version = fields.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema_version {version}, this is {SCHEMA_VERSION}")
            fields["blocks"] = tuple(BlockWeights(**block) for block in fields["blocks"])
            if "origin" in fields:
                fields["origin"] = Origin.from_json(fields["origin"])
            manifest = cls(**fields)
            if (
                tuple(block.name for block in manifest.blocks)
                != model_info(manifest.model).block_names
            ):
                raise ValueError(f"its blocks are not those of {manifest.model}")
            # The digest becomes a file name, so nothing else may pass for one.
            if not all(_SHA256.fullmatch(block.sha256) for block in manifest.blocks):
                raise ValueError("a block's sha256 is not one")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"the weights' manifest is malformed: {error} — do both ends run the same version? "
                "playbooks/provision.yml installs it",
            ) from error
        return manifest


@dataclass(frozen=True)
class Published:
    """One model's weights in the set called `name`."""

    name: str
    manifest: WeightsManifest

    def facts(self) -> dict[str, Any]:
        """Return what a record says of the weights it was measured with."""
        facts: dict[str, Any] = {"name": self.name, "digest": self.manifest.digest}
        if origin := self.manifest.origin:
            facts |= {
                "source": self.manifest.source,
                "dataset": origin.dataset,
                "image_px": origin.image_px,
                "accuracy": origin.accuracy,
                "test_images": origin.test_images,
                "epochs": origin.epochs,
                "base": origin.base,
            }
        return facts


def check_name(name: str) -> str:
    """Return the name of a set if it can be one.

    Raises
    ------
    ParetoPipeError
        ``E_OPTION`` for one that is no file name, or taken.
    """
    if name == SEEDED or not _NAME.fullmatch(name):
        raise ParetoPipeError(
            "E_OPTION",
            f"weights={name} cannot name a set: use letters, digits, '-' and '_', and not "
            f"{SEEDED!r}",
        )
    return name


def read_published(document: dict[str, Any]) -> Published | None:
    """Return the weights that a plan, or a set's own file, names; None for seeded ones.

    Raises
    ------
    ParetoPipeError
        ``E_WEIGHTS`` for a manifest that is malformed or not the one of the digest beside it.
    """
    name = str(document.get("weights", SEEDED))
    if name == SEEDED:
        return None
    published = Published(check_name(name), WeightsManifest.from_json(document["weights_manifest"]))
    if published.manifest.digest != document["weights_digest"]:
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"the manifest of {published.manifest.model}'s weights {name!r} has been changed: its "
            f"digest is {published.manifest.digest[:12]}, it says "
            f"{str(document['weights_digest'])[:12]} — run playbooks/finetune.yml again, which "
            "fetches it",
        )
    return published
