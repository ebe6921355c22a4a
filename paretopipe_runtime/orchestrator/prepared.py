"""Weights, shapes, operations, reference outputs and programs of a cell, in the state folder.

Made in forked children: the measuring process stays free of torch and its threads.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paretopipe_runtime import engines, forked
from paretopipe_runtime.contract.chain import INPUT_BATCHES
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.lines import canonical
from paretopipe_runtime.contract.models import is_onnx, is_traced
from paretopipe_runtime.contract.plan import Workload
from paretopipe_runtime.contract.splits import codec_of
from paretopipe_runtime.contract.weights import PROGRAM, WeightsManifest
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.files import digest_of, partial, settle, write_json
from paretopipe_runtime.version import version
from paretopipe_runtime.wire.frames import Tensor

INPUT_SEED = 0


@dataclass(frozen=True)
class Prepared:
    """A model ready to be split.

    `boundaries[k]` is the tensor that enters block k, the last one the logits. `flops[k]` are block
    k's operations per batch, two a multiply-add. `reference` has the unsplit model's logits, an
    array (batch, classes) per input batch.
    """

    manifest: dict[str, Any]
    weights_digest: str
    boundaries: tuple[Tensor, ...]
    flops: tuple[int, ...]
    reference: tuple[np.ndarray, ...]
    reference_digest: str
    input_digest: str

    @property
    def work(self) -> tuple[float, ...]:
        """Each block's share of the operations, for estimates."""
        return tuple(flops / sum(self.flops) for flops in self.flops)

    def hop_bytes(self, cuts: tuple[int, ...]) -> list[int]:
        """Return the payload bytes of one batch per hop, the last one to the orchestrator."""
        codec = codec_of(cuts)
        between = [self.boundaries[cut].written(codec).nbytes for cut in cuts]
        return [*between, self.boundaries[-1].nbytes]


def prepare(
    workload: Workload, state_dir: Path, stages: Sequence[tuple[int, int]] = ()
) -> Prepared:
    """Load `workload`'s files, making those that the state folder lacks.

    `stages` are the blocks [first, end) that an engine is to be given as a program.
    """
    wanted = {**workload.factors, "inputs": {"seed": INPUT_SEED, "count": INPUT_BATCHES}}
    folder = state_dir / "prepared" / hashlib.sha256(canonical(wanted)).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            prepared = _load(folder, _facts(workload, state_dir, folder))
        except (ValueError, KeyError, EOFError):  # damaged, as by a power cut
            (folder / "facts.json").unlink(missing_ok=True)
            prepared = _load(folder, _facts(workload, state_dir, folder))
        if not (stages and ENGINES[workload.engine].exported):
            return prepared
        program = _program(workload, prepared, stages, state_dir, folder)
        return replace(prepared, manifest={**prepared.manifest, "program": program})
    except OSError as error:
        raise _disk(state_dir, error) from error


def _disk(state_dir: Path, error: OSError) -> ParetoPipeError:
    return ParetoPipeError(
        "E_DISK",
        f"cannot write to {state_dir}: {error.strerror} — free some space there and give the same "
        "command again",
    )


def _facts(workload: Workload, state_dir: Path, folder: Path) -> dict[str, Any]:
    path = folder / "facts.json"
    facts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    made: dict[str, Any] = {}
    if not facts or not _has_weights(facts, state_dir / "weights"):
        made = forked.call(lambda: _make(workload, state_dir, folder))
    elif "flops" not in facts:  # made by an older version
        made = {"flops": forked.call(lambda: _flops(workload))}
    if made:
        facts |= made
        write_json(path, facts)
    return facts


def _has_weights(facts: dict[str, Any], store: Path) -> bool:
    """Check the weight files by size only: `deploy` verifies the checksum."""
    try:
        return all(
            (store / f"{block['sha256']}.safetensors").stat().st_size == block["nbytes"]
            for block in facts["manifest"]["blocks"]
        )
    except FileNotFoundError:
        return False


