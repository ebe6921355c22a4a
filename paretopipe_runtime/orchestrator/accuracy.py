"""Accuracy of a cell's splits with a codec, told before its runs: of trained weights only.

Computed in children, some cuts each, and kept in the state folder: a stop loses the current cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from paretopipe_runtime import forked
from paretopipe_runtime.contract.accuracy import IMAGES, MARGIN, Accuracy, lossy
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.lines import Record, canonical
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Plan, Workload
from paretopipe_runtime.contract.splits import (
    Cuts,
    all_splits,
    codec_of,
    coded,
    split_name,
    undashed,
    validate_cuts,
)
from paretopipe_runtime.contract.weights import check_name, read_published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import write_json
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.runs import end_points
from paretopipe_runtime.version import version
from paretopipe_runtime.weights import set_path

#: Seconds after which a child has done enough: between children a sweep can be stopped.
_ENOUGH_S = 30.0


def workload_of(
    model: str, name: str, image_px: int | None, batch: int, state_dir: Path
) -> Workload:
    """Return a published set's workload; raises ``E_MODEL``, ``E_OPTION``, ``E_WEIGHTS``."""
    path = set_path(state_dir / "weights", check_name(name), model_info(model).name)
    try:
        weights = read_published(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError) as error:
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"no weights {name!r} of {model} here: {path} cannot be read ({error}) — name a set "
            "that was fine-tuned on this host, or fine-tune it with playbooks/finetune.yml",
        ) from error
    origin = weights.manifest.origin if weights else None
    if weights is None or origin is None:
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"{path} does not say what it was trained on — fine-tune with playbooks/finetune.yml",
        )
    for option, value in (("image", image_px), ("batch", batch)):
        if value is not None and value < 1:
            raise ParetoPipeError(
                "E_OPTION", f"{option}={value}, expected 1 or more — choose another"
            )
    px = image_px or origin.image_px
    return Workload(model, weights.manifest.classes, px, batch, "eager", weights=weights)


def asked(model: str, splits: str, names: str) -> list[Cuts]:
    """Return splits typed as ``3,9`` or ``all``, with each codec named; raises as they do."""
    blocks = model_info(model).blocks
    try:
        cuts = all_splits(blocks) if splits == "all" else [*map(undashed, splits.split(","))]
    except ValueError as error:
        raise ParetoPipeError(
            "E_SPLIT", f"splits={splits}, expected cut points such as 3,9, or all — choose again"
        ) from error
    whole = [validate_cuts(model, blocks, one) for one in cuts]
    found = {coded(one, name) for one in whole for name in names.split(",")}
    some = sorted(one for one in found if one and codec_of(one) != NONE)
    if not some:
        raise ParetoPipeError(
            "E_OPTION",
            f"splits={splits} and codec={names} name no split with a codec, expected such as "
            "3,9 and int8,int4 — choose others",
        )
    return some


@dataclass(frozen=True)
class Saying:
    """A `Teller` that says each line to `say`."""

    say: Callable[[str], None]

    def wait(self, what: str) -> None:
        self.say(what)

    def note(self, text: str) -> None:
        self.say(text)


def of(
    workload: Workload, splits: Sequence[Cuts], state_dir: Path, say: Callable[[str], None]
) -> Iterator[Accuracy]:
    """Yield the accuracy of splits, without a plan; raises as `told`."""
    work = prepare(workload, state_dir).work
    yield from told(workload, splits, work, state_dir, Saying(say))


def splits_of(plan: Plan) -> list[Cuts]:
    """Return what of a plan has a codec: splits, and the input sent as a whole; by their cuts."""
    return sorted({cuts for cuts in (*plan.splits, *end_points(plan)) if codec_of(cuts) != NONE})


class Teller(Protocol):
    """Says what is done now, and, once, what to expect."""

    def wait(self, what: str) -> None: ...

    def note(self, text: str) -> None: ...


def measure(
    plan: Plan,
    prepared: Prepared,
    state_dir: Path,
    recorded: Mapping[str, Record],
    progress: Teller,
) -> Iterator[Record]:
    """Yield what records lack of the splits' accuracy; or once, why it is not known."""
    about = _about(plan)
    if not about:
        return
    done = recorded_of(plan, recorded)
    left = [cuts for cuts in splits_of(plan) if cuts not in done]
    try:
        for known in told(plan.workload, left, prepared.work, state_dir, progress):
            yield {**known.to_json(), **about}
    except ParetoPipeError as error:
        yield {"reason": error.message, **about}


def recorded_of(plan: Plan, recorded: Mapping[str, Record]) -> dict[Cuts, Accuracy]:
    """Return what records say of the plan's own weights and images."""
    if not (about := _about(plan)):
        return {}
    own = (one for one in recorded.values() if "cuts" in one and about.items() <= one.items())
    return {known.cuts: known for known in map(Accuracy.from_json, own)}


