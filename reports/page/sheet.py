"""One model's data, as every section gets it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import compress
from typing import Any, NamedTuple

import pandas as pd

from paretopipe_runtime.contract.accuracy import MARGIN
from paretopipe_runtime.contract.factors import Variant
from paretopipe_runtime.contract.goals import Goal, parse
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.replicas import hosts_at
from paretopipe_runtime.prediction.predictor import Predictor
from paretopipe_runtime.prediction.profiles import Link, Profile, links, profiles
from reports import paper
from reports.data.accuracies import joined
from reports.data.cells import Cell, build
from reports.data.factors import Naming
from reports.data.records import Records
from reports.data.tidy import tidy
from reports.objectives import DELTA, OBJECTIVES, Objective
from reports.parallel import map_forked
from reports.prediction.cells import predictor_of
from reports.statistics.decision import Decision, decided
from reports.statistics.difference import Contest
from reports.statistics.doubt import Believed, believed
from reports.statistics.judge import Judgement, judge
from reports.statistics.noise import expected
from reports.statistics.sweeps import Pair
from reports.words import asked

Section = dict[str, Any]  # id, title and the variables of its template


@dataclass(frozen=True)
class Against:
    """Another sweep, and what it has of one model."""

    name: str
    here: str  # the name of this sweep
    sheet: Sheet | None
    pairs: Sequence[Pair]
    total: int  # comparisons of the two sweeps, in all models
    lacking: Sequence[str]  # sentences: what only one of them has of this model


@dataclass(frozen=True)
class Sheet:
    """One model's data; ``frame`` has every attempt."""

    model: str
    records: Records  # of this model, with links, common to all
    frame: pd.DataFrame
    cells: Sequence[Cell]
    naming: Naming
    delta: float
    accuracy_margin: float  # points
    goals: tuple[Goal, ...]  # the user's own
    judgements: Mapping[str, Judgement]  # by cell id
    contests: Mapping[str, Contest]  # by cell id: pairwise comparisons
    decisions: Mapping[str, Decision | None]  # by cell id: the splits to take
    profiles: Sequence[Profile]  # of this model
    links: Sequence[Link]
    predictors: Mapping[str, Predictor | str]  # by cell id; or why there is none
    against: Against | None = None

    @classmethod
    def each(
        cls,
        records: Records,
        delta: float = DELTA,
        frame: pd.DataFrame | None = None,
        processes: int = 1,
        goal: str = "",
        accuracy_margin: float = MARGIN,
    ) -> list[Sheet]:
        """Gather records into cells and return a sheet per model.

        `frame` is ``tidy``'s table if there is one; `processes` judge cells in parallel; `goal` is
        the user's own, as ``contract.goals.parse`` takes it; `accuracy_margin` the points whose
        loss does not matter.
        """
        frame = tidy(records.runs) if frame is None else frame
        built = build(records.plans, records.runs, frame)
        cells = joined(built, records.accuracies, accuracy_margin)
        judging = partial(_judged, delta=delta, noises=records.noises)
        said = {found.cell.id: found for found in map_forked(judging, cells, processes)}
        blocks, moved = profiles(records.profiles), links(records.links)
        models = dict.fromkeys([*(cell.model for cell in cells), *(p.model for p in blocks)])
        found = []
        for model in models:
            own = [one.cell for one in said.values() if one.cell.model == model]
            mine = frame["cell_id"].isin({cell.id for cell in own})
            part = _part(records, model, models.keys() - {model}, mine)
            profiled = [profile for profile in blocks if profile.model == model]
            found.append(
                cls(
                    model=model,
                    records=part,
                    frame=frame[mine].reset_index(drop=True),
                    cells=own,
                    naming=Naming.of(own),
                    delta=delta,
                    accuracy_margin=accuracy_margin,
                    goals=parse(goal),
                    judgements={cell.id: said[cell.id].judgement for cell in own},
                    contests={cell.id: said[cell.id].contest for cell in own},
                    decisions={cell.id: said[cell.id].decision for cell in own},
                    profiles=profiled,
                    links=moved,
                    predictors=_predictors(own, profiled, moved, part.runs),
                )
            )
        return found

    @classmethod
    def of(cls, records: Records, delta: float = DELTA) -> Sheet:
        [sheet] = cls.each(records, delta)
        return sheet

    @cached_property
    def valid(self) -> Mapping[tuple[str, str, str], int]:
        """Valid attempts by cell id, role and dashed cuts.

        More than count where rounds were repeated or settings changed.
        """
        good = self.frame.loc[self.frame["status"] == "ok", ["cell_id", "role", "cuts"]]
        keys = zip(*(good[key].tolist() for key in good), strict=True)
        return Counter((str(cell), str(role), str(cuts)) for cell, role, cuts in keys)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        known = {objective for cell in self.cells for objective in cell.objectives}
        return tuple(one for one in OBJECTIVES if one.required or one in known)

    def run_s(self, cell: Cell) -> float | None:
        """Return the seconds that a counted run of this cell took, the median."""
        mine = self.frame["counted"] & (self.frame["cell_id"] == cell.id)
        value = pd.to_numeric(self.frame.loc[mine, "wall_s"], errors="coerce").median()
        return float(value) if pd.notna(value) else None

    @property
    def used(self) -> list[Record]:
        return [*compress(self.records.runs, self.frame["counted"].tolist())]

    @property
    def groups(self) -> list[list[Cell]]:
        """Cells that differ only in network, grouped."""
        return _groups(self.cells)

    def panels(self, panel: Callable[[Cell], dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a heading a group, with a panel and the network a cell."""
        return [
            {
                **self.heading(group),
                "cells": [
                    {
                        **{"scenario": cell.scenario, "asked": asked(cell.asked)},
                        **{"place": f"{cell.over_hosts}, {cell.scenario}", **panel(cell)},
                    }
                    for cell in group
                ],
            }
            for group in self.groups
        ]

    def heading(self, group: Sequence[Cell]) -> dict[str, Any]:
        """Return a group's title, factors and whether it is unlocked."""
        first = group[0]
        return {
            "title": f"{paper.model_name(first.model)}, {first.over_hosts}",
            "over": self.naming.over(first),
            "unlocked": any(cell.unlocked for cell in group),
        }


class _Judged(NamedTuple):
    cell: Cell  # with what is believed of it
    judgement: Judgement
    contest: Contest
    decision: Decision | None


def _judged(cell: Cell, delta: float, noises: Sequence[Record]) -> _Judged:
    if cell.doubtful:
        cell = believed(cell, delta, expected(cell, noises))
    kind = Believed if cell.standing else Contest
    return _Judged(cell, judge(cell, delta), kind.of(cell, delta), decided(cell, delta))


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    groups: dict[tuple[Variant, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.variant, cell.pairing), []).append(cell)
    return [*groups.values()]


def _part(
    records: Records, model: str, others: Set[str], mine: Sequence[bool] | pd.Series
) -> Records:
    """Return one model's records and those naming no other model."""
    return replace(
        records,
        files=tuple(file for file in records.files if file.name.split(".")[0] not in others),
        plans=tuple(line for line in records.plans if line["plan"].get("model") not in others),
        runs=tuple(compress(records.runs, mine)),
        profiles=tuple(r for r in records.profiles if r["factors"].get("model") == model),
    )


def _predictors(
    cells: Sequence[Cell],
    blocks: Sequence[Profile],
    moved: Sequence[Link],
    runs: Sequence[Record],
) -> dict[str, Predictor | str]:
    """Return predictors, shared by cells that differ only in network."""
    found: dict[str, Predictor | str] = {}
    for group in _groups(cells):
        slow = _slow_start(group[0], runs)
        predictor = predictor_of(group[0], blocks, moved, slow, group[1:])
        found |= {cell.id: predictor for cell in group}
    return found


def _slow_start(cell: Cell, runs: Sequence[Record]) -> bool:
    """Tell whether TCP on the first host slow-starts after idle."""
    shared = {id(run["hosts"]): run["hosts"] for run in runs if run["cell_id"] == cell.id}
    facts = (hosts.get(hosts_at(cell.hosts[0])[0]) or {} for hosts in shared.values() if cell.hosts)
    return any(str(host.get("slow_start_after_idle")) == "1" for host in facts)
