"""Cells and their splits: medians, ranges, and missing measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from paretopipe_runtime.contract import measures
from paretopipe_runtime.contract.accuracy import MARGIN, Accuracy, lossy
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import BY_HOSTS, Variant
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.splits import Cuts as Cuts
from paretopipe_runtime.contract.splits import codec_of, dashed, undashed
from paretopipe_runtime.judging.doubtful import Standing
from paretopipe_runtime.prediction.spread import Spread as Spread
from reports.data import plans
from reports.data.groups import OF_RUN, Groups, Key, drifts
from reports.data.groups import Drift as Drift
from reports.data.reduce import END_POINT, SPLIT
from reports.data.selection import bases, settings
from reports.data.tidy import scenario_name, split_name
from reports.objectives import ACCURACY, OBJECTIVES, Objective
from reports.words import pairing_name, pairing_rank, slug

_OF_STAGE = [figure.name for figure in measures.of("stage") if not figure.is_text]


@dataclass(frozen=True)
class Stage:
    host: str
    allocator: str = ""  # empty if unrecorded
    device: str = ""  # "cpu", "cuda", "cuda:1"; empty if unrecorded
    figures: Mapping[str, Spread | None] = field(default_factory=dict)

    def __getitem__(self, figure: str) -> Spread | None:
        return self.figures[figure]


@dataclass(frozen=True)
class Split:
    name: str
    cuts: Cuts
    row_id: str
    cut_blocks: tuple[tuple[str, str], ...]  # last block before and first after each cut
    figures: Mapping[str, Spread | None]
    stages: tuple[Stage, ...]
    hops: tuple[tuple[str, Spread | None], ...]  # between stages: label, bytes per batch
    phases: tuple[str, ...]  # batches to warm up, for latency, for throughput, and in flight
    attempts: int
    invalid: int  # of the attempts: failed or invalid, even if a rerun succeeded
    # By figure, and ``repeat``: one value per counted run.
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # Of a cell that measures what is in doubt, by figure: what stands for the runs' own.
    believed: Mapping[str, Spread] = field(default_factory=dict)
    # Of each hop of a chain: seconds until a batch has arrived, from its first byte on.
    arrivals: tuple[Spread | None, ...] = ()

    def __getitem__(self, figure: str) -> Spread | None:
        return self.figures[figure]

    @property
    def runs(self) -> int:
        return max(
            (value.n for one in OBJECTIVES if (value := self.figures.get(one.figure))), default=0
        )

    def of(self, objective: Objective) -> Spread | None:
        return self.believed.get(objective.figure) or self.figures.get(objective.figure)

    @property
    def own(self) -> Split:
        """The same with its runs' medians and ranges, whatever is believed."""
        return replace(self, believed={})

    def median(self, objective: Objective) -> float:
        """Return an objective's median.

        Raises
        ------
        ValueError
            If neither measured nor believed.
        """
        value = self.of(objective)
        if value is None:
            raise ValueError(f"{self.name} has no counted run with its {objective.name}")
        return value.median

    def rank(self, *objectives: Objective) -> tuple[float, ...]:
        """Return a sort key, the best split first."""
        return tuple(self.median(o) if o.lower else -self.median(o) for o in objectives)

    def loss(self, objective: Objective, best: Split) -> float:
        """Return how much worse than `best` this is, as a ratio - 1: 0.28 for 28 %."""
        return objective.gain(best.median(objective), self.median(objective)) - 1


