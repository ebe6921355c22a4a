"""Models that are files of the user's own: named by a path, known by the file's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.models import ONNX, check_engine, is_onnx
from paretopipe_runtime.contract.onnx_files import digest_of, files_of, name_of
from paretopipe_runtime.errors import ParetoPipeError

from .values import OptionError, listed


@dataclass(frozen=True)
class Takes:
    """Sizes that a listed file takes; None for any. `sha256` is its content's."""

    sha256: str
    batch: int | None
    image_px: int | None


def path_of(asked: str) -> Path | None:
    """Return the path in ``onnx:PATH``; None for other models."""
    source, _, path = asked.partition(":")
    return Path(path).expanduser().absolute() if source == ONNX else None


def named(asked: Iterable[str]) -> list[str]:
    """Return models' names, ``onnx:net`` for ``onnx:/models/net.onnx``, or refuse a file."""
    paths = {one: path_of(one) for one in asked}
    try:
        names = [name_of(path) if path else one for one, path in paths.items()]
    except (OSError, ParetoPipeError) as error:
        raise OptionError(getattr(error, "message", str(error))) from None
    for name in names:
        if names.count(name) > 1:
            raise OptionError(
                f"two files are called {name}: rename one, so that they are told apart"
            )
    return names


def brought(model: Any) -> list[dict[str, str]]:
    """Return the files that the orchestrator needs, as asked for with `model`: path and name."""
    paths = filter(None, map(path_of, listed(model)))
    return [{"path": str(part), "name": part.name} for path in paths for part in files_of(path)]


def digests(model: Any) -> dict[str, str]:
    """Return the digests of the files asked for, by the models' names."""
    return {name_of(path): digest_of(path) for path in filter(None, map(path_of, listed(model)))}


def refuse(model: str, image: int, batch: int, engines: Iterable[str], takes: Takes | None) -> None:
    """Refuse what a file cannot be computed with; without a listing, only the engine is known."""
    if not is_onnx(model):
        return
    for engine in engines:
        try:
            check_engine(model, engine)
        except ParetoPipeError as error:
            raise OptionError(error.message) from None
    if takes and takes.batch not in (None, batch):
        raise OptionError(
            f"{model} takes batches of {takes.batch} only, not {batch}: add "
            f"-e batch={takes.batch}, or export it for any number (docs/own_models.md)"
        )
    if takes and takes.image_px not in (None, image):
        raise OptionError(
            f"{model} takes images of {takes.image_px} px only, not {image}: leave image out"
        )
