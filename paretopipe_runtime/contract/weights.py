"""Weights of a model: manifest, origin and published sets.

A manifest names every block's file by its sha256.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from paretopipe_runtime.contract.models import is_found, model_info
from paretopipe_runtime.errors import ParetoPipeError

SCHEMA_VERSION = 2  # raise it for new initial values too, or old files stay in use
#: Reserved name of weights made from a seed.
SEEDED = "seeded"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Ends the name of a program's file, after its sha256.
PROGRAM = ".pte"
_LONGEST = 200  # characters of a text


@dataclass(frozen=True)
class Origin:
    """The training that made a model's weights; no time or place, so a repeat has the same origin.

    Attributes
    ----------
    dataset, dataset_sha256 : str
        Name, and digest over images and labels.
    train_images, validation_images, test_images : int
        The second chose the best epoch, the third gave `accuracy`.
    image_px : int
        Side of the images.
    accuracy : float
        Top-1, 0 to 1.
    base, base_sha256 : str
        Initial weights (``none``: random) and their digest.
    epochs, best_epoch : int
        Epochs run, and the one kept; 0 is the base.
    batch, lr, seed
        Images per step, largest learning rate, seed of every random choice.
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
        """Read and check an origin.

        Raises
        ------
        ValueError, TypeError
            If malformed.
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
    name: str
    sha256: str
    nbytes: int
    parameters: int


@dataclass(frozen=True)
class WeightsManifest:
    """Weights of every block; `source` is ``seeded:0``, or ``finetuned`` with an `origin`.

    `program` is the sha256 of a file with stages exported for an engine, if that needs one: it
    replaces the blocks' files on a worker. `graph` is that of `ModelInfo`, `traced` the way to it.
    """

    model: str
    classes: int
    source: str
    blocks: tuple[BlockWeights, ...]
    origin: Origin | None = None
    program: str = ""
    graph: str = ""
    traced: str = ""

    @property
    def files(self) -> list[str]:
        """Names of the files that a worker needs; without a suffix they are weights."""
        return [self.program + PROGRAM] if self.program else [b.sha256 for b in self.blocks]

    @property
    def digest(self) -> str:
        """The sha256 over the manifest's canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["blocks"] = list(fields["blocks"])
        if self.origin is None:
            del fields["origin"]
        for name in ("program", "graph", "traced"):
            if not fields[name]:
                del fields[name]
        return {"schema_version": SCHEMA_VERSION, **fields}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> WeightsManifest:
        """Read and check a manifest.

        Raises
        ------
        ParetoPipeError
            ``E_WEIGHTS`` unless of this version and a known model, block for block.
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
            names = tuple(block.name for block in manifest.blocks)
            # A worker learns a found model's blocks by tracing it, and compares the graph.
            traced = is_found(manifest.model) and bool(manifest.graph)
            if not traced and names != model_info(manifest.model).block_names:
                raise ValueError(f"its blocks are not those of {manifest.model}")
            # They become file names: strict, against path traversal.
            digests = [block.sha256 for block in manifest.blocks]
            others = filter(None, [manifest.program, manifest.graph])
            if not all(map(_SHA256.fullmatch, [*digests, *others])):
                raise ValueError("a file's sha256 is not one")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ParetoPipeError(
                "E_WEIGHTS",
                f"the weights' manifest is malformed: {error} — do both ends run the same version? "
                "playbooks/provision.yml installs it",
            ) from error
        return manifest


@dataclass(frozen=True)
class Published:
    name: str
    manifest: WeightsManifest

    def facts(self) -> dict[str, Any]:
        """Return a record's fields about the weights."""
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
    """Return a valid set name.

    Raises
    ------
    ParetoPipeError
        ``E_OPTION`` for a reserved one or no file name.
    """
    if name == SEEDED or not _NAME.fullmatch(name):
        raise ParetoPipeError(
            "E_OPTION",
            f"weights={name} cannot name a set: use letters, digits, '-' and '_', and not "
            f"{SEEDED!r}",
        )
    return name


def read_published(document: dict[str, Any]) -> Published | None:
    """Return the published weights of a plan or a set's file; None for seeded ones.

    Raises
    ------
    ParetoPipeError
        ``E_WEIGHTS`` for a malformed manifest or a mismatched digest.
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
