"""Merge the user's options into the experiment, and check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from paretopipe_runtime.contract.accuracy import MARGIN
from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.factors import CUDA_ENGINES, OF_WORKER, VARIED, Factor
from paretopipe_runtime.contract.goals import GoalError, parse
from paretopipe_runtime.contract.models import ONNX_ENGINE, is_onnx
from paretopipe_runtime.contract.replicas import check_places, hosts_at, hosts_of
from paretopipe_runtime.errors import ParetoPipeError

from .doubt import AUTO, DOUBTFUL, EXHAUSTIVE, IDLE, OF_CHAINS, Doubt, doubt, implied
from .listings import of
from .models import Model, model_names, model_of, sweep_name
from .onnx_files import refuse
from .places import Places, idle, pairings_of
from .sets import FILE, Weights, of_model, set_name
from .values import OptionError, flag, fraction, known, listed, points, text, whole

#: Warm batches in each process of a profile.
PROFILE_BATCHES = 10
#: Seconds of the same work on every worker before a sweep.
NOISE_S = 10
#: Required keys of every experiment, which the user may override.
_KEYS = (
    *("pairings", "scenarios", *(factor.option for factor in VARIED if factor.always)),
    *("batch", "splits", "seed", "weights_seed"),
    *("repeats", "warmup_batches", "latency_batches", "throughput_batches", "window"),
    *("end_points", "sentinel", "drift_limit", "dominance", "refine", "profile"),
)
_COUNTS = ("repeats", "warmup_batches", "latency_batches", "throughput_batches", "window")


@dataclass(frozen=True)
class Choice:
    """Effective options of a sweep.

    `pairings` maps names to chains of hosts, `own_pairings` those that were typed with them;
    `varied` maps cell factors to values, `workers` hosts to their own factors; `counts` and `seeds`
    have their plan keys. `drift_limit` and `dominance` are fractions, `accuracy_margin` is in
    points. `first_report` is the number of rounds before a first report, `noise` the seconds in
    which the hosts' own scatter is measured; 0: none. `doubt`: limits of a sweep that measures only
    what is in doubt; None for all. `codecs`: how tensors cross between hosts.
    """

    sweep: str
    models: tuple[Model, ...]
    scenarios: tuple[str, ...]
    pairings: Mapping[str, tuple[str, ...]]
    own_pairings: Mapping[str, list[str]]
    varied: Mapping[str, tuple[str, ...]]
    workers: Mapping[str, Mapping[str, str]]
    weights: str
    batch: int
    counts: Mapping[str, int]
    seeds: Mapping[str, int]
    splits: Any
    codecs: tuple[str, ...]
    end_points: bool
    sentinel: bool
    drift_limit: float
    dominance: float
    accuracy_margin: float
    refine: bool
    profile: bool
    doubt: Doubt | None
    first_report: int
    noise: int
    profile_batches: int
    goal: str
    left_out: tuple[str, ...]

    def options(self, *models: Model) -> dict[str, Any]:
        def one_or_all(key: str) -> Any:
            values = [getattr(model, key) for model in models]
            return values[0] if len(values) == 1 else values

        return {
            "sweep": self.sweep,
            "model": one_or_all("name"),
            "classes": one_or_all("classes"),
            "image": one_or_all("image"),
            "weights": self.weights,
            "batch": self.batch,
            "repeats": self.counts["repeats"],
            "scenarios": list(self.scenarios),
            "pairings": self.own_pairings or list(self.pairings),
            **self._factors(),
            "splits": self.splits,
            **({"codec": [*self.codecs]} if self.codecs != (NONE,) else {}),
            "end_points": self.end_points,
            "sentinel": self.sentinel,
            "drift_limit": self.drift_limit,
            "dominance": self.dominance,
            "refine": self.refine,
            "profile": self.profile,
            "strategy": DOUBTFUL if self.doubt else EXHAUSTIVE,
            **(self.doubt.options if self.doubt else {}),
            **({"goal": self.goal} if self.goal else {}),
            **({"accuracy_margin": self.accuracy_margin} if self.accuracy_margin != MARGIN else {}),
        }

    def _factors(self) -> dict[str, Any]:
        """Return the factors' options, later-added ones only off their default."""
        of_cell = {
            factor.option: list(self.varied[factor.option])
            for factor in VARIED
            if factor.always or factor.tags(self.varied[factor.option])
        }
        of_worker = {
            factor.option: {host: own[factor.option] for host, own in self.workers.items()}
            for factor in OF_WORKER
            if factor.always or factor.tags(own[factor.option] for own in self.workers.values())
        }
        return of_cell | of_worker


