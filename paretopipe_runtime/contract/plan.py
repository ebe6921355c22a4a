"""The plan of one cell, read from JSON and checked.

A *cell* is model x backend x engine x pairing x scenario.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from paretopipe_runtime.contract import weights as published
from paretopipe_runtime.contract.accuracy import MARGIN
from paretopipe_runtime.contract.chain import Chain, read_chain
from paretopipe_runtime.contract.codecs import CODECS, NONE, check_codec
from paretopipe_runtime.contract.factors import ENGINE
from paretopipe_runtime.contract.lines import SCHEMA_VERSION
from paretopipe_runtime.contract.models import (
    ModelInfo,
    check_engine,
    is_found,
    is_onnx,
    keep_found,
    model_info,
)
from paretopipe_runtime.contract.splits import Cuts, all_splits, coded, split_name, validate_cuts
from paretopipe_runtime.errors import ParetoPipeError


@dataclass(frozen=True)
class Workload:
    """Model, input and engine; without published `weights`, random ones of `weights_seed`."""

    model: str
    classes: int
    image_px: int
    batch_size: int
    engine: str
    weights_seed: int = 0
    weights: published.Published | None = None

    @property
    def factors(self) -> dict[str, Any]:
        factors: dict[str, Any] = {
            "model": self.model,
            "classes": self.classes,
            "image_px": self.image_px,
            "batch_size": self.batch_size,
        }
        if graph := model_info(self.model).graph:
            factors["graph"] = graph
        if is_onnx(self.model):  # whose weights are in the file
            return factors
        if self.weights is None:
            return {**factors, "weights_seed": self.weights_seed}
        digest = self.weights.manifest.digest
        return {**factors, "weights": self.weights.name, "weights_digest": digest}


@dataclass(frozen=True)
class Phases:
    """Batches per phase, and how many are in flight in the last.

    At least `window`; with `saturate` as many as keep the slowest hop busy (`Chain.window`).
    """

    warmup: int
    latency: int
    throughput: int
    window: int
    saturate: bool = False


@dataclass(frozen=True)
class Doubtful:
    """Limits of a plan that measures only the doubtful splits.

    `budget`: share of the exhaustive sweep's runs, in (0, 1]. `audit`: share of that for random
    splits that are off the front by prediction alone, in [0, 0.5]. `delta`: differences below this
    ratio decide nothing. `within_s`: seconds of measuring this cell; None for no such limit.
    `accuracy_margin`: what loses more points is never run.
    """

    budget: float
    audit: float
    delta: float
    within_s: float | None = None
    accuracy_margin: float = MARGIN

    def __post_init__(self) -> None:
        in_time = self.within_s is None or 0 < self.within_s < math.inf
        for name, fits, expected in (
            ("budget", 0 < self.budget <= 1, "a share above 0 and up to 1"),
            ("audit", 0 <= self.audit <= 0.5, "a share from 0 to 0.5"),
            ("delta", 0 <= self.delta < 1, "a ratio from 0 to below 1"),
            ("within_s", in_time, "seconds above 0"),
            ("accuracy_margin", 0 <= self.accuracy_margin <= 100, "points from 0 to 100"),
        ):
            if not fits:
                raise ValueError(f"{name} {getattr(self, name)}, expected {expected}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields; the margin, later than the others, only if it is not the usual one."""
        fields = asdict(self)
        if self.accuracy_margin == MARGIN:
            del fields["accuracy_margin"]
        return fields


@dataclass(frozen=True)
class Plan:
    """One cell's plan.

    `end_points`: each round has the whole model on the first and on the last host, too. `sentinel`:
    one split opens and closes each round. `drift_limit`: its shift, as a ratio less 1, beyond which
    a round is repeated; 0 for never. `refine`: ratio within which splits count as equal in further
    rounds; None for no such rounds. `doubtful`: only splits in doubt are measured, and `repeats` is
    the exhaustive sweep's that this is compared with; None for every split, as often. `codecs`: the
    cut points of `splits` are there with each.
    """

    document: dict[str, Any]
    cell_id: str
    pairing: str
    workload: Workload
    chain: Chain
    phases: Phases
    splits: tuple[Cuts, ...]
    repeats: int
    end_points: bool
    sentinel: bool
    drift_limit: float
    refine: float | None
    seed: int
    doubtful: Doubtful | None = None
    codecs: tuple[str, ...] = (NONE,)


#: Fewer runs than this tell nothing about a cell.
FEWEST = 4


def cap(plan: Plan) -> int:
    """Return the runs of splits that a plan takes at most; end points come on top.

    `Doubtful.within_s` may end it sooner.
    """
    runs = plan.repeats * len(plan.splits)
    if plan.doubtful is None:
        return runs
    return max(FEWEST, math.ceil(plan.doubtful.budget * runs - 1e-9))  # 0.07 * 100 is above 7


def read_plan(document: dict[str, Any]) -> Plan:
    """Read and check a plan.

    Raises
    ------
    ParetoPipeError
        ``E_PLAN``, ``E_MODEL``, ``E_SPLIT``, ``E_BACKEND``, ``E_TRANSPORT``, ``E_DEVICE``,
        ``E_ENGINE``, ``E_WEIGHTS``, ``E_CODEC``.
    """
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ParetoPipeError(
            "E_PLAN",
            f"the plan is malformed: {type(error).__name__} {error} — it is written by "
            "playbooks/measure.yml",
        ) from error