def ruled_out(plan: Plan, recorded: Mapping[str, Record]) -> frozenset[Cuts]:
    """Return the splits that lose too much, whatever their times; none if not all are known."""
    margin = plan.doubtful.accuracy_margin if plan.doubtful else MARGIN
    return lossy(recorded_of(plan, recorded), plan.splits, margin)


def _about(plan: Plan) -> Record:
    """Return what tells a line of these weights from others; empty without trained ones."""
    weights = plan.workload.weights
    if weights is None or weights.manifest.origin is None:
        return {}
    return {
        **{"weights_digest": weights.manifest.digest, "dataset": weights.manifest.origin.dataset},
        "image_px": plan.workload.image_px,
    }


def told(
    workload: Workload,
    splits: Iterable[Cuts],
    work: Sequence[float],
    state_dir: Path,
    progress: Teller,
) -> Iterator[Accuracy]:
    """Yield the accuracy of splits of trained weights; `work` is each block's share.

    Raises
    ------
    ParetoPipeError
        ``E_DATA`` where the held-out images are not here, ``E_WEIGHTS``, ``E_DISK``; ``E_CRASH``
        for a child that was ended, as by a signal.
    """
    left = {cuts: None for cuts in splits}
    noted = False
    try:
        path = _path(workload, state_dir)
        kept = _load(path)
        while left:
            for known in map(Accuracy.from_json, kept.get("splits", ())):
                if known.cuts in left:
                    del left[known.cuts]
                    yield known
            if left:
                todo = [*left]
                _tell(progress, work, todo, kept, noted=noted)
                noted = noted or bool(kept)
                kept = forked.call(partial(_further, workload, state_dir, path, todo))
    except OSError as error:
        raise ParetoPipeError(
            "E_DISK",
            f"cannot write to {state_dir}: {error.strerror} — free some space there",
        ) from error


def _tell(
    progress: Teller,
    work: Sequence[float],
    left: Sequence[Cuts],
    kept: Mapping[str, Any],
    *,
    noted: bool,
) -> None:
    if not kept:
        progress.wait("accuracy without a codec")
        return
    about_s = kept["seconds"] * sum(_passes(work, group) for group in _groups(left))
    minutes = f"about {max(1, round(about_s / 60))} min"
    where = split_name(left[0]) if left[0][0] else "an encoded input"
    progress.wait(f"accuracy from {where} on, {minutes}")
    if not noted:
        images = len(kept["unsplit"])
        many = f"{len(left)} splits with a codec on {images} held-out images"
        progress.note(f"accuracy of {many} comes first: {minutes}")


def _passes(work: Sequence[float], group: Sequence[Cuts]) -> float:
    """Return the whole networks' work that splits of one first cut take: its blocks run once."""
    first = group[0][0]
    return sum(work[:first]) + len(group) * sum(work[first:])


def _groups(splits: Sequence[Cuts]) -> list[list[Cuts]]:
    return [[*own] for _, own in itertools.groupby(splits, lambda cuts: cuts[0])]


def _path(workload: Workload, state_dir: Path) -> Path:
    origin = workload.weights.manifest.origin if workload.weights else None
    assert origin is not None
    wanted = {
        **workload.factors,
        **{"dataset_sha256": origin.dataset_sha256, "images": IMAGES, "code": version()},
    }
    folder = state_dir / "accuracy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(canonical(wanted)).hexdigest()[:16]}.json"


def _load(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept: dict[str, Any] = json.loads(path.read_text())
        whole = len(kept["unsplit"]) > 0 and kept["seconds"] >= 0
        if whole and all(Accuracy.from_json(one) for one in kept["splits"]):
            return kept
    return {}


def _further(
    workload: Workload, state_dir: Path, path: Path, left: Sequence[Cuts]
) -> dict[str, Any]:
    """Add some splits to what is kept: first the network without a cut, which gives the time."""
    import torch

    from paretopipe_runtime import accuracy

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    trial, kept = accuracy.Trial.of(workload, state_dir), _load(path)
    began = time.monotonic()
    if not kept:
        (unsplit,) = trial.right([()])
        kept = {"unsplit": unsplit, "seconds": time.monotonic() - began, "splits": []}
        write_json(path, kept)
        return kept
    for group in _groups(left):
        found = zip(group, trial.right(group), strict=True)
        pairs = [accuracy.compare(cuts, kept["unsplit"], right) for cuts, right in found]
        kept["splits"] += [one.to_json() for one in pairs]
        write_json(path, kept)
        if time.monotonic() - began > _ENOUGH_S:
            break
    return kept
