"""Accuracy of a cell's splits with a codec, told before its runs: of trained weights only.

Computed in children, some cuts each, and kept in the state folder: a stop loses the current cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.accuracy import IMAGES, Accuracy
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.lines import Record, canonical
from paretopipe_runtime.contract.plan import Plan, Workload
from paretopipe_runtime.contract.splits import Cuts, codec_of, listed, split_name
from paretopipe_runtime.contract.weights import Published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import write_json
from paretopipe_runtime.orchestrator.prepared import Prepared
from paretopipe_runtime.orchestrator.runs import end_points
from paretopipe_runtime.version import version

if TYPE_CHECKING:
    from paretopipe_runtime.orchestrator.progress import Progress

#: Seconds after which a child has done enough: between children a sweep can be stopped.
_ENOUGH_S = 30.0


def splits_of(plan: Plan) -> list[Cuts]:
    """Return what of a plan has a codec: splits, and the input sent as a whole; by their cuts."""
    return sorted({cuts for cuts in (*plan.splits, *end_points(plan)) if codec_of(cuts) != NONE})


def measure(
    plan: Plan,
    prepared: Prepared,
    state_dir: Path,
    recorded: Mapping[str, Record],
    progress: Progress,
) -> Iterator[Record]:
    """Yield what records lack of the splits' accuracy; or once, why it is not known."""
    weights = plan.workload.weights
    if weights is None or weights.manifest.origin is None:
        return
    about = {"weights_digest": weights.manifest.digest, "dataset": weights.manifest.origin.dataset}
    old = [one for one in recorded.values() if about.items() <= one.items() and "cuts" in one]
    left = {str(listed(cuts)): cuts for cuts in splits_of(plan)}
    for one in old:
        left.pop(str(one["cuts"]), None)
    told = False
    try:
        path = _path(plan.workload, weights, state_dir)
        kept = _load(path)
        while left:
            for one in kept.get("splits", ()):
                if left.pop(str(one["cuts"]), None):
                    yield {**one, **about}
            if left:
                todo = [*left.values()]
                _tell(progress, prepared, todo, kept, told=told)
                told = told or bool(kept)
                kept = forked.call(partial(_further, plan.workload, state_dir, path, todo))
    except ParetoPipeError as error:
        yield {"reason": error.message, **about}
    except OSError as error:
        yield {"reason": f"cannot write to {state_dir}: {error.strerror}", **about}


def _tell(
    progress: Progress,
    prepared: Prepared,
    left: Sequence[Cuts],
    kept: Mapping[str, Any],
    *,
    told: bool,
) -> None:
    if not kept:
        progress.wait("accuracy without a codec")
        return
    about_s = kept["seconds"] * sum(_passes(prepared.work, group) for group in _groups(left))
    minutes = f"about {max(1, round(about_s / 60))} min"
    progress.wait(f"accuracy from {split_name(left[0])} on, {minutes}")
    if not told:
        images = len(kept["unsplit"])
        many = f"{len(left)} splits with a codec on {images} held-out images"
        progress.note(f"accuracy of {many} comes first: {minutes}")


def _passes(work: Sequence[float], group: Sequence[Cuts]) -> float:
    """Return the whole networks' work that splits of one first cut take: its blocks run once."""
    first = group[0][0]
    return sum(work[:first]) + len(group) * sum(work[first:])


def _groups(splits: Sequence[Cuts]) -> list[list[Cuts]]:
    return [[*own] for _, own in itertools.groupby(splits, lambda cuts: cuts[0])]


def _path(workload: Workload, weights: Published, state_dir: Path) -> Path:
    origin = weights.manifest.origin
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
    from paretopipe_runtime import accuracy

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