def choose(
    options: Mapping[str, Any],
    experiment: Mapping[str, Any],
    scenarios: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    sets: Mapping[str, Weights],
    orchestrator: str,
    places: Places,
) -> Choice:
    """Check `options` over `experiment`, as `planning.cells.plan_cells` takes them."""
    options, own = _texts(options), _texts(experiment)
    files = all(map(is_onnx, model_names({**own, **options})))
    if files:
        own["engine"] = ONNX_ENGINE
    pairings, left_out = pairings_of(
        options.get("pairings"),
        {**experiment["pairings"], **places.pairings},
        [*hosts],
        places.members([*hosts], orchestrator),
    )
    hosts_most = max(map(len, pairings.values()))
    typed = options
    options, asked_by = implied(typed, own, hosts_most)
    chosen = {**own, **options}
    for key in _KEYS:
        if key not in chosen:
            raise OptionError(
                f"the experiment has no {key}: copy the key from experiments/full.yml"
            )
    wanted_models = tuple(
        model_of(name, options, own, of_model(name, chosen, sets)) for name in model_names(chosen)
    )
    choice = Choice(
        sweep=sweep_name(chosen),
        models=wanted_models,
        pairings=pairings,
        own_pairings={name: [*chain] for name, chain in pairings.items()}
        if isinstance(typed.get("pairings"), Mapping)
        else {},
        scenarios=tuple(known("scenario", listed(chosen["scenarios"]), list(scenarios))),
        varied={factor.option: _varied(factor, chosen) for factor in VARIED},
        workers={host: _own(host, facts, options) for host, facts in hosts.items()},
        weights=FILE if files else set_name(chosen),
        batch=whole("batch", chosen["batch"]),
        counts={name: whole(name, chosen[name]) for name in _COUNTS},
        seeds={name: whole(name, chosen[name], least=0) for name in ("seed", "weights_seed")},
        splits=chosen["splits"],
        codecs=_codecs(chosen.get("codec", NONE)),
        drift_limit=fraction("drift_limit", chosen["drift_limit"]),
        dominance=(dominance := fraction("dominance", chosen["dominance"])),
        accuracy_margin=(
            margin := points("accuracy_margin", chosen.get("accuracy_margin", MARGIN))
        ),
        doubt=doubt(options, own, (dominance, margin), asked_by, hosts_most),
        **{
            name: flag(name, chosen[name])
            for name in ("end_points", "sentinel", "refine", "profile")
        },
        # Optional: experiments from before these options lack them.
        first_report=whole("first_report", chosen.get("first_report", 0), least=0),
        noise=whole("noise", chosen.get("noise", NOISE_S), least=0),
        profile_batches=whole("profile_batches", chosen.get("profile_batches", PROFILE_BATCHES)),
        goal=checked_goal(chosen.get("goal", "")),
        left_out=left_out
        + (() if "pairings" in options else idle(pairings, [*hosts], orchestrator)),
    )
    _refuse_unequal(choice)
    for backend in choice.varied["backend"]:
        if backend != "socket" and "tls" in choice.varied["transport"]:
            raise OptionError(
                f"E_TRANSPORT: transport tls with backend {backend}: PyTorch RPC cannot be "
                "encrypted, backend socket can; measure them in two sweeps, one with "
                "-e backend=socket -e transport=tls"
            )
    if any(backend.startswith("rpc") for backend in choice.varied["backend"]):
        for host, facts in hosts.items():
            _refuse_without_leave(host, bool(facts["allow_insecure_rpc"]))
    for model in choice.models:
        listing = of(model.name)
        takes = listing.takes if listing else None
        refuse(model.name, model.image, choice.batch, choice.varied["engine"], takes)
    for host in dict.fromkeys(host for c in choice.pairings.values() for host in hosts_of(c)):
        for engine in choice.varied["engine"]:
            _refuse_on_a_gpu(engine, host, choice.workers[host]["device"])
    return _without_rounds(choice, typed, asked_by) if choice.doubt else choice