def _read(document: dict[str, Any]) -> Plan:
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document['schema_version']}, this is {SCHEMA_VERSION}")
    workload, chain = read_workload(document), read_chain(document)
    blocks = model_info(workload.model).blocks
    if document["splits"] == "all":
        splits = all_splits(blocks, len(chain.workers))
    else:
        splits = list(map(_cuts, document["splits"]))
    if not splits:
        raise ValueError("it names no split")
    for cuts in splits:
        validate_cuts(workload.model, blocks, cuts)
        if len(cuts) != len(chain.workers) - 1:
            raise ParetoPipeError(
                "E_SPLIT",
                f"split {split_name(cuts)} makes {len(cuts) + 1} stages, pairing "
                f"{document['pairing']} has {len(chain.workers)} hosts in a row — give one cut "
                "point fewer",
            )
    codecs = _codecs(document, hosts=len(chain.workers))
    return Plan(
        document=document,
        cell_id=document["cell_id"],
        pairing=document["pairing"],
        workload=workload,
        chain=chain,
        phases=Phases(
            warmup=int(document["warmup_batches"]),
            latency=_count(document, "latency_batches"),
            throughput=_count(document, "throughput_batches"),
            window=_count(document, "window"),
            saturate=bool(document.get("saturate", False)),  # older plans have one for all splits
        ),
        splits=tuple(coded(cuts, name) for cuts in dict.fromkeys(splits) for name in codecs),
        codecs=codecs,
        repeats=_count(document, "repeats"),
        end_points=bool(document.get("end_points", False)),
        sentinel=bool(document.get("sentinel", False)),
        drift_limit=_drift_limit(document),
        refine=_refine(document),
        seed=int(document["seed"]),
        doubtful=_doubtful(document),
    )


def read_workload(document: dict[str, Any]) -> Workload:
    """Read and check a plan's workload; raises as `read_plan`.

    A plan of a found model has its blocks, and `model_info` knows them from then on.
    """
    if found := document.get("found"):
        _keep(document["model"], found)
    model, engine = model_info(document["model"]).name, ENGINE.check(document["engine"])
    check_engine(model, engine)
    return Workload(
        model=model,
        classes=_count(document, "classes"),
        image_px=_count(document, "image_px"),
        batch_size=_count(document, "batch_size"),
        engine=engine,
        weights_seed=int(document["weights_seed"]),
        weights=_weights(document),
    )


def _keep(model: str, found: dict[str, Any]) -> None:
    names = tuple(map(str, found["block_names"]))
    if not is_found(model) or len(names) < 2 or len({*names}) < len(names):
        raise ValueError(f"found blocks of {model!r:.40}: {len(names)}, of different names or not")
    info = ModelInfo(
        model, names, int(found["classes"]), int(found["image_px"]), str(found["graph"])
    )
    keep_found(info)


def _count(document: dict[str, Any], name: str) -> int:
    if int(document[name]) < 1:
        raise ParetoPipeError("E_PLAN", f"{name} is {document[name]}, expected 1 or more")
    return int(document[name])


def _weights(document: dict[str, Any]) -> published.Published | None:
    weights = published.read_published(document)
    if weights is None:
        return None
    manifest = weights.manifest
    if (manifest.model, manifest.classes) != (document["model"], int(document["classes"])):
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"weights {weights.name!r} are {manifest.model}'s with {manifest.classes} classes, the "
            f"plan asks for {document['model']} with {document['classes']} — leave classes=… out, "
            "or fine-tune with as many",
        )
    return weights


def _cuts(fields: list[Any]) -> Cuts:
    return tuple(int(cut) for cut in fields)


def _codecs(document: dict[str, Any], hosts: int) -> tuple[str, ...]:
    asked = set(map(check_codec, document.get("codecs") or [NONE]))
    if hosts < 2 and asked != {NONE}:
        raise ParetoPipeError(
            "E_CODEC",
            f"pairing {document['pairing']} has one host, so no tensor crosses to another that a "
            "codec could encode — leave codec=… out, or choose a pairing of two hosts",
        )
    return tuple(name for name in CODECS if name in asked)


def _refine(document: dict[str, Any]) -> float | None:
    margin = document.get("refine")
    if margin is not None and not 0 <= float(margin) < 1:
        raise ValueError(f"refine {margin}, expected a ratio from 0 to below 1")
    return None if margin is None else float(margin)


def _doubtful(document: dict[str, Any]) -> Doubtful | None:
    fields = document.get("doubtful")
    if fields is None:
        return None
    if document.get("refine") is not None or document.get("sentinel"):
        raise ValueError("doubtful beside refine or a sentinel, expected neither: it has its own")
    given = {name: float(value) for name, value in {**fields}.items() if value is not None}
    return Doubtful(**given)


def _drift_limit(document: dict[str, Any]) -> float:
    limit = float(document.get("drift_limit", 0))
    if not (math.isfinite(limit) and limit >= 0):
        raise ValueError(f"drift_limit {limit}, expected 0 (never repeat a round) or more")
    return limit
