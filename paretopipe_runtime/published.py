"""Sets of weights by the name they were published under; what a plan of a sweep says of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import write_json
from paretopipe_runtime.weights import WeightsManifest, block_path, verify_block

SCHEMA_VERSION = 1
#: The name that stands for weights made from a seed; no set can have it.
SEEDED = "seeded"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


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

    def check_store(self, store: Path) -> None:
        """Read every block's file and compare it with its digest.

        Raises
        ------
        ParetoPipeError
            ``E_WEIGHTS`` for a file that is missing or has another content.
        """
        for block in self.manifest.blocks:
            if not verify_block(store, block.sha256):
                raise ParetoPipeError(
                    "E_WEIGHTS",
                    f"block {block.name} of {self.manifest.model}'s weights {self.name!r} is "
                    f"missing or damaged here ({block_path(store, block.sha256)}) — make them "
                    "again with playbooks/finetune.yml",
                )


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


def set_path(store: Path, name: str, model: str) -> Path:
    """Return where a store says what a model's weights in a set are."""
    return store / "sets" / name / f"{model}.json"


def publish(store: Path, published: Published, made: dict[str, Any]) -> Path:
    """Make the set's name mean these weights from now on; return the file that says so.

    Parameters
    ----------
    made : dict
        When, where and by what: for people, and no part of the digest.

    Raises
    ------
    ParetoPipeError
        ``E_OPTION`` for a name that cannot be one, ``E_DISK``.
    """
    path = set_path(store, check_name(published.name), published.manifest.model)
    document = {
        "schema_version": SCHEMA_VERSION,
        "weights": published.name,
        "weights_digest": published.manifest.digest,
        "weights_manifest": published.manifest.to_json(),
        "made": made,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, document)
    except OSError as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot write {path}: {error.strerror} — free some space there"
        ) from error
    return path


def read(document: dict[str, Any]) -> Published | None:
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