def _without_rounds(choice: Choice, typed: Mapping[str, str], asked_by: str) -> Choice:
    """Return the choice without what goes with rounds of every split, and tell who typed it."""
    notes = [f"{asked_by} {OF_CHAINS}"] if asked_by.startswith("splits") else []
    notes += [
        f"{name}={typed[name]} changes nothing with strategy={DOUBTFUL}: {why}"
        for name, why in IDLE.items()
        if name in typed and getattr(choice, name)
    ]
    off = replace(choice, sentinel=False, drift_limit=0.0, first_report=0)
    return replace(off, left_out=(*choice.left_out, *notes))


def _texts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed as text, but for pairings, which may be a mapping."""
    return {
        name: value if name == "pairings" else text(name, value) for name, value in options.items()
    }


def checked_goal(said: str) -> str:
    try:
        parse(said)
    except GoalError as error:
        raise OptionError(str(error)) from None
    return said


def _varied(factor: Factor, chosen: Mapping[str, Any]) -> tuple[str, ...]:
    # Experiments from before a factor existed lack it.
    asked = listed(chosen.get(factor.option, factor.default))
    return tuple(known(factor.option, asked, [*factor.values]))


def _codecs(asked: Any) -> tuple[str, ...]:
    names = known("codec", listed(asked), [*CODECS, AUTO])
    return tuple(name for name in CODECS if name in names or AUTO in names)


def _own(host: str, facts: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """Return a worker's factors: the inventory's, unless overridden for all workers."""
    found = {}
    for factor in OF_WORKER:
        value = str(facts.get(factor.option, factor.default))
        if factor.typed:
            value = str(options.get(factor.option, value))
            known(factor.option, [value], [*factor.values])
        elif not factor.knows(value):
            raise OptionError(
                f"worker_device of {host} is '{value}': set it to cpu, to cuda, or to cuda:1 for "
                "the second GPU"
            )
        found[factor.option] = value
    return found


def _refuse_unequal(choice: Choice) -> None:
    """Refuse pairings whose batches cannot pass several hosts of one place in turn."""
    for (pairing, chain), backend in product(choice.pairings.items(), choice.varied["backend"]):
        try:
            check_places(pairing, chain, backend)
        except ParetoPipeError as error:
            raise OptionError(error.message) from None
        for place in chain:
            first, *others = hosts_at(place)
            for host in others:
                for option, value in choice.workers[host].items():
                    if value != choice.workers[first][option]:
                        raise OptionError(
                            f"pairing {pairing} has {place} in one place, and {host} has worker_"
                            f"{option} {value}, {first} {choice.workers[first][option]}: set both "
                            "alike in the inventory, or give each a place of its own"
                        )


def _refuse_on_a_gpu(engine: str, host: str, device: str) -> None:
    if device != "cpu" and engine not in CUDA_ENGINES:
        raise OptionError(
            f"engine {engine} computes on processors only, and {host} has worker_device {device}: "
            f"choose engine={' or engine='.join(CUDA_ENGINES)}, or add -e worker_device=cpu"
        )


def _refuse_without_leave(host: str, allowed: bool) -> None:
    if not allowed:
        raise OptionError(
            f"backend rpc is off on {host}: PyTorch RPC has no authentication, so any host that "
            "reaches the experiment network could run code there. If only your own hosts do, add "
            "-e allow_insecure_rpc=true, or set it in the inventory"
        )