@dataclass(frozen=True)
class Cell:
    """Splits of one model, variant, pairing and scenario."""

    id: str
    model: str
    variant: Variant  # by the keys of `contract.factors`
    pairing: str
    hosts: tuple[str, ...]
    scenario: str
    asked: dict[str, Any] | None
    settings: Record  # factors common to all counted runs
    unlocked: bool  # measured with a backend open without authentication
    plan: Record
    splits: tuple[Split, ...]
    planned: tuple[Cuts, ...]
    end_points: tuple[Split, ...] = ()  # all on the first host: cuts (); on the last: (0,)
    drifts: tuple[Drift, ...] = ()  # of every pass of every round that has sentinels
    standing: Standing | None = None  # of one that measures what is in doubt, and has runs
    accuracies: Mapping[Cuts, Accuracy] = field(default_factory=dict)  # of splits with a codec
    unjudged: str = ""  # why there are none
    accuracy_margin: float = MARGIN  # points whose loss does not matter

    @property
    def over_hosts(self) -> str:
        """Return 'Pi-to-Pi', 'Pi-to-server, CPU'."""
        return pairing_name(self.pairing, self.variant["devices"])

    @property
    def measured(self) -> tuple[Split, ...]:
        return tuple(split for split in self.splits if split.runs)

    @property
    def known(self) -> tuple[Split, ...]:
        """Return what there are values of: measured splits, and of a standing all."""
        return self.splits if self.standing else self.measured

    @property
    def exact(self) -> tuple[Objective, ...]:
        """Objectives without noise, once they are known of every split that there are values of."""
        known = self.known
        some = bool(self.accuracies) and any(codec_of(split.cuts) != NONE for split in known)
        if not (some and all(split.of(ACCURACY) for split in known)):
            return ()
        return (replace(ACCURACY, margin=self.accuracy_margin / 100),)

    @property
    def unsplit(self) -> float:
        """Percentage that the unsplit network tells right: no split is truly better."""
        return next(iter(self.accuracies.values())).unsplit_percent

    @property
    def accurate(self) -> tuple[Split, ...]:
        """The known splits, without those that lose more accuracy than does not matter.

        Where all do, against the unsplit network, those that lose the least are left.
        """
        aside = self.lossy
        return tuple(split for split in self.known if split.cuts not in aside)

    @property
    def lossy(self) -> frozenset[Cuts]:
        """The known splits that lose more."""
        known = (split.cuts for split in self.known)
        return lossy(self.accuracies, known, self.accuracy_margin)

    @property
    def ruled_out(self) -> frozenset[Cuts]:
        """Splits that are off the front by their accuracy alone."""
        return self.lossy if self.standing else frozenset()

    @property
    def doubtful(self) -> bool:
        """Tell whether only what is in doubt is measured."""
        return bool(self.plan.get("doubtful"))

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The required objectives, and those that are positive in every counted run."""
        done = [split for split in (*self.splits, *self.end_points) if split.runs]

        def whole(objective: Objective) -> bool:
            known = zip([split.of(objective) for split in done], done, strict=True)
            return bool(done) and all(v and v.n == s.runs and v.low > 0 for v, s in known)

        predicted = self.standing is not None  # what is not required is not predicted
        return tuple(one for one in OBJECTIVES if one.required or (not predicted and whole(one)))

    def ranked(self, splits: Iterable[Split]) -> tuple[Split, ...]:
        """Return splits, the best first by the first objective."""
        first = self.objectives[0]
        return tuple(sorted(splits, key=lambda split: (split.rank(first), split.cuts)))

    def best(self, objective: Objective) -> Split:
        """Return the measured split with the best median, ties broken by other objectives."""
        rest = [other for other in self.objectives if other is not objective]
        measured = [split for split in self.accurate if split.runs] or self.measured
        return min(measured, key=lambda split: (split.rank(objective, *rest), split.cuts))

    @property
    def rank(self) -> tuple[Any, ...]:
        """A sort key among the cells of a model: defaults first, the paper's pairings first."""
        variant = (factor.rank(self.variant[factor.key]) for factor in BY_HOSTS)
        # The unshaped network first, as the reference.
        return *variant, pairing_rank(self.pairing), self.asked is not None, self.scenario

    @property
    def missing(self) -> tuple[str, ...]:
        if self.doubtful:
            return ()
        return tuple(
            split.name for split in self.splits if split.cuts in self.planned and not split.runs
        )


def build(lines: Sequence[Record], runs: Sequence[Record], frame: pd.DataFrame) -> list[Cell]:
    """Return a cell for every plan and run seen, in the paper's order."""
    proposed: dict[str, list[Record]] = {}
    for line in lines:
        proposed.setdefault(line["plan"]["cell_id"], []).append(line["plan"])
    measured, groups, shifts = bases(runs), Groups(frame), drifts(frame)
    blocks = {run["factors"].get("model"): end for run in runs if (end := run["end_block"])}
    cells = [
        _cell(cell_id, proposed.get(cell_id, []), measured.get(cell_id), blocks, groups)
        for cell_id in sorted({*proposed, *measured})
    ]
    cells = [replace(cell, drifts=shifts.get(cell.id, ())) for cell in cells]
    return sorted(cells, key=lambda cell: (cell.model, *cell.rank))