def _program(
    workload: Workload,
    prepared: Prepared,
    stages: Sequence[tuple[int, int]],
    state_dir: Path,
    folder: Path,
) -> str:
    """Return the sha256 of the stages' program, exporting it if the store lacks it."""
    asked = {"engine": workload.engine, "stages": [*map(list, stages)], "code": version()}
    note = folder / f"program-{hashlib.sha256(canonical(asked)).hexdigest()[:16]}"
    store = state_dir / "weights"
    if note.exists() and (store / note.read_text()).exists():  # `deploy` verifies the checksum
        return note.read_text().removesuffix(PROGRAM)

    def export() -> str:
        from paretopipe_runtime import weights

        manifest = WeightsManifest.from_json(prepared.manifest)
        weights.verify_stage(manifest, store, 0, len(manifest.blocks))
        model, takes = (workload.model, workload.classes), prepared.boundaries
        loads = [
            engines.StageToLoad(*model, manifest, store, first, end, takes[first], store)
            for first, end in stages
        ]
        try:
            with partial(store) as unfinished:
                engines.export(workload.engine, loads, unfinished)
                sha256 = digest_of(unfinished)
                settle(unfinished, store / f"{sha256}{PROGRAM}")
        except OSError as error:
            raise _disk(state_dir, error) from error
        return sha256

    sha256 = str(forked.call(export))
    with partial(folder) as unfinished:
        unfinished.write_text(f"{sha256}{PROGRAM}")
        settle(unfinished, note)
    return sha256


def _load(folder: Path, facts: dict[str, Any]) -> Prepared:
    reference = np.load(folder / "reference.npy", allow_pickle=False)
    return Prepared(
        manifest=facts["manifest"],
        weights_digest=facts["weights_digest"],
        boundaries=tuple(Tensor(tuple(s), d, n) for s, d, n in facts["boundaries"]),
        flops=tuple(facts["flops"]),
        reference=tuple(reference),
        reference_digest=hashlib.sha256(reference.tobytes()).hexdigest(),
        input_digest=facts["input_digest"],
    )


def _make(workload: Workload, state_dir: Path, folder: Path) -> dict[str, Any]:
    import torch

    from paretopipe_runtime import golden

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    batches = golden.input_batches(
        workload.batch_size, workload.image_px, INPUT_BATCHES, INPUT_SEED
    )
    if is_onnx(workload.model):
        from paretopipe_runtime import cut_onnx

        made = cut_onnx.made(workload, state_dir, batches)
        manifest, shapes, flops, logits = made.manifest, made.boundaries, made.flops, made.logits
    else:
        manifest = _manifest(workload, state_dir / "weights")
        shapes, flops = _boundaries(workload), _flops(workload)
        logits = golden.reference_logits(
            workload.model, workload.classes, manifest, state_dir / "weights", batches
        )
    try:
        with (folder / "reference.npy").open("wb") as file:
            np.save(file, np.stack(list(logits)), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _disk(state_dir, error) from error
    return {
        "manifest": manifest.to_json(),
        "weights_digest": manifest.digest,
        "boundaries": [(b.shape, b.dtype, b.nbytes) for b in shapes],
        "flops": flops,
        "input_digest": golden.input_digest(batches),
    }


def _manifest(workload: Workload, store: Path) -> WeightsManifest:
    from paretopipe_runtime import cut, weights

    if workload.weights:
        weights.check_store(workload.weights, store)
        manifest = workload.weights.manifest
    else:
        manifest = weights.make_seeded_weights(
            workload.model, workload.classes, workload.weights_seed, store
        )
    if is_traced(workload.model):
        cut.check(workload, manifest, store)
    return manifest


def _boundaries(workload: Workload) -> list[Tensor]:
    from paretopipe_runtime.models.boundaries import boundary_shapes

    return boundary_shapes(workload.model, workload.classes, workload.batch_size, workload.image_px)


def _flops(workload: Workload) -> list[int]:
    from paretopipe_runtime.models.boundaries import block_flops

    return block_flops(workload.model, workload.classes, workload.batch_size, workload.image_px)
