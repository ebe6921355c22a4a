"""Derive what a planned sweep asks of the hosts: memory and disk above all, without PyTorch.

The peaks are those of docs/campaigns/memory.txt: whole models in one stage, x86-64. `make soak`
measures them again; a test compares the two. Found models' are estimated from weights and tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.replicas import with_replicas

from .findings import Asked, Load, Sizes

MIB = 2**20
#: Other processors' PyTorch builds, and profiles, take a little more than measured.
MARGIN = 1.1
#: A virtual environment of CPU builds (1.1 GiB on x86-64), and the wheels during download.
INSTALL_MIB = 2048
#: An estimated peak: a process without a model, weights by engine, and each image's two largest
#: tensors in a row. Of the measured ones it is from 0.8 to 1.8 times.
PROCESS_MIB = 280
WEIGHTS_TIMES = {"eager": 1.1, "channels_last": 1.1}
OTHER_TIMES, TENSORS_TIMES = 2, 5
#: Records, progress and plans of a long sweep.
RECORDS_MIB = 64
#: Required free disk over the estimate of weights and records.
DISK_FACTOR = 2


#: The engine whose stages the orchestrator exports, with the weights in them.
EXPORTED = "xnnpack"


@dataclass(frozen=True)
class Model:
    """Weights in MiB.

    `firsts` and `lasts` sum the first and last stages' weights over all splits in two, for engines
    that cache each stage.
    """

    weights: int
    firsts: int
    lasts: int


MODELS = {
    "mobilenetv2": Model(9, 44, 129),
    "resnet18": Model(45, 132, 448),
    "inceptionv3": Model(83, 545, 1205),
    "resnet50": Model(98, 458, 1593),
    "alexnet": Model(233, 968, 3693),
    "vgg16": Model(528, 3463, 16593),
}
#: MiB with batches of one and eight, by model, engine and allocator.
PEAKS = {
    ("mobilenetv2", "eager"): {"tuned": (298, 459), "default": (297, 442)},
    ("mobilenetv2", "channels_last"): {"tuned": (290, 367), "default": (289, 367)},
    ("mobilenetv2", "onnxruntime"): {"tuned": (323, 418), "default": (308, 390)},
    ("resnet18", "eager"): {"tuned": (330, 435), "default": (324, 421)},
    ("resnet18", "channels_last"): {"tuned": (337, 398), "default": (325, 389)},
    ("resnet18", "onnxruntime"): {"tuned": (436, 501), "default": (426, 493)},
    ("inceptionv3", "eager"): {"tuned": (380, 631), "default": (369, 547)},
    ("inceptionv3", "channels_last"): {"tuned": (382, 515), "default": (375, 508)},
    ("inceptionv3", "onnxruntime"): {"tuned": (508, 724), "default": (501, 690)},
    ("resnet50", "eager"): {"tuned": (399, 537), "default": (391, 493)},
    ("resnet50", "channels_last"): {"tuned": (396, 497), "default": (385, 480)},
    ("resnet50", "onnxruntime"): {"tuned": (533, 642), "default": (533, 621)},
    ("alexnet", "eager"): {"tuned": (507, 544), "default": (507, 530)},
    ("alexnet", "channels_last"): {"tuned": (513, 549), "default": (512, 540)},
    ("alexnet", "onnxruntime"): {"tuned": (608, 632), "default": (590, 592)},
    ("vgg16", "eager"): {"tuned": (859, 1313), "default": (866, 1124)},
    ("vgg16", "channels_last"): {"tuned": (898, 1192), "default": (883, 1135)},
    ("vgg16", "onnxruntime"): {"tuned": (1220, 1334), "default": (1155, 1259)},
}


def peak_mib(load: Load) -> int:
    """Return a whole model's peak in one stage, activations scaled by their number.

    An unmeasured engine counts as the largest measured one.
    """
    if load.sizes:
        return round(MARGIN * _estimate_mib(load, load.sizes))
    engines = {engine for model, engine in PEAKS if model == load.model}
    known = [load.engine] if load.engine in engines else sorted(engines)
    images = load.batch * (load.image_px / model_info(load.model).image_px) ** 2
    peaks = [PEAKS[load.model, engine][load.allocator] for engine in known]
    return round(MARGIN * max(one + (eight - one) / 7 * (images - 1) for one, eight in peaks))


def _estimate_mib(load: Load, sizes: Sizes) -> float:
    weights = sum(sizes.weights_bytes) * WEIGHTS_TIMES.get(load.engine, OTHER_TIMES)
    images = load.batch * (load.image_px / sizes.image_px) ** 2
    return PROCESS_MIB + (weights + images * TENSORS_TIMES * sizes.tensors_bytes) / MIB


def weights_of(name: str, sizes: Sizes | None) -> Model:
    """Return a model's weights, as a found one's were listed."""
    if sizes is None:
        return MODELS[name]
    blocks, whole = sizes.weights_bytes, sum(sizes.weights_bytes)
    firsts = sum(sum(blocks[:cut]) for cut in range(1, len(blocks)))
    lasts = (len(blocks) - 1) * whole - firsts
    return Model(*(round(nbytes / MIB) for nbytes in (whole, firsts, lasts)))


def largest(loads: Iterable[Load]) -> tuple[int, Load] | None:
    """Return the load that takes the most memory, after its MiB."""
    needs = [(peak_mib(load), load) for load in loads]
    return max(needs, key=lambda need: need[0], default=None)


def disk_mib(loads: Iterable[Load], cached_mib: int) -> int:
    """Return the space for weights, records and engine caches."""
    models = {load.model: load.sizes for load in loads}
    weights = sum(weights_of(*one).weights for one in models.items())
    return DISK_FACTOR * (weights + RECORDS_MIB) + cached_mib


def cached_mib(plan: Mapping[str, Any], position: int, sizes: Sizes | None = None) -> int:
    """Return the engine's cache on the worker at `position` of a plan's chain.

    onnxruntime's has all stages' weights, and the model's twice for the profile (whole and by
    block); xnnpack's programs, of the cells and of the profile, have the model's once each.
    """
    if plan["engine"] not in ("onnxruntime", EXPORTED):
        return 0
    model = weights_of(plan["model"], sizes)
    if plan["engine"] == EXPORTED:
        return 2 * model.weights
    blocks = len(sizes.weights_bytes) if sizes else model_info(plan["model"]).blocks
    every = blocks - 1
    splits = every if plan["splits"] == "all" else len(plan["splits"])
    stages = model.lasts if position else model.firsts
    return 2 * model.weights + stages * splits // every


def asked_of(planned: Mapping[str, Any], orchestrator: str, named: bool) -> Asked:
    """Return the demands of a sweep planned by plan_cells, of models still to be traced none.

    Every worker holds the whole model at least once, for estimate and end points; the orchestrator
    does for the reference predictions. Caches are shared between scenarios.
    """
    plans = [cell["plan"] for group in planned["scenarios"] for cell in group["cells"]]
    listed = {
        name: Sizes(**{**found, "weights_bytes": (*found["weights_bytes"],)})
        for name, found in planned["sizes"].items()
    }
    untraced = {found["model"] for found in planned["untraced"]}
    loads: dict[str, dict[Load, None]] = {}
    kept: dict[str, dict[tuple[str, int], int]] = {}
    for plan in plans:
        if plan["model"] in untraced:
            continue
        sizes = listed.get(plan["model"])
        size = (plan["model"], plan["batch_size"], plan["image_px"])
        for position, worker in enumerate(plan["workers"]):
            load = Load(*size, plan["engine"], worker["allocator"], sizes)
            stage = (plan["model"], min(position, 1))
            mib = cached_mib(plan, position, sizes)
            for one in with_replicas(worker):
                loads.setdefault(one["host"], {})[load] = None
                if mib:
                    kept.setdefault(one["host"], {})[stage] = mib
        exports = plan["engine"] == EXPORTED
        own = Load(*size, EXPORTED if exports else "eager", "default", sizes)
        loads.setdefault(orchestrator, {})[own] = None
    return Asked(
        {host: tuple(some) for host, some in loads.items()},
        {host: sum(stages.values()) for host, stages in kept.items()},
        tuple(dict.fromkeys(plan["backend"] for plan in plans)),
        any(group["shaped"] for group in planned["scenarios"]),
        named,
    )
