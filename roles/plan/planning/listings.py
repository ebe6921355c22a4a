"""Listings of found models' blocks, as ``paretopipe cut`` prints them, on the controller.

Kept in ``experiments/models/``: one for a model as it comes, one more for each other number of
classes that was asked for.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from paretopipe_runtime.contract.models import ModelInfo, file_name, is_found, is_onnx, keep_found

from .onnx_files import Takes
from .values import OptionError, whole

SCHEMA_VERSION = 1
FLOAT_NBYTES = 4


class Row(NamedTuple):
    """A block, for one image: operations, and elements and channels of the tensor it returns.

    `grows`: operations and elements grow with the image. `channels` is 1 for a tensor without any.
    """

    flops: int
    elements: int
    channels: int
    grows: bool


@dataclass(frozen=True)
class Listing:
    """A found model: its blocks, the parameters in each, and how well its cuts were proved."""

    info: ModelInfo
    rows: tuple[Row, ...]
    parameters: tuple[int, ...]
    cuts: int
    max_rel_err: float
    traced: str
    takes: Takes | None = None

    @property
    def planned(self) -> dict[str, Any]:
        """The plan's `found`: what the nodes must find, too."""
        return {
            "block_names": [*self.info.block_names],
            "image_px": self.info.image_px,
            "classes": self.info.default_classes,
            "graph": self.info.graph,
        }

    @property
    def sizes(self) -> dict[str, Any]:
        """Bytes of each block's weights, and of the two largest tensors in a row of an image."""
        tensors = [3 * self.info.image_px**2, *(row.elements for row in self.rows)]
        pairs = (one + next_ for one, next_ in itertools.pairwise(tensors))
        return {
            "weights_bytes": [FLOAT_NBYTES * number for number in self.parameters],
            "tensors_bytes": FLOAT_NBYTES * max(pairs),
            "image_px": self.info.image_px,
        }

    @property
    def said(self) -> str:
        how = f"by torch.{self.traced}" if self.traced else "in the file"
        return (
            f"{self.info.name}: {self.info.blocks} blocks, {self.cuts} cuts found {how}, and "
            f"proved to an error of {self.max_rel_err:.1g} of the largest logit"
        )


def read(text: str, model: str) -> Listing:
    """Read a model's listing.

    Raises
    ------
    ValueError
        If it is of another model or schema, or malformed.
    """
    document = json.loads(text)
    if not isinstance(document, Mapping):
        raise ValueError("no listing")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document.get('schema_version')}, not {SCHEMA_VERSION}")
    try:
        blocks = document["blocks"]
        info = ModelInfo(
            str(document["model"]),
            tuple(str(block["name"]) for block in blocks),
            *(_count(document[key]) for key in ("classes", "image_px")),
            str(document["graph"]),
        )
        rows = tuple(
            Row(
                *(_count(block[key], least) for key, least in _NUMBERS.items()),
                bool(block["grows"]),
            )
            for block in blocks
        )
        parameters = tuple(_count(block["parameters"], 0) for block in blocks)
        error = float(document["max_rel_err"])
        own = is_onnx(info.name)
        traced = "" if own else str(document["traced"])
        takes = Takes(**document["file"]) if own else None
        cuts = _count(document["cuts"], 0)
        listing = Listing(info, rows, parameters, cuts, error, traced, takes)
    except (KeyError, TypeError) as lacking:
        raise ValueError(f"{type(lacking).__name__} {lacking}") from None
    if info.name != model or info.blocks < 2 or not sum(row.flops for row in rows):
        raise ValueError(f"{info.blocks} blocks of {info.name}")
    if not info.graph or not math.isfinite(error):
        raise ValueError("no proof of its cuts")
    return listing


def keep(
    folder: Path,
    models: Iterable[str],
    classes: Any = None,
    files: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Let planning know the listings of these models, as far as there are any.

    Parameters
    ----------
    folder : Path
        ``experiments/models``.
    classes : optional
        As typed; None for as many as a model comes with.
    files : mapping
        Digests of files by their models: listings of others are old.

    Raises
    ------
    OptionError
        For a damaged file.
    """
    for model in filter(is_found, models):
        _kept.pop(model, None)
        listing = _find(folder, model, classes)
        if listing and (not listing.takes or listing.takes.sha256 == files.get(model)):
            _kept[model] = listing
            keep_found(listing.info)


def of(model: str) -> Listing | None:
    """Return a model's listing; None for the paper's, and for one still to be traced."""
    return _kept.get(model)


def path(folder: Path, model: str, classes: Any = None) -> Path:
    """Return where a listing is kept."""
    more = "" if classes is None else f"-{whole('classes', classes)}"
    return folder / f"{file_name(model)}{more}.json"


def _find(folder: Path, model: str, classes: Any) -> Listing | None:
    usual = _read(path(folder, model), model)
    if classes is None or (usual and usual.info.default_classes == whole("classes", classes)):
        return usual
    return _read(path(folder, model, classes), model)


def _read(path: Path, model: str) -> Listing | None:
    if not path.exists():
        return None
    try:
        return read(path.read_text(encoding="utf-8"), model)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"{path} is no listing of blocks that is understood here ({error}): remove it, and "
            "they are found again"
        ) from None


def _count(value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{value!r} is not a whole number from {least}")
    return value


#: Numbers of a block, and the least that each can be.
_NUMBERS = {"flops": 0, "elements": 1, "channels": 1}
_kept: dict[str, Listing] = {}