def _cell(
    cell_id: str,
    proposed: Sequence[Record],
    basis: Record | None,
    blocks: dict[Any, int],
    groups: Groups,
) -> Cell:
    factors = settings(basis) if basis else {}
    plan = plans.in_force(proposed, factors)
    # Measured settings override planned ones.
    known = {**plan, **factors}
    model = str(known.get("model"))
    scenario = plan.get("scenario") or factors.get("scenario")
    splits = [_split(groups, key) for key in groups.of(cell_id, SPLIT)]
    planned = plans.cuts(plan, blocks.get(model) or plans.blocks(plan, model))
    seen = {split.cuts for split in splits}
    # Planned splits without a record get an empty row.
    splits += [_split(groups, (cell_id, SPLIT, dashed(c))) for c in planned if c not in seen]
    ends = (_split(groups, key) for key in groups.of(cell_id, END_POINT))
    return Cell(
        id=cell_id,
        model=model,
        variant=plans.variant(plan, factors),
        pairing=str(known.get("pairing")),
        hosts=plans.hosts(plan, factors),
        scenario=scenario_name(scenario),
        asked=_asked(scenario if isinstance(scenario, dict) else {}, factors),
        settings=factors,
        unlocked=cell_id in groups.unlocked,
        plan=plan,
        splits=tuple(sorted(splits, key=lambda split: split.cuts)),
        planned=planned,
        end_points=tuple(sorted(ends, key=lambda split: split.cuts)),
    )


def _asked(scenario: Record, factors: Record) -> Record | None:
    """Return what is asked of the network, as ``hop 2 delay`` where a later hop is shaped."""
    first = factors.get("netem", scenario.get("netem"))
    planned = [hop.get("netem") for hop in scenario.get("later_hops") or ()]
    later = factors.get("later_netem", planned)
    if not any(later):
        return first
    return {
        f"hop {place} {key}": value
        for place, netem in enumerate((first, *later), 1)
        for key, value in (netem or {}).items()
    }


def _split(groups: Groups, key: Key) -> Split:
    cell_id, _, name_of_cuts = key
    cuts = undashed(name_of_cuts)
    name = groups.first(key, "split") or split_name({"cuts": cuts, "codec": codec_of(cuts)})
    stages = range(1, len(cuts) + 2)
    return Split(
        name=name,
        cuts=cuts,
        row_id=f"row-{slug(cell_id)}-{slug(name)}",
        cut_blocks=tuple(
            (
                groups.first(key, f"stage{k}_last_block") or "?",
                groups.first(key, f"stage{k + 1}_first_block") or "?",
            )
            for k in stages[:-1]
        ),
        figures={name: groups.spread(key, name) for name in OF_RUN},
        stages=tuple(_stage(groups, key, k) for k in stages),
        hops=tuple(
            (_hop(groups, key, k), groups.spread(key, f"hop{k}_bytes_per_batch"))
            for k in stages[:-1]
        ),
        phases=groups.phases(key),
        attempts=int(groups.tried.get(key, 0)),
        invalid=int(groups.bad.get(key, 0)),
        values=groups.values.get(key, {}),
        arrivals=tuple(groups.spread(key, f"hop{k}_receive_s") for k in stages[:-1]),
    )


def _stage(groups: Groups, key: Key, number: int) -> Stage:
    name = f"stage{number}"
    return Stage(
        host=groups.first(key, f"{name}_host") or "?",
        allocator=groups.first(key, f"{name}_allocator") or "",
        device=groups.first(key, f"{name}_device") or "",
        figures={figure: groups.spread(key, f"{name}_{figure}") for figure in _OF_STAGE},
    )


def _hop(groups: Groups, key: Key, number: int) -> str:
    start, via, end = (groups.first(key, f"hop{number}_{at}") for at in ("from", "via", "to"))
    return " → ".join([start or "?", *([via] if via else []), end or "?"])
